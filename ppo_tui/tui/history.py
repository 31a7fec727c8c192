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

        One that undoes or redoes several edits of its setting at once counts for all of them. Its cause is the last
        that was asked for: two edits undone and one of them redone before a change took effect have undone the other.
        """
        self.applied.append(change)
        if change.cause is Cause.EDIT:
            self.undoable.append(change)
            self.redoable.clear()
            return
        undone = _edits_until(self.undoable, change.key, lambda edit: edit.old == change.new)
        redone = _edits_until(self.redoable, change.key, lambda edit: edit.new == change.new)
        if undone and (change.cause is Cause.UNDO or not redone):
            _move(undone, self.undoable, self.redoable)
        else:
            _move(redone, self.redoable, self.undoable)

    def rewind(self, update: int) -> list[SettingChanged]:
        """Forget changes after `update`, and return them, newest first."""
        kept = [change for change in self.applied if change.update <= update]
        gone = [change for change in reversed(self.applied) if change.update > update]
        self.__init__(kept)
        return gone


def _edits_until(
    edits: list[SettingChanged], key: str, is_last: Callable[[SettingChanged], bool]
) -> list[SettingChanged]:
    """The edits of `key` from the newest to the first `is_last`.

    None of them without such an edit.
    """
    newest_first = [edit for edit in reversed(edits) if edit.key == key]
    count = next((number for number, edit in enumerate(newest_first, start=1) if is_last(edit)), 0)
    return newest_first[:count]


def _move(edits: list[SettingChanged], source: list[SettingChanged], target: list[SettingChanged]) -> None:
    for edit in edits:
        source.remove(edit)
        target.append(edit)
