"""Rows 1, 2, 6 and 7: workers that die, hang, stop reading or talk nonsense cost the run not a bit."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ppo_tui import Trainer
from ppo_tui.protocol import (
    Alarm,
    EpisodeFinished,
    Event,
    RolloutProgress,
    RunState,
    UpdateFinished,
    UpdateProgress,
    WorkersStatus,
    WorkerState,
)
from ppo_tui.training.recovery import MAX_REPLAYS
from ppo_tui.workers import WorkerPool, pipes
from tests.conftest import linux_alone
from tests.faults.conftest import UPDATES, faulty, train
from tests.faults.envs import FaultyCartPole
from tests.processes import can_be_starved, starved
from tests.training.checkpoint.test_resume import same_state


def alarms(recorder) -> list[str]:
    return [alarm.message for alarm in recorder.of(Alarm)]


def check_same(config, react: Callable[[Trainer, Event], None], reference=None):
    """Train with the fault, and compare every number with a run without it."""
    whole, _, expected = train(reference or config)
    trainer, result, recorder = train(config, react)
    assert result.state is RunState.FINISHED, result.reason
    assert recorder.metrics == expected.metrics, alarms(recorder)
    episodes = [(e.env, e.step, e.episode_return, e.length) for e in expected.of(EpisodeFinished)]
    assert [(e.env, e.step, e.episode_return, e.length) for e in recorder.of(EpisodeFinished)] == episodes
    same_state(trainer, whole)
    return recorder


def at_step(update: int, t: int, do: Callable[[Trainer], None]) -> Callable[[Trainer, Event], None]:
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and (event.update, event.t) == (update, t):
            do(trainer)

    return react


def kill(*workers: int, number: int = signal.SIGKILL) -> Callable[[Trainer], None]:
    def do(trainer: Trainer) -> None:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):  # killed before, and not yet found out
                os.kill(trainer.engine.pool.workers[worker].process.pid, number)

    return do


@pytest.mark.parametrize(
    ("env_id", "update", "t"),
    [("CartPole-v1", 1, 1), ("CartPole-v1", 3, 17), ("CartPole-v1", 2, 32), ("Pendulum-v1", 2, 9)],
)
def test_a_killed_worker_costs_no_bit(env_id: str, update: int, t: int):
    recorder = check_same(faulty(env_id=env_id), at_step(update, t, kill(1)))
    assert re.fullmatch(
        r"worker 1 killed \(SIGKILL\), restarted 1/5, where it was after \d\.\d s", alarms(recorder)[0]
    ), alarms(recorder)
    starting = [
        worker
        for status in recorder.of(WorkersStatus)
        for worker in status.workers
        if worker.state is WorkerState.STARTING
    ]
    assert [(worker.index, worker.restarts) for worker in starting] == [(1, 1)]
    assert [worker.restarts for worker in recorder.of(WorkersStatus)[-1].workers] == [0, 1]


@pytest.mark.parametrize(("sticky", "groups"), [(0.25, 2), pytest.param(0.0, 1, marks=pytest.mark.faults)])
def test_breakout_goes_on_bit_for_bit_in_the_middle_of_its_game(sticky: float, groups: int):
    config = faulty(
        f"env.atari.sticky_actions={sticky}", f"workers.groups={groups}", "run.torch_threads=1", "ppo.epochs=1",
        "workers.step_timeout=20",
        env_id="ALE/Breakout-v5", preset="breakout",
    )  # fmt: skip
    check_same(config, at_step(3, random.Random(sticky).randint(1, 31), kill(0)))


@pytest.mark.parametrize("when", [(2, 9), (2, 32)])
def test_a_recurrent_state_survives_it_too(when: tuple[int, int]):
    check_same(faulty("policy.recurrent=lstm", "policy.recurrent_size=16"), at_step(*when, kill(0)))


def test_all_workers_at_once_and_again_and_again():
    def react(trainer: Trainer, event: Event) -> None:
        for t in (3, 4, 30):
            at_step(2, t, kill(0, 1))(trainer, event)

    recorder = check_same(faulty(), react)
    counts = [re.match(r"worker (\d) .* restarted (\d)/5", alarm).groups() for alarm in alarms(recorder)]
    assert {("0", "1"), ("1", "1"), ("0", "2"), ("1", "2")} <= set(counts)


def test_a_worker_killed_while_the_learner_learns_is_back_for_the_next_rollout():
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateProgress) and (event.update, event.minibatch) == (2, 1):
            kill(0)(trainer)

    check_same(faulty(), react)


def test_a_worker_killed_between_its_first_reset_and_its_first_step():
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, WorkersStatus) and not recorded:
            recorded.append(event)
            kill(1)(trainer)

    recorded: list[Event] = []
    check_same(faulty(), react)


@linux_alone
def test_the_fork_server_may_die_too():
    """All workers die with it; it is started again."""

    def do(trainer: Trainer) -> None:
        import multiprocessing.forkserver as forkserver

        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)

    check_same(faulty(), at_step(2, 5, do))


@linux_alone
def test_a_fork_server_that_cannot_be_reached_is_replaced_with_all_its_workers():
    """Its socket is a temporary file, and what tidies those up takes old ones; one that is dying refuses, too."""

    def do(trainer: Trainer) -> None:
        import multiprocessing.forkserver as forkserver

        os.unlink(forkserver._forkserver._forkserver_address)
        kill(1)(trainer)

    check_same(faulty(), at_step(2, 5, do))


@linux_alone
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_fork_server_that_is_stopped_is_replaced_with_all_its_workers(number: int, monkeypatch):
    """It would never report the end of a worker, nor start another one."""
    monkeypatch.setattr(pipes, "REAP_SECONDS", 0.5)

    def do(trainer: Trainer) -> None:
        import multiprocessing.forkserver as forkserver

        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGSTOP)
        kill(1, number=number)(trainer)

    check_same(faulty(), at_step(2, 5, do))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("kill", r"worker 0 killed \(SIGKILL\)"),
        ("segfault", r"worker 0 killed \(SIGSEGV\)"),
        ("exit", "worker 0 exited with code 7"),
        ("hang", r"worker 0 hung \(no reply for 3 s\)"),
        ("garbage", "worker 0 stopped after a protocol error"),
        ("huge", "worker 0 stopped after a protocol error"),
        ("cut", "worker 0 stopped after a protocol error|worker 0 hung"),
        ("twice", "worker 0 stopped after a protocol error"),
    ],
)
def test_a_fault_in_the_middle_of_a_step(what: str, words: str, tmp_path):
    """Both environments of the worker are in their 40th step, in the second rollout."""
    # A worker that reports an error may take its time to do so on a busy machine.
    patience = f"workers.step_timeout={3.0 if what in ('hang', 'cut') else 30.0}"
    reference = faulty(patience, what="nothing")
    recorder = check_same(faulty(patience, what=what, at=40, flag=str(tmp_path / "flag")), lambda *_: None, reference)
    assert re.search(rf"({words}).* restarted 1/5", alarms(recorder)[0].replace("worker 1", "worker 0"))


def test_a_stopped_worker_is_killed_and_replaced():
    recorder = check_same(faulty(), at_step(2, 7, kill(1, number=signal.SIGSTOP)))
    assert "worker 1 hung (no reply for 3 s), restarted 1/5" in alarms(recorder)[0]


def test_a_message_too_large_for_the_pipe_of_a_stopped_worker_blocks_nobody():
    trainer = Trainer(faulty())
    try:
        pool = trainer.engine.pool
        trainer.engine.rollouts.reset()
        states = pool.save_states()
        kill(0, number=signal.SIGSTOP)(trainer)
        handle = pool.workers[0]
        handle.send(b"\x06" + bytes(2_000_000))
        assert handle.has_unsent
        handle.replied = True
        replacement = pool.replace(0)
        assert replacement.restore(states[:2], 0) == {}
    finally:
        trainer.close()


def test_environments_that_cannot_be_saved_end_truncated_and_the_run_says_so():
    config = faulty(env_id="tests.training.unrepeatable:Unrepeatable-v0")
    truncated = {}

    def react(trainer: Trainer, event: Event) -> None:
        at_step(2, 8, kill(1))(trainer, event)
        if isinstance(event, UpdateProgress) and event.update == 2:
            truncated.update({t: trainer.engine.rollouts.buffer.truncations[t].tolist() for t in range(32)})

    _, result, recorder = train(config, react)
    assert result.state is RunState.FINISHED
    (alarm,) = [message for message in alarms(recorder) if "begin new episodes" in message and "truncated" in message]
    assert re.match("environments 2, 3 begin new episodes, the old ones are truncated: replaying its episode", alarm)
    assert next(t for t, row in truncated.items() if row[2:] == [True, True]) in (7, 8)


def test_a_worker_that_always_dies_at_the_same_place_is_helped_past_it():
    """Its episodes are given up once they have killed two replacements too."""
    _, result, recorder = train(faulty(what="kill", at=40))
    assert result.state is RunState.FINISHED or "after 5 restarts" in result.reason
    assert any("failed 3 times at the same step" in message for message in alarms(recorder))


def test_a_new_worker_that_dies_before_it_is_ready_costs_no_bit(tmp_path: Path):
    """Its episodes have no part in that, however often it happens."""

    def do(trainer: Trainer) -> None:
        for number in range(MAX_REPLAYS + 1):
            (tmp_path / str(number)).touch()
        kill(1)(trainer)

    recorder = check_same(faulty(ends=str(tmp_path)), at_step(2, 9, do), faulty(ends=None))
    assert [re.sub(r", where.*", "", alarm) for alarm in alarms(recorder)] == [
        f"worker 1 exited with code 7, restarted {MAX_REPLAYS + 2}/5"
    ]


@pytest.mark.faults
@can_be_starved
def test_a_worker_without_a_core_to_run_on_does_not_hang():
    """Another process hardly leaves a core for its step."""
    pool = WorkerPool([FaultyCartPole], num_workers=1, step_timeout=1.5, infos=False)
    try:
        pool.reset(seed=1)
        pool.set_attr("seconds", 0.02)
        with starved(pool.workers[0].pid):
            began = time.monotonic()
            pool.step([0])
        assert time.monotonic() - began > pool.step_timeout, "it was not starved: nothing was tested"
    finally:
        pool.close()


def test_a_worker_that_dies_again_and_again_ends_the_run_with_a_checkpoint(tmp_path):
    _, result, recorder = train(faulty(what="kill", at=1), checkpoint_dir=tmp_path)
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert re.search(
        r"worker \d .*was killed by SIGKILL.*, after 5 restarts without a whole rollout between", result.reason
    )
    assert sum("restarted" in message for message in alarms(recorder)) <= 10
    assert (tmp_path / "latest").exists()


def test_restarts_count_anew_after_a_whole_rollout():
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update < UPDATES:
            kill(0)(trainer)

    _, result, recorder = train(faulty("workers.max_restarts=1"), react)
    assert result.state is RunState.FINISHED
    assert [re.search(r"restarted \S+", message)[0] for message in alarms(recorder)] == ["restarted 1/1,"] * 3


def test_with_no_restarts_allowed_the_run_ends():
    _, result, _ = train(faulty("workers.max_restarts=0"), at_step(2, 3, kill(1)))
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert "worker 1" in result.reason
    assert "was killed by SIGKILL" in result.reason
