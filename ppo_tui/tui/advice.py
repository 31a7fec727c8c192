"""The number and the advice of an alarm, in words."""

from __future__ import annotations

import math

from ..config.live import LIVE_FIELDS
from ..explanations import ALARMS
from ..plotting import formats
from ..protocol import Alarm
from .controller import Controller


def written(alarm: Alarm) -> str:
    """The number behind an alarm; empty in records without one."""
    if alarm.value is None:
        return ""
    return f"{100 * alarm.value:.0f} %" if ALARMS[alarm.name].percent else formats.number(alarm.value)


def advice_of(alarm: Alarm, controller: Controller) -> str:
    """The edit advised by an alarm, with the key for it."""
    edit = alarm.edit
    if edit is None or edit.key not in LIVE_FIELDS or edit.key not in controller.view.settings:
        return alarm.suggestion
    live = LIVE_FIELDS[edit.key].live
    name = live.aliases[0] if live.aliases else formats.setting_name(edit.key)
    if edit.key in controller.editor.pending:
        return f"{name} → {formats.setting(controller.editor.value(edit.key))} at the next update"
    now = controller.view.settings[edit.key]
    if now is not None and math.isclose(now, edit.value, rel_tol=1e-3):
        return f"{name} is {formats.setting(now)} now"
    change = f"{name} {formats.setting(now)} → {formats.setting(edit.value)}"
    return f"F: {change}" if controller.session.can_steer else f"advice: {change}"
