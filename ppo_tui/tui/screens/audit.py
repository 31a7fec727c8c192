"""Who changed which setting, when, from what to what."""

from __future__ import annotations

import time
from collections.abc import Sequence

from textual.content import Content

from ...plotting import formats
from ...protocol import Cause, SettingChanged
from .run_screen import ListScreen


class AuditScreen(ListScreen[SettingChanged]):
    """Every change of a setting that came into force, the newest on top."""

    NAME = "Changes"
    EMPTY = "no setting has been changed: e opens the settings"

    def items(self) -> Sequence[SettingChanged]:
        return self.run.view.changes[::-1]

    def heading(self) -> str:
        return f"{'at':>8}  {'step':>7} {'setting':<22} {'old':>9}   {'new':<9} {'who'}"

    def row(self, item: SettingChanged) -> Content:
        cause = "" if item.cause is Cause.EDIT else f" ({item.cause})"
        return Content.assemble(
            (f"{formats.duration(item.elapsed):>8}  {formats.count(item.step):>7} ", "$quiet"),
            f"{item.key:<22} {formats.setting(item.old):>9} → {formats.setting(item.new):<9} ",
            (f"{formats.one_line(item.by)}{cause}", "$quiet"),
        )

    def describe(self, item: SettingChanged) -> Content:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(item.time))
        what = {Cause.UNDO: "undone", Cause.REDO: "done again"}.get(item.cause, "changed")
        return Content.assemble(
            (f"{item.key} ", "bold"),
            f"{what} by {formats.one_line(item.by)} on {at}: {item.old!r} → {item.new!r}, after update {item.update:,} "
            f"(step {item.step:,}). u undoes the newest change, ctrl+r does it again.",
        )
