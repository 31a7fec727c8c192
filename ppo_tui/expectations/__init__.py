"""Expectations of a run: measured curves of presets, and milestones."""

from .curves import curve_path, format_curve, parse_curve, read_curve
from .reference import Reference, as_reference
from .standing import MEAN_RETURN, SOLVING_EPISODES, Forecast, Standing

__all__ = [
    "MEAN_RETURN",
    "SOLVING_EPISODES",
    "Forecast",
    "Reference",
    "Standing",
    "as_reference",
    "curve_path",
    "format_curve",
    "parse_curve",
    "read_curve",
]
