"""The pool is a Gymnasium vector environment, and names a failed worker and the cause."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import textwrap

import gymnasium
import numpy as np
import psutil
import pytest
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError, NoAsyncCallError
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from ppo_tui.errors import ConfigError, WorkerError
from ppo_tui.workers import WorkerPool
from tests.conftest import ROOT, linux_alone
from tests.waiting import still_running, wait_until
from tests.workers.envs import Alarming, Counter, Misbehaving


def counters(n: int, **kwargs) -> list:
    return [functools.partial(Counter, length=3 + i, **kwargs) for i in range(n)]


def assert_same_infos(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if isinstance(value, dict):
            assert_same_infos(ours[key], value)
        else:
            assert [str(x) for x in ours[key]] == [str(x) for x in value]


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
@pytest.mark.parametrize("layout", [(1, 1), (2, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("truncate", [False, True])
def test_steps_as_gymnasiums_own_vector_env(mode: AutoresetMode, layout: tuple[int, int], truncate: bool):
    """Observations, rewards, flags and infos equal SyncVectorEnv's, whatever the split into workers and groups."""
    num_workers, groups = layout
    fns = counters(5, truncate=truncate)
    reference = SyncVectorEnv(fns, autoreset_mode=mode)
    with_pool = WorkerPool(fns, num_workers=num_workers, groups=groups, autoreset_mode=mode)
    try:
        ours, theirs = with_pool.reset(seed=11), reference.reset(seed=11)
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert_same_infos(ours[1], theirs[1])
        rng = np.random.default_rng(0)
        for _ in range(20):
            actions = rng.integers(-1, 4, 5)
            ours, theirs = with_pool.step(actions), reference.step(actions)
            for mine, other in zip(ours[:4], theirs[:4], strict=True):
                np.testing.assert_array_equal(mine, other)
                assert mine.dtype == other.dtype
            assert_same_infos(ours[4], theirs[4])
    finally:
        with_pool.close()
        reference.close()


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Taxi-v4"])
def test_any_gymnasium_environment_runs(env_id: str):
    fns = [functools.partial(gymnasium.make, env_id)] * 3
    reference = SyncVectorEnv(fns, autoreset_mode=AutoresetMode.SAME_STEP)
    pool = WorkerPool(fns, num_workers=2)
    assert pool.observation_space == reference.observation_space
    assert pool.action_space == reference.action_space
    np.testing.assert_array_equal(pool.reset(seed=3)[0], reference.reset(seed=3)[0])
    pool.action_space.seed(5)
    for _ in range(50):
        actions = pool.action_space.sample()
        for mine, other in zip(pool.step(actions)[:4], reference.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(mine, other)
    pool.close()


def test_seeds_may_be_given_one_by_one_and_reset_may_be_partial():
    pool = WorkerPool(counters(3), num_workers=2)
    observations, _ = pool.reset(seed=[5, None, 7])
    assert observations[:, 2].tolist() == [5, -1, 7]
    pool.step(np.zeros(3, int))
    mask = np.array([False, True, False])
    observations, infos = pool.reset(seed=40, options={"reset_mask": mask, "level": 2})
    assert observations[:, 0].tolist() == [1, 0, 1]
    assert observations[1, 2] == 41
    assert infos["_fresh"].tolist() == [False, True, False]
    assert infos["options"]["level"].tolist() == [0, 2, 0]
    pool.close()


def test_disabled_autoreset_refuses_to_step_past_the_end():
    pool = WorkerPool(counters(2), num_workers=1, autoreset_mode=AutoresetMode.DISABLED)
    pool.reset(seed=0)
    for _ in range(3):
        observations, *_ = pool.step([0, 0])
    assert observations[0, 0] == 3, "the final observation itself"
    with pytest.raises(WorkerError, match="environment 0.*reset it first"):
        pool.step([0, 0])
    pool.reset(options={"reset_mask": np.array([True, False])})
    assert pool.step([0, 0])[0][:, 0].tolist() == [1, 4]
    pool.close()


def test_call_get_set_and_render_reach_every_environment():
    pool = WorkerPool(counters(3), num_workers=2)
    pool.reset(seed=0)
    assert pool.call("add", 2, twice=True) == (4, 4, 4)
    assert pool.get_attr("length") == (3, 4, 5)
    pool.set_attr("label", ["a", "b", "c"])
    assert pool.call("label") == ("a", "b", "c")
    pool.set_attr("label", "same")
    assert pool.get_attr("label") == ("same",) * 3
    assert [frame.shape for frame in pool.render()] == [(2, 2, 3)] * 3
    with pytest.raises(WorkerError, match="AttributeError"):
        pool.call("no_such_thing")
    assert pool.call("add", 1) == (1, 1, 1), "an error in a call leaves the pool usable"
    pool.close()


def test_lambdas_and_closures_can_make_environments():
    length = 4
    pool = WorkerPool([lambda: Counter(length=length)] * 2, num_workers=1)
    assert pool.get_attr("length") == (4, 4)
    pool.close()


def test_observations_are_copies_unless_asked_otherwise():
    pool = WorkerPool(counters(2), num_workers=1)
    first, _ = pool.reset(seed=0)
    for _ in range(3):
        pool.step([0, 0])
    assert first[:, 0].tolist() == [0, 0]
    view = WorkerPool(counters(2), num_workers=1, copy=False)
    assert np.shares_memory(view.reset(seed=0)[0], view.shared.observations)
    view.close()
    pool.close()


def test_groups_step_independently_and_into_the_named_slot():
    pool = WorkerPool(counters(4), num_workers=2, groups=2, slots=4, infos=False)
    pool.reset_into(0, [1, 2, 3, 4])
    pool.send_step(1, np.array([3, 3]), slot=2)
    pool.wait_step(1)
    assert pool.group_envs(1) == slice(2, 4)
    assert pool.shared.observations[2, :, 0].tolist() == [0, 0, 1, 1]
    assert pool.shared.observations[2, :, 1].tolist() == [0, 0, 3, 3]
    assert pool.shared.observations[0, :, 2].tolist() == [1, 2, 3, 4], "slot 0 is untouched"
    pool.close()


def test_episodes_leave_their_return_and_length_and_final_observation():
    pool = WorkerPool(counters(2), num_workers=1, slots=6, infos=False)
    pool.reset_into(0, [0, 0])
    for slot in range(1, 6):
        pool.send_step(0, np.array([1, 2]), slot)
        pool.wait_step(0)
        if slot == 3:
            assert pool.shared.final_observations[0].tolist() == [3, 1, 0]
            assert pool.shared.observations[3, 0].tolist() == [0, -9, 0]
    assert pool.shared.episode_lengths[1:, 0].tolist() == [0, 0, 3, 0, 0]
    assert pool.shared.episode_lengths[1:, 1].tolist() == [0, 0, 0, 4, 0]
    assert pool.shared.episode_returns[4, 1] == 10.0
    pool.close()


def test_misuse_is_named():
    pool = WorkerPool(counters(2), num_workers=2, groups=2)
    pool.reset(seed=0)
    with pytest.raises(NoAsyncCallError, match="`step_wait` without any prior call to `step_async`"):
        pool.step_wait()
    pool.step_async([0, 0])
    with pytest.raises(AlreadyPendingCallError, match="pending call to `step`"):
        pool.step_async([0, 0])
    with pytest.raises(AlreadyPendingCallError):
        pool.reset()
    pool.step_wait()
    with pytest.raises(ValueError, match="shape"):
        pool.step([0, 0, 0])
    with pytest.raises(ValueError, match="3 seeds for 2"):
        pool.reset(seed=[1, 2, 3])
    pool.close()
    pool.close()
    with pytest.raises(ClosedEnvironmentError):
        pool.step([0, 0])


def test_spaces_that_are_no_arrays_are_refused():
    class Odd(Counter):
        observation_space = gymnasium.spaces.Dict(a=Counter.observation_space)

    with pytest.raises(ConfigError, match="observation space Dict"):
        WorkerPool([Odd], num_workers=1)


def misbehaving_pool(what: str, **kwargs) -> WorkerPool:
    fns = [Counter, Counter, functools.partial(Misbehaving, what)]
    return WorkerPool(fns, num_workers=2, **kwargs)


def step_until_failure(pool: WorkerPool) -> WorkerError:
    pool.reset(seed=0)
    with pytest.raises(WorkerError) as caught:
        for _ in range(5):
            pool.step([0, 0, 0])
    return caught.value


def test_an_environment_that_raises_is_named_with_its_traceback():
    pool = misbehaving_pool("raise")
    error = step_until_failure(pool)
    assert "worker 1 failed in environment 2: ValueError: the ball left the table" in str(error)
    assert any("in step" in note and "Traceback" in note for note in error.__notes__)
    assert pool.call("add", 0)[0] == 3, "the other environments, and the pool, are usable"
    pool.close()


@pytest.mark.parametrize(
    ("what", "words"),
    [("exit", "worker 1 .*environments 2 to 2.*exited with code 7"), ("kill", "worker 1 .*killed by SIGKILL")],
)
def test_a_worker_that_dies_is_named_at_once(what: str, words: str):
    pool = misbehaving_pool(what)
    assert re.search(words, str(step_until_failure(pool)))
    pool.close()


def test_a_worker_that_hangs_is_named_after_the_timeout_and_killed_on_close():
    pool = misbehaving_pool("hang", step_timeout=0.3)
    pids = [worker.process.pid for worker in pool.workers]
    error = step_until_failure(pool)
    assert f"no reply from worker 1 (pid {pids[1]}) for 0.3 s" in str(error)
    pool.close(timeout=0.2)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_an_environment_that_cannot_be_made_fails_the_start_and_leaves_nobody():
    before = set(psutil.Process().children(recursive=True))

    def broken():
        raise RuntimeError("no such table")

    space = Counter.observation_space, Counter.action_space
    with pytest.raises(WorkerError, match="worker 0 failed while starting: RuntimeError: no such table"):
        WorkerPool([broken, Counter], num_workers=2, observation_space=space[0], action_space=space[1])
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [process for process in left if "worker" in " ".join(process.cmdline())]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BrokenPipeError, EOFError, OSError])
def test_an_exception_of_an_environment_is_not_taken_for_one_of_the_program(kind: type[BaseException]):
    def broken() -> Counter:
        raise kind("no such table")

    space = Counter.observation_space, Counter.action_space
    words = f"worker 0 failed while starting: {kind.__name__}: no such table"
    pool = WorkerPool([broken], num_workers=1, observation_space=space[0], action_space=space[1], wait=False)
    with contextlib.closing(pool), pytest.raises(WorkerError, match=words) as caught:
        pool.wait_until_ready()
    assert not isinstance(caught.value, kind)


def test_an_environment_that_calls_exit_is_an_error_and_does_not_end_its_worker():
    pool = misbehaving_pool("leave")
    error = step_until_failure(pool)
    assert "worker 1 failed in environment 2: SystemExit: out of balls" in str(error)
    assert not isinstance(error, SystemExit)
    assert pool.call("add", 0)[0] == 3, "the other environments, and the pool, are usable"
    pool.close()


def test_output_of_workers_goes_to_their_log(tmp_path):
    log = tmp_path / "workers.log"
    pool = misbehaving_pool("print", log_path=log)
    pool.reset(seed=0)
    for _ in range(4):
        pool.step([0, 0, 0])
    pool.close()
    assert log.read_text().split("\n") == ["on stdout", "on stderr", "unflushed", ""]


def test_workers_ignore_an_interrupt_meant_for_the_parent():
    pool = WorkerPool(counters(2), num_workers=2)
    pool.reset(seed=0)
    for worker in pool.workers:
        os.kill(worker.process.pid, signal.SIGINT)
    assert pool.step([0, 0])[0][:, 0].tolist() == [1, 1]
    pool.close()


@pytest.mark.parametrize("error", [TimeoutError("late"), ValueError("late"), EOFError("late"), SystemExit("late")])
def test_a_worker_outlives_a_signal_handler_that_an_environment_has_left(tmp_path, error):
    log = tmp_path / "workers.log"
    pool = WorkerPool([functools.partial(Alarming, error)], log_path=log)
    pool.reset(seed=0)
    pool.step([0])
    words, worker = f"{type(error).__name__}: late", psutil.Process(pool.workers[0].pid)
    for number in (1, 2):
        wait_until(lambda: worker.status() == psutil.STATUS_SLEEPING)  # it has sent its reply
        worker.send_signal(signal.SIGALRM)
        wait_until(lambda count=number: log.exists() and log.read_text().count(words) == count)
        assert pool.step([0])[0][:, 0].tolist() == [number + 1]
    pool.close()


STARTING = """
    import signal
    import psutil
    from ppo_tui.workers import WorkerPool, worker_context
    from tests.workers.envs import Counter

    def interrupt():
        for process in psutil.Process().children(recursive=True):
            process.send_signal(signal.SIGINT)
            interrupted.add(process)

    interrupted = set()
    worker_context()
    interrupt()
    spaces = {"observation_space": Counter.observation_space, "action_space": Counter.action_space}
    pool = WorkerPool([Counter, Counter], num_workers=2, wait=False, **spaces)
    interrupt()
    pool.reset(seed=0)
    print(pool.restarts, all(process.is_running() for process in interrupted))
    pool.close()
"""


def test_workers_and_their_server_ignore_it_while_they_start_too():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(STARTING)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[0, 0] True\n", "")


PARENT = """
    import sys, time, functools
    from ppo_tui.workers import WorkerPool
    from tests.workers.envs import Counter, Misbehaving
    pool = WorkerPool([Counter, functools.partial(Misbehaving, "hang", 1)], num_workers=2, step_timeout=100)
    pool.reset(seed=0)
    pool.step_async([0, 0])
    print(*[worker.process.pid for worker in pool.workers], flush=True)
    time.sleep(100)
"""


@pytest.mark.parametrize("stopped", [False, pytest.param(True, marks=linux_alone)])
def test_no_worker_survives_a_killed_parent_not_even_a_hung_or_stopped_one(stopped: bool):
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    server = workers[0].parent()
    if stopped:
        os.kill(workers[0].pid, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    assert not still_running([*workers, server], seconds=5)


ORPHANED = """
    import os, signal, time
    from ppo_tui.workers import WorkerPool
    from tests.workers.envs import Counter
    spaces = {"observation_space": Counter.observation_space, "action_space": Counter.action_space}
    pool = WorkerPool([lambda: time.sleep(1000)], num_workers=1, wait=False, **spaces)
    print(pool.workers[0].pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_worker_survives_a_parent_that_is_killed_while_it_starts():
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ORPHANED)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    pid = int(parent.stdout.readline())
    assert parent.wait() == -signal.SIGKILL
    with contextlib.suppress(psutil.NoSuchProcess):
        assert not still_running([psutil.Process(pid)], seconds=30)


def test_a_script_that_imports_torch_costs_its_workers_nothing(tmp_path):
    """It needs no __main__ guard, what it imports is not imported by the workers, and they end with it."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import ftplib as stands_for_torch
        import sys
        import gymnasium
        from ppo_tui.workers import WorkerPool

        print("main runs", flush=True)
        class Mine(gymnasium.Wrapper):
            def modules(self):
                return [name for name in ("ftplib", "torch") if name in sys.modules]
        pool = WorkerPool([lambda: Mine(gymnasium.make("CartPole-v1"))] * 2, num_workers=2)
        pool.reset(seed=0)
        print(pool.call("modules"))
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "main runs\n([], [])\n", done.stdout + done.stderr
