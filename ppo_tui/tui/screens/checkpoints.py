"""The checkpoints of a run, and the changes of its settings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from textual.content import Content

from ...plotting import formats
from ...protocol import Cause, SettingChanged
from ...text import one_line
from ..view import Checkpoint
from .dialogs import ConfirmDialog
from .run_screen import ListScreen

_GONE, _WHY_GONE = "gone", "old ones make room for newer ones (run.keep_checkpoints), and its files may be deleted"
"""The reason's place shows it, as it has room in the smallest terminal."""


class CheckpointScreen(ListScreen[Checkpoint]):
    """The checkpoints, newest first, each with its two scores.

    The best one is starred.
    """

    NAME = "Checkpoints"
    EMPTY = "no checkpoint yet: c saves one at the next update"

    def items(self) -> Sequence[Checkpoint]:
        return self.controller.view.checkpoints[::-1]

    def heading(self) -> str:
        return f"{'at':>8}  {'step':>8} {'update':>7} {'return':>8} {'eval':>8}   {'reason':<10} {'took':>7}"

    def row(self, item: Checkpoint) -> Content:
        saved = item.saved
        return Content.assemble(
            (f"{formats.duration(saved.elapsed):>8}  ", "$quiet"),
            f"{formats.count(saved.step):>8} {saved.update:>7,} ",
            f"{formats.number(item.score):>8} {formats.number(item.evaluated):>8} ",
            ("★ " if item is self._best() else "  ", "$primary"),
            f"{one_line(saved.reason):<10}" if _is_there(saved.path) else (f"{_GONE:<10}", "$warning"),
            f" {formats.span(saved.seconds):>7}",
        )

    def _best(self) -> Checkpoint | None:
        """The best checkpoint; of equals the first.

        By evaluation where there was one, else by the episodes of the training.
        """
        found = self.controller.view.checkpoints
        evaluated = [each for each in found if isfinite(each.evaluated)]
        if evaluated:
            return max(evaluated, key=lambda each: each.evaluated)
        return max((each for each in found if isfinite(each.score)), key=lambda each: each.score, default=None)

    def identity(self, item: Checkpoint) -> object:
        return item.saved.path

    def describe(self, item: Checkpoint) -> Content:
        if not _is_there(item.saved.path):
            return Content.assemble((one_line(item.saved.path), "bold"), f"\nis gone: {_WHY_GONE}.")
        return Content.assemble(
            (one_line(item.saved.path), "bold"),
            "\nenter goes back to it: weights, optimiser, settings and environments as they were. "
            "The record keeps what came after.",
        )

    def choose(self, item: Checkpoint) -> None:
        view = self.controller.view
        if view.finished:
            self.app.notify("the run has ended: resume it from the command line", timeout=4)
            return
        if not _is_there(item.saved.path):
            self.app.notify(f"this checkpoint is gone: {_WHY_GONE}", timeout=4)
            return
        lost = formats.count(max(0, view.step - item.saved.step))
        question = f"Go back to step {item.saved.step:,}?"
        text = f"The {lost} steps since then leave the run; their record is kept."

        def go_back(yes: bool | None) -> None:
            if yes:
                self.controller.rewind(item.saved.path)
                self.renew()

        self.app.push_screen(ConfirmDialog(question, text, "Go back"), go_back)


def _is_there(path: str) -> bool:
    """Tell whether the checkpoint still exists."""
    return not Path(path).is_absolute() or Path(path).exists()


class ChangesScreen(ListScreen[SettingChanged]):
    """Every effective change of a setting, the newest on top."""

    NAME = "Changes"
    EMPTY = "no setting has been changed: e opens the settings"

    def items(self) -> Sequence[SettingChanged]:
        return self.controller.view.changes[::-1]

    def heading(self) -> str:
        return f"{'at':>8}  {'step':>7} {'setting':<22} {'old':>9}   {'new':<9} {'who'}"

    def row(self, item: SettingChanged) -> Content:
        cause = "" if item.cause is Cause.EDIT else f" ({item.cause})"
        return Content.assemble(
            (f"{formats.duration(item.elapsed):>8}  {formats.count(item.step):>7} ", "$quiet"),
            f"{item.key:<22} {formats.setting(item.old):>9} → {formats.setting(item.new):<9} ",
            (f"{one_line(item.by)}{cause}", "$quiet"),
        )

    def describe(self, item: SettingChanged) -> Content:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(item.time))
        what = {Cause.UNDO: "undone", Cause.REDO: "redone"}.get(item.cause, "changed")
        return Content.assemble(
            (f"{item.key} ", "bold"),
            f"{what} by {one_line(item.by)} on {at}: {item.old!r} → {item.new!r}, after update {item.update:,} "
            f"(step {item.step:,}). u undoes the newest change, ctrl+r redoes it.",
        )
