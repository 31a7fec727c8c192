"""``ppo-tui sweep``: many runs of one preset, with settings that Optuna chooses, and with several seeds."""

from .definition import MILESTONES, Definition, read_seeds
from .space import Choice, Span, read_search

__all__ = ["MILESTONES", "Choice", "Definition", "Span", "read_search", "read_seeds"]
