"""Explanations: everything on the screen in words, with its healthy range.

The one place for names, formulas, ranges and limits: the cards and verdicts of the screen, the alarms of the
diagnostics and the pages of the documentation are made from it.
"""

from .absence import absence, clips, several_steps
from .alarms import ALARMS, MAX_BAD_UPDATES, NON_FINITE, AlarmText, alarm_key
from .card import Explanation, Facts, Grade, Healthy, SettingsOfRun, Verdict
from .catalogue import METRICS, explain, find, group_of, groups, is_metric
from .learning import USUAL_KL

__all__ = [
    "ALARMS",
    "MAX_BAD_UPDATES",
    "METRICS",
    "NON_FINITE",
    "USUAL_KL",
    "AlarmText",
    "Explanation",
    "Facts",
    "Grade",
    "Healthy",
    "SettingsOfRun",
    "Verdict",
    "absence",
    "alarm_key",
    "clips",
    "explain",
    "find",
    "group_of",
    "groups",
    "is_metric",
    "several_steps",
]
