"""Undo and redo, derived from the record of the run alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ppo_tui.protocol import Cause, Rewound, SettingChanged, WithdrawValue, decode_event, encode
from ppo_tui.tui.editor import Editor
from ppo_tui.tui.history import History
from ppo_tui.tui.view import RunView
from tests.tui.fake import started

GAMMA, CLIP = "ppo.gamma", "ppo.clip_range"


class Engine:
    """Takes commands up at its boundaries, as the trainer does: the last request for each key wins."""

    def __init__(self) -> None:
        self.view = RunView()
        self.view.apply(started())
        self.editor = Editor(self.view)
        self.asked = {}
        self.events = []

    def take(self, command) -> None:
        if isinstance(command, WithdrawValue):
            self.asked.pop(command.key, None)
        elif command is not None:
            self.asked[command.key] = command

    def boundary(self) -> None:
        asked, self.asked = self.asked, {}
        for command in asked.values():
            old = self.view.settings[command.key]
            if old != command.value:
                self.say(
                    SettingChanged(
                        key=command.key, old=old, new=command.value, by="user", step=0, update=len(self.events),
                        cause=command.cause,
                    )
                )  # fmt: skip
        self.editor.pending.clear()

    def say(self, event) -> None:
        self.events.append(event)
        self.view.apply(event)
        self.editor.settle(event)

    def edit(self, key, value) -> None:
        self.take(self.editor.ask(key, value))
        self.boundary()


def edited() -> Engine:
    engine = Engine()
    engine.edit(GAMMA, 0.9)
    engine.edit(CLIP, 0.2)
    engine.edit(GAMMA, 0.8)
    return engine


def test_edits_are_undone_and_redone_in_order():
    engine = edited()
    for key, value in ((GAMMA, 0.9), (CLIP, 0.1), (GAMMA, 0.99)):
        engine.take(engine.editor.undo())
        engine.boundary()
        assert engine.view.settings[key] == value
    assert engine.editor.undo() is None
    for key, value in ((GAMMA, 0.9), (CLIP, 0.2), (GAMMA, 0.8)):
        engine.take(engine.editor.redo())
        engine.boundary()
        assert engine.view.settings[key] == value
    assert engine.editor.redo() is None


def test_undoing_three_times_within_one_update_undoes_all_three():
    engine = edited()
    for _ in range(3):
        engine.take(engine.editor.undo())
    engine.boundary()
    assert (engine.view.settings[GAMMA], engine.view.settings[CLIP]) == (0.99, 0.1)
    assert engine.view.history.undoable == []
    assert len(engine.view.history.redoable) == 3


def test_undoing_twice_and_redoing_once_within_one_update_undoes_one():
    engine = Engine()
    engine.edit(GAMMA, 0.9)
    engine.edit(GAMMA, 0.8)
    for press in (engine.editor.undo, engine.editor.undo, engine.editor.redo):
        engine.take(press())
    engine.boundary()
    assert engine.view.settings[GAMMA] == 0.9
    assert [edit.new for edit in engine.view.history.undoable] == [0.9]
    assert [edit.new for edit in engine.view.history.redoable] == [0.8]
    engine.take(engine.editor.undo())
    engine.boundary()
    assert engine.view.settings[GAMMA] == 0.99


def test_redoing_twice_and_undoing_once_within_one_update_redoes_one():
    engine = Engine()
    for value in (0.9, 0.8):
        engine.edit(GAMMA, value)
    for _ in range(2):
        engine.take(engine.editor.undo())
        engine.boundary()
    for press in (engine.editor.redo, engine.editor.redo, engine.editor.undo):
        engine.take(press())
    engine.boundary()
    assert engine.view.settings[GAMMA] == 0.9
    assert [edit.new for edit in engine.view.history.redoable] == [0.8]


def test_a_new_edit_ends_what_could_be_redone():
    engine = edited()
    engine.take(engine.editor.undo())
    engine.boundary()
    engine.edit(CLIP, 0.3)
    assert engine.editor.redo() is None


def test_what_is_still_pending_is_withdrawn():
    engine = Engine()
    engine.take(engine.editor.ask(GAMMA, 0.9))
    command = engine.editor.undo()
    assert command == WithdrawValue(key=GAMMA)
    engine.take(command)
    engine.boundary()
    assert engine.events == []
    assert not engine.editor.pending


def test_an_edit_of_somebody_else_can_be_undone_here():
    engine = Engine()
    engine.say(SettingChanged(key=GAMMA, old=0.99, new=0.9, by="ctl", step=1, update=1))
    assert engine.editor.undo().value == 0.99


def test_going_back_to_a_checkpoint_takes_later_edits_away():
    engine = edited()
    engine.say(Rewound(path="p", step=0, update=0))
    assert engine.view.settings[GAMMA] == 0.9
    assert engine.view.settings[CLIP] == 0.1
    assert [edit.key for edit in engine.view.history.undoable] == [GAMMA]
    assert len(engine.view.changes) == 3  # the audit trail forgets nothing


@given(st.lists(st.sampled_from(["edit gamma", "edit clip", "undo", "redo", "boundary"]), max_size=40))
def test_a_second_screen_agrees_whatever_was_pressed(actions):
    engine = Engine()
    for number, action in enumerate(actions):
        match action:
            case "undo":
                engine.take(engine.editor.undo())
            case "redo":
                engine.take(engine.editor.redo())
            case "boundary":
                engine.boundary()
            case _:
                key = GAMMA if action == "edit gamma" else CLIP
                engine.take(engine.editor.ask(key, 0.5 + number / 100))
    engine.boundary()
    other = RunView()
    other.apply(started())
    for event in engine.events:
        other.apply(decode_event(encode(event)))
    assert other.settings == engine.view.settings
    assert other.history.undoable == engine.view.history.undoable
    assert other.history.redoable == engine.view.history.redoable
    original = dict(other.settings)
    for _ in actions:
        engine.take(engine.editor.undo())
        engine.boundary()
    assert engine.editor.undo() is None
    defaults = RunView()
    defaults.apply(started())
    assert engine.view.settings == defaults.settings, original


def test_an_undo_that_nobody_saw_the_edit_of_changes_nothing():
    history = History([SettingChanged(key=GAMMA, old=1.0, new=0.9, by="a", step=0, update=0, cause=Cause.UNDO)])
    assert history.undoable == history.redoable == []
