"""Rows 5 and 28: gradients that are NaN, and exceptions while the learner learns."""

from __future__ import annotations

import torch

from ppo_tui import Trainer
from ppo_tui.protocol import (
    Alarm,
    CheckpointSaved,
    Event,
    Level,
    Resume,
    Rewound,
    RolloutProgress,
    RunState,
    StateChanged,
    UpdateFinished,
)
from ppo_tui.training.checkpoint import manager
from ppo_tui.training.checkpoint.snapshot import read_checkpoint
from tests.faults.conftest import UPDATES, faulty, train
from tests.training.checkpoint.test_resume import run, same_state


class Corrupted:
    """Gradients of these updates go through `change`."""

    def __init__(self, change, *updates: int) -> None:
        self.change, self.updates = change, updates
        self.hook = None
        self.weights: dict[int, list[torch.Tensor]] = {}

    def __call__(self, trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and event.t == event.length and event.update in self.updates:
            self.hook = next(trainer.policy.parameters()).register_hook(self.change)
        if isinstance(event, UpdateFinished):
            self.weights[event.update] = [weight.detach().clone() for weight in trainer.policy.parameters()]
            self.heal()

    def heal(self) -> None:
        if self.hook is not None:
            self.hook.remove()
            self.hook = None


def nan(gradient: torch.Tensor) -> torch.Tensor:
    return gradient * float("nan")


def errors(recorder) -> list[str]:
    return [alarm.message for alarm in recorder.of(Alarm) if alarm.level is Level.ERROR]


def test_an_update_of_nan_gradients_is_skipped_and_named():
    corrupted = Corrupted(nan, 2)
    _, result, recorder = train(faulty(), corrupted)
    assert result.state is RunState.FINISHED
    assert errors(recorder) == [
        "update 2 (step 256) was skipped: its losses or gradients are NaN or infinite (1/3 in a row)"
    ]
    (alarm,) = recorder.of(Alarm)
    assert (alarm.name, alarm.suggestion) == ("non-finite", "set optim.learning_rate 7.5e-05")
    one, two, three = (corrupted.weights[update] for update in (1, 2, 3))
    assert all(map(torch.equal, one, two)), "nothing was learnt from it"
    assert not all(map(torch.equal, two, three)), "and learning goes on"


def test_three_in_a_row_end_an_unattended_run_with_code_4_and_a_good_checkpoint(tmp_path):
    _, result, recorder = train(faulty(), Corrupted(nan, 2, 3, 4), checkpoint_dir=tmp_path)
    assert (result.state, result.exit_code, result.update) == (RunState.FAILED, 4, 4)
    assert "3 updates in a row, up to 4 (step 512)" in result.reason
    assert "lower optim.learning_rate" in result.reason
    assert len(errors(recorder)) == 3
    assert all(weights.isfinite().all() for weights in read_checkpoint(tmp_path / "latest").policy.values())


def test_three_in_a_row_take_an_attended_run_back_to_its_last_good_checkpoint_and_pause_it(tmp_path):
    corrupted = Corrupted(nan, 2, 3, 4)

    def react(trainer: Trainer, event: Event) -> None:
        corrupted(trainer, event)
        if isinstance(event, StateChanged) and event.state is RunState.PAUSED:
            corrupted.updates = ()
            trainer.send(Resume())

    config = faulty("run.checkpoint_seconds=0.001")
    _, result, recorder = train(config, react, checkpoint_dir=tmp_path, attended=True)
    assert result.state is RunState.FINISHED
    (rewound,) = recorder.of(Rewound)
    assert rewound.update == 1, "the newest one before the first of them"
    assert "back at step 128 and paused" in errors(recorder)[-1]
    assert [event.update for event in recorder.of(UpdateFinished)] == [1, 2, 3, 4, *range(2, UPDATES + 1)]


def test_an_exception_while_learning_leaves_the_last_whole_update_from_which_the_run_goes_on_bit_for_bit(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(manager, "KEEP_SHARE", 1e9)  # updates as short as these are not all of them kept

    def out_of_memory(gradient: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    config = faulty()
    whole, _, expected = train(config)
    _, result, before = train(config, Corrupted(out_of_memory, 3), checkpoint_dir=tmp_path)
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert "CUDA out of memory" in result.reason
    assert "out_of_memory" in before.events[-1].details
    saved = before.of(CheckpointSaved)[-1]
    assert (saved.update, saved.reason) == (2, "failure")
    resumed, result, after = run(lambda **kw: Trainer.from_checkpoint(tmp_path / "latest", allow_import=True, **kw))
    assert result.state is RunState.FINISHED
    assert before.metrics + after.metrics == expected.metrics
    same_state(resumed, whole)
