"""Sweeps: many runs of a preset, with settings from Optuna and seeds."""

from .definition import MILESTONES, Definition, read_seeds
from .space import Choice, Span, read_search

__all__ = ["MILESTONES", "Choice", "Definition", "Span", "read_search", "read_seeds"]
