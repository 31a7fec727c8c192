"""A worker that is lost before its first step is replaced as later, and no number changes."""

from __future__ import annotations

import functools
import os
import signal

import numpy as np
import pytest

from ppo_tui import Trainer, load_preset
from ppo_tui.errors import ConfigError, WorkerFailedError
from ppo_tui.protocol import Alarm, RunState, UpdateFinished
from ppo_tui.training import examine
from ppo_tui.workers import WorkerPool
from tests.faults.conftest import faulty
from tests.training.test_trainer import Recorder
from tests.workers.guests import Guest, Unlucky

SPACES = {"observation_space": Guest().observation_space, "action_space": Guest().action_space}
PATIENT = {"step_timeout": 2.0, "start_timeout": 60.0}


def unlucky_pool(place, what: str, when: str, **settings) -> WorkerPool:
    fns = [functools.partial(Unlucky, what, when, str(place))] * 2
    return WorkerPool(fns, num_workers=2, **(SPACES | PATIENT | settings))


@pytest.mark.parametrize("when", ["made", "reset"])
@pytest.mark.parametrize(
    ("what", "cause"),
    [
        ("kill", r"killed \(SIGKILL\)"),
        ("crash", r"killed \(SIGSEGV\)"),
        ("exit", "exited with code 0"),
        ("stop", r"stopped \(no reply for 2 s\)"),
        ("huge", "stopped after a protocol error"),
    ],
)
def test_a_lost_worker_of_a_new_pool_is_replaced(tmp_path, what, cause, when):
    pool = unlucky_pool(tmp_path, what, when)
    observations, _ = pool.reset(seed=3)
    assert observations.shape == (2, 2)
    (lost,) = pool.start_failures
    assert lost.losses == 1
    assert np.flatnonzero(pool.restarts).tolist() == [lost.worker]
    with pytest.raises(ValueError, match=cause):
        raise ValueError(lost.cause)
    assert pool.step([0, 1])[1].tolist() == [1.0, 1.0]
    pool.close()


def test_a_hanging_constructor_has_the_time_limit_of_a_start(tmp_path):
    pool = unlucky_pool(tmp_path, "hang", "made", start_timeout=5.0)
    assert [lost.cause for lost in pool.start_failures] == ["hung (no reply for 5 s)"]
    pool.close()


def test_a_worker_lost_again_and_again_ends_the_start(tmp_path):
    with pytest.raises(WorkerFailedError, match="killed by SIGKILL, after 2 restarts before its first step") as caught:
        WorkerPool([functools.partial(Guest, "kill")], num_workers=1, max_restarts=2, **SPACES)
    assert caught.value.causes == {0: "killed (SIGKILL)"}
    with pytest.raises(WorkerFailedError, match=r"killed by SIGKILL\n"):
        unlucky_pool(tmp_path, "kill", "made", max_restarts=0)


def test_a_request_is_repeated_only_as_the_first_one():
    pool = WorkerPool([Guest] * 2, num_workers=2, **SPACES, **PATIENT)
    pool.reset(seed=0)
    os.kill(pool.workers[1].pid, signal.SIGKILL)
    with pytest.raises(WorkerFailedError):
        pool.reset(seed=0)
    assert pool.start_failures == []
    pool.close()


def test_states_are_restored_in_a_worker_that_replaces_a_lost_one():
    fns = [functools.partial(Guest)] * 2
    pool = WorkerPool(fns, num_workers=2, **SPACES, **PATIENT)
    assert len(pool.save_states()) == 2
    states = pool.save_states()
    pool.close()
    pool = WorkerPool(fns, num_workers=2, **SPACES, **PATIENT)
    os.kill(pool.workers[0].pid, signal.SIGSTOP)
    assert pool.restore_states(states, 0).keys() == {0, 1}, "this environment cannot be saved: it begins anew"
    assert [lost.worker for lost in pool.start_failures] == [0]
    pool.close()


def trained(config, hit: signal.Signals | None = None, **arguments):
    recorder = Recorder(lambda event: None)
    trainer = Trainer(config, sinks=[recorder], **arguments)
    if hit is not None:
        os.kill(trainer.engine.pool.workers[1].pid, hit)
    result = trainer.run()
    assert result.state is RunState.FINISHED, result.reason
    return trainer, recorder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed")
    _, recorder = trained(faulty(), checkpoint_dir=directory)
    return directory / "latest", recorder.metrics


@pytest.mark.parametrize(("number", "cause"), [(signal.SIGKILL, "killed (SIGKILL)"), (signal.SIGSTOP, "stopped")])
def test_a_run_that_loses_a_worker_before_its_first_step_keeps_every_number(undisturbed, number, cause):
    _, recorder = trained(faulty(), number)
    assert recorder.metrics == undisturbed[1]
    (alarm,) = recorder.of(Alarm)
    assert alarm.message.startswith(f"worker 1 {cause}")
    assert alarm.message.endswith("before its first step, restarted 1/5")


def test_a_resumed_run_that_loses_a_worker_before_its_first_step_keeps_every_number(undisturbed):
    longer = faulty("run.total_steps=1024")
    _, expected = trained(longer, resume_from=undisturbed[0])
    _, recorder = trained(longer, signal.SIGSTOP, resume_from=undisturbed[0])
    assert len(recorder.of(UpdateFinished)) == 4
    assert recorder.metrics == expected.metrics
    assert any("stopped" in alarm.message for alarm in recorder.of(Alarm))


@pytest.mark.faults
def test_an_actor_learner_is_replaced_too(tmp_path):
    config = load_preset(
        "a3c-cartpole",
        overrides=[
            "env.id=tests.workers.guests:Unlucky-v0",
            "env.kwargs.what=kill",
            "env.kwargs.when=made",
            f"env.kwargs.place={tmp_path}",
            "env.kwargs.number=1",  # number 0 is made to be examined
            "rollout.num_envs=2",
            "run.total_steps=40",
        ],
    )
    _, recorder = trained(config)
    assert "killed (SIGKILL) before its first step, restarted 1/5" in recorder.of(Alarm)[0].message


@pytest.mark.parametrize("what", ["kill", "stop"])
def test_the_process_that_examines_an_environment_may_be_lost_once(tmp_path, what):
    tables = {"what": what, "when": "made", "place": str(tmp_path)}
    config = faulty("workers.step_timeout=1", env_id="tests.workers.guests:Unlucky-v0", **tables)
    assert examine(config).num_masked == 0
    always = faulty("workers.step_timeout=1", env_id="tests.workers.guests:Guest-v0", what=what)
    with pytest.raises(ConfigError, match=r"(killed|stopped) its process \("):
        examine(always)
