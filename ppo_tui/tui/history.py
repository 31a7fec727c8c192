"""The edits of a run, to undo and to redo."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..protocol import Cause, SettingChanged


class History:
    """The edits of a run, in the order of their taking effect.

    Attributes:
        applied: every change on the present branch of the run; going back to a checkpoint takes later ones away.
        undoable, redoable: edits, the one whose turn is next at the end.
    """

    def __init__(self, changes: Iterable[SettingChanged] = ()) -> None:
        self.applied: list[SettingChanged] = []
        self.undoable: list[SettingChanged] = []
        self.redoable: list[SettingChanged] = []
        for change in changes:
            self.apply(change)

    def apply(self, change: SettingChanged) -> None:
        """Fold in a change.

        One that undoes or redoes several edits of its setting at once counts for all of them.
        """
        self.applied.append(change)
        if change.cause is Cause.UNDO:
            _move(self.undoable, self.redoable, change.key, lambda edit: edit.old == change.new)
        elif change.cause is Cause.REDO:
            _move(self.redoable, self.undoable, change.key, lambda edit: edit.new == change.new)
        else:
            self.undoable.append(change)
            self.redoable.clear()

    def rewind(self, update: int) -> list[SettingChanged]:
        """Forget changes after `update`, and return them, newest first."""
        kept = [change for change in self.applied if change.update <= update]
        gone = [change for change in reversed(self.applied) if change.update > update]
        self.__init__(kept)
        return gone


def _move(
    source: list[SettingChanged], target: list[SettingChanged], key: str, is_last: Callable[[SettingChanged], bool]
) -> None:
    """Move the edits of `key` from the end of `source` to `target`.

    It moves those up to the one that `is_last`; just one if none is.
    """
    newest_first = [edit for edit in reversed(source) if edit.key == key]
    count = next((number for number, edit in enumerate(newest_first, start=1) if is_last(edit)), 1)
    for edit in newest_first[:count]:
        source.remove(edit)
        target.append(edit)
