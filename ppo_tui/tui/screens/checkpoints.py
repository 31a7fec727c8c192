"""The checkpoints of a run, and going back to one."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from textual.content import Content

from ...plotting import formats
from ..view import Checkpoint
from .dialogs import ConfirmDialog
from .run_screen import ListScreen


class CheckpointScreen(ListScreen[Checkpoint]):
    """Newest first, each with the mean return of the games before it and of its evaluation; the best is starred."""

    NAME = "Checkpoints"
    EMPTY = "no checkpoint yet: c saves one at the next update"

    def items(self) -> Sequence[Checkpoint]:
        return self.run.view.checkpoints[::-1]

    def heading(self) -> str:
        return f"{'at':>8}  {'step':>8} {'update':>7} {'return':>8} {'eval':>8}   {'reason':<10} {'took':>7}"

    def row(self, item: Checkpoint) -> Content:
        saved = item.saved
        return Content.assemble(
            (f"{formats.duration(saved.elapsed):>8}  ", "$quiet"),
            f"{formats.count(saved.step):>8} {saved.update:>7,} ",
            f"{formats.number(item.score):>8} {formats.number(item.evaluated):>8} ",
            ("★ " if item is self._best() else "  ", "$primary"),
            f"{formats.one_line(saved.reason):<10} {saved.seconds:>5.2f} s",
            ("" if _is_there(saved.path) else "  gone", "$warning"),
        )

    def _best(self) -> Checkpoint | None:
        """By evaluation where there was one, else by the games of the training; of equals the first."""
        found = self.run.view.checkpoints
        evaluated = [each for each in found if isfinite(each.evaluated)]
        if evaluated:
            return max(evaluated, key=lambda each: each.evaluated)
        return max((each for each in found if isfinite(each.score)), key=lambda each: each.score, default=None)

    def describe(self, item: Checkpoint) -> Content:
        return Content.assemble(
            (formats.one_line(item.saved.path), "bold"),
            "\nenter goes back to it: weights, optimiser, settings and games as they were; the record keeps what came "
            "after.",
        )

    def choose(self, item: Checkpoint) -> None:
        view = self.run.view
        if view.finished:
            self.app.notify("the run has ended: resume it from the command line", timeout=4)
            return
        lost = formats.count(max(0, view.step - item.saved.step))
        question = f"Go back to step {item.saved.step:,}?"
        text = f"The {lost} steps since then leave the run; their record is kept."

        def go_back(yes: bool | None) -> None:
            if yes:
                self.run.rewind(item.saved.path)
                self.renew()

        self.app.push_screen(ConfirmDialog(question, text, "Go back"), go_back)


def _is_there(path: str) -> bool:
    """False for a checkpoint that has made room for newer ones."""
    return not Path(path).is_absolute() or Path(path).exists()
