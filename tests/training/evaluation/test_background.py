"""Policies are evaluated while a run trains, which changes no number of the training."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from ppo_tui import Trainer
from ppo_tui.config import Config
from ppo_tui.errors import UsageError
from ppo_tui.protocol import (
    Alarm,
    CheckpointSaved,
    Evaluated,
    Pause,
    Resume,
    Rewind,
    Rewound,
    RunResumed,
    RunState,
    StateChanged,
    Stop,
    UpdateFinished,
)
from ppo_tui.training.checkpoint.resume import ResumePoint
from ppo_tui.training.evaluation import background
from ppo_tui.training.evaluation.evaluate import evaluate
from ppo_tui.training.evaluation.process import LOWEST_PRIORITY, SELECTION_SEED
from tests.conftest import ROOT
from tests.processes import can_be_starved, starved
from tests.training.checkpoint.test_resume import run, same_state, small
from tests.waiting import still_running, wait_until

BATCH = 3 * 48


def evaluating(every: int, *overrides: str, updates: int = 6, episodes: int = 3) -> Config:
    settings = [f"eval.every={every}", f"eval.episodes={episodes}", *overrides]
    return small("CartPole-v1", *settings, updates=updates)


def unhurried(trainer: Trainer, event) -> None:
    """Pause where a policy is due to be evaluated until it has been, so that no evaluation is late."""
    if isinstance(event, UpdateFinished) and event.step % trainer.config.eval.every == 0:
        trainer.send(Pause())
    elif isinstance(event, Evaluated | Alarm):
        trainer.send(Resume())


def test_scores_are_those_of_eval_the_highest_is_best_and_the_training_is_bit_for_bit_what_it_is_without(tmp_path):
    config = evaluating(2 * BATCH, "run.keep_checkpoints=1")
    trainer, result, record = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), unhurried)
    assert result.state is RunState.FINISHED, result.reason
    found = record.of(Evaluated)
    assert [event.step for event in found] == [2 * BATCH, 4 * BATCH, 6 * BATCH]
    means = [event.metrics["eval/ep_rew_mean"] for event in found]
    assert [event.best for event in found] == [mean > max(means[:index], default=0) for index, mean in enumerate(means)]
    best = [event for event in found if event.best][-1]
    assert (tmp_path / "best").resolve() == Path(best.path)
    assert "best" not in {event.reason for event in record.of(CheckpointSaved)}, "training returns decide nothing"

    again = evaluate(tmp_path / "best", episodes=3, seed=SELECTION_SEED)
    assert best.metrics["eval/ep_rew_mean"] == again.score.mean
    assert best.metrics["eval/ep_rew_std"] == again.score.std
    assert (best.metrics["eval/ep_rew_low"], best.metrics["eval/ep_rew_high"]) == again.score.interval
    assert (best.metrics["eval/episodes"], best.metrics["eval/total_timesteps"]) == (3, best.step)

    without, _, plain = run(lambda **kw: Trainer(small("CartPole-v1"), **kw))
    same_state(trainer, without)
    assert record.metrics == plain.metrics


def test_late_evaluations_are_left_out_aloud_and_nobody_has_to_wait_for_the_last(tmp_path):
    def stop_at_the_end(trainer: Trainer, event) -> None:
        if isinstance(event, StateChanged) and event.state is RunState.SAVING:
            trainer.send(Stop(exit_code=143))

    config = evaluating(BATCH, episodes=100_000)
    _, result, record = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), stop_at_the_end)
    assert (result.state, result.exit_code, result.step) == (RunState.STOPPED, 143, 6 * BATCH)
    (told,) = [event.message for event in record.of(Alarm)]
    assert told.startswith(f"step {2 * BATCH} is not evaluated while step {BATCH} still is: raise eval.every")
    assert "the evaluation of step 144 is awaited" in [event.reason for event in record.of(StateChanged)]
    assert not record.of(Evaluated)


def test_a_failed_evaluation_is_an_alarm_and_the_training_goes_on(tmp_path):
    def take_away(trainer: Trainer, event) -> None:
        if isinstance(event, CheckpointSaved) and event.reason == "evaluation":
            shutil.rmtree(event.path)
        unhurried(trainer, event)

    config = evaluating(3 * BATCH, updates=5)
    _, result, record = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), take_away)
    assert result.state is RunState.FINISHED
    (alarm,) = record.of(Alarm)
    assert f"the evaluation of step {3 * BATCH} failed" in alarm.message
    assert "is not a checkpoint" in alarm.message
    assert [event.step for event in record.of(Evaluated)] == [5 * BATCH]


def test_a_resumed_run_goes_on_evaluating_and_knows_the_best_score(tmp_path):
    def stop(trainer: Trainer, event) -> None:
        unhurried(trainer, event)
        if isinstance(event, UpdateFinished) and event.update == 3:
            trainer.send(Stop(exit_code=143))

    config = evaluating(2 * BATCH, updates=4)
    _, _, first = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), stop)
    (before,) = first.of(Evaluated)
    _, _, second = run(
        lambda **kw: Trainer.from_checkpoint(tmp_path / "latest", checkpoint_dir=tmp_path, allow_import=True, **kw),
        unhurried,
    )
    after = second.of(Evaluated)
    assert [before.step, *(event.step for event in after)] == [2 * BATCH, 4 * BATCH]
    best = max([before, *after], key=lambda event: event.metrics["eval/ep_rew_mean"])
    assert (tmp_path / "best").resolve() == Path(best.path)


def test_an_evaluation_under_way_at_the_end_of_a_process_is_made_up_for(tmp_path):

    def stop_while_it_is_evaluated(trainer: Trainer, event) -> None:
        if isinstance(event, UpdateFinished) and event.update == 2:
            trainer.send(Pause())  # or a slow disk lets the run end before the checkpoint is there
        if isinstance(event, CheckpointSaved) and event.reason == "evaluation":
            trainer.send(Stop(exit_code=143))

    config = evaluating(2 * BATCH, "eval.max_steps=40", updates=3)
    _, stopped, first = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), stop_while_it_is_evaluated)
    assert stopped.state is RunState.STOPPED
    assert not first.of(Evaluated)
    newest = ResumePoint.newest(tmp_path)
    assert newest.state.evaluating == 2 * BATCH

    def awaited(trainer: Trainer, event) -> None:
        if isinstance(event, RunResumed):
            trainer.send(Pause())
        unhurried(trainer, event)

    _, _, second = run(
        lambda **kw: Trainer.from_checkpoint(newest.path, checkpoint_dir=tmp_path, allow_import=True, **kw), awaited
    )
    made_up, last = second.of(Evaluated)
    expected = evaluate(tmp_path / "step-000000000288", episodes=3, seed=SELECTION_SEED, max_steps=40)
    assert (made_up.step, made_up.best, made_up.metrics["eval/ep_rew_mean"]) == (288, True, expected.score.mean)
    assert made_up.metrics["eval/limited_episodes"] == expected.limited
    best = max([made_up, last], key=lambda event: event.metrics["eval/ep_rew_mean"])
    assert (tmp_path / "best").resolve() == Path(best.path)
    assert ResumePoint.newest(tmp_path).state.evaluating == last.step, "an extension evaluates it again"


def test_the_end_of_a_run_waits_for_no_evaluation_without_a_sign_of_life(tmp_path, monkeypatch):
    config = evaluating(6 * BATCH, updates=2)
    workers = config.workers
    monkeypatch.setattr(background, "SLACK_SECONDS", 5.0 - workers.start_timeout - workers.step_timeout)
    stopped: list[psutil.Process] = []

    def react(trainer: Trainer, event) -> None:
        if isinstance(event, StateChanged) and "is awaited" in event.reason:
            stopped.extend(_evaluators_that_began())
            for process in stopped:
                process.suspend()

    _, result, record = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), react)
    assert result.state is RunState.FINISHED
    assert stopped
    assert "no sign of life for 5 s" in record.of(Alarm)[-1].message
    assert not record.of(Evaluated)


@pytest.mark.faults
@can_be_starved
def test_what_an_evaluation_waits_for_a_core_is_no_silence(tmp_path, monkeypatch):
    patience = 5.0
    config = evaluating(6 * BATCH, updates=2)
    monkeypatch.setattr(
        background, "SLACK_SECONDS", patience - config.workers.start_timeout - config.workers.step_timeout
    )

    def react(trainer: Trainer, event) -> None:
        if isinstance(event, StateChanged) and "is awaited" in event.reason:
            shortage.enter_context(starved(*(process.pid for process in _evaluators_that_began())))
            enough = threading.Timer(3 * patience, shortage.close)
            shortage.callback(enough.cancel)
            enough.start()

    with contextlib.ExitStack() as shortage:
        _, result, record = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), react)
    assert result.state is RunState.FINISHED
    assert not record.of(Alarm)
    assert len(record.of(Evaluated)) == 1


def test_going_back_ends_the_evaluation_of_what_is_abandoned(tmp_path):
    evaluators: list[psutil.Process] = []

    def react(trainer: Trainer, event) -> None:
        evaluators.extend(set(filter(_is_evaluator, psutil.Process().children())) - set(evaluators))
        if isinstance(event, CheckpointSaved) and not evaluators:
            trainer.send(Rewind(path=event.path))
        elif isinstance(event, Rewound):
            trainer.send(Stop(save=False))

    config = evaluating(2 * BATCH, episodes=100_000)
    _, result, record = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), react)
    assert (result.state, result.step) == (RunState.STOPPED, 2 * BATCH)
    (evaluator,) = evaluators
    assert not evaluator.is_running()
    assert record.of(Rewound)
    assert not record.of(Alarm), "nobody asked for its score any more"


def test_without_checkpoints_there_is_nothing_to_evaluate():
    with pytest.raises(UsageError, match=r"eval\.every = 144.*keeps none\n  give it a checkpoint_dir"):
        Trainer(evaluating(BATCH))


@pytest.mark.slow
def test_on_the_command_line_scores_are_recorded_and_compared(ppo_tui, tmp_path):
    settings = ["--set", "eval.every=100000", "--set", "eval.episodes=2", "--total-steps", "1500", "--name", "scored"]
    done = ppo_tui("--preset", "cartpole", "--headless", *settings)
    assert done.returncode == 0, done.stderr
    assert "evaluated step 1,536: return" in done.stdout
    directory = tmp_path / "runs" / "scored"
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    scored = [line for line in lines if "eval/ep_rew_mean" in line]
    assert scored[-1]["eval/total_timesteps"] == 1536
    assert "evaluated step 1,536" in (directory / "run.log").read_text()
    compared = ppo_tui("compare", "scored", "--metric", "eval/ep_rew_mean")
    assert compared.returncode == 0, compared.stderr
    assert f"{scored[-1]['eval/ep_rew_mean']:.2f}"[:4] in compared.stdout
    (listed,) = json.loads(ppo_tui("runs", "--json").stdout)
    assert (listed["step"], listed["last_return"]) == (1536, lines[-2]["rollout/ep_rew_mean"])
    assert ppo_tui("compare", "scored").returncode == 0


def test_nothing_goes_on_playing_when_the_training_is_killed(tmp_path):
    settings = ["--set", "eval.every=256", "--set", "eval.episodes=100000", "--set", "run.total_steps=1000000000"]
    command = ["--preset", "cartpole", "--headless", "--run-dir", str(tmp_path / "run"), *settings]
    process = subprocess.Popen([sys.executable, "-m", "ppo_tui", *command], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        training = psutil.Process(process.pid)
        wait_until(lambda: any(map(_is_evaluator, training.children())), seconds=120)
        training.suspend()  # it leaves no core to a process of lowest priority
        wait_until(lambda: players(training), seconds=400)
        family = training.children(recursive=True)
        assert players(training)[0].nice() == LOWEST_PRIORITY
    finally:
        process.kill()
        process.wait()
    assert not still_running(family, seconds=10)


def players(training: psutil.Process) -> list[psutil.Process]:
    """Workers of an evaluator of this training."""
    return [
        player for child in training.children() if _is_evaluator(child) for player in child.children(recursive=True)
    ]


def _evaluators_that_began() -> list[psutil.Process]:
    """At least one; for a moment after it began, a process has no command line."""
    wait_until(lambda: any(map(_is_evaluator, psutil.Process().children())))
    return list(filter(_is_evaluator, psutil.Process().children()))


def _is_evaluator(process: psutil.Process) -> bool:
    try:
        return "ppo_tui.training.evaluation.process" in process.cmdline()
    except psutil.NoSuchProcess:  # ended, or about to be
        return False
