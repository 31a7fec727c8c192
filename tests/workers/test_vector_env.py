"""The pool keeps the promises of Gymnasium's own vector environments."""

from __future__ import annotations

import functools
import multiprocessing
import time
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError, ResetNeeded
from gymnasium.vector import AutoresetMode

from ppo_tui.errors import WorkerError
from ppo_tui.workers import WorkerPool
from tests.workers.envs import Counter, Misbehaving


class Slow(Counter):
    """Takes `seconds` to reset, and as many for each step with action 1."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict]:
        time.sleep(self._seconds)
        return super().reset(**kwargs)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        time.sleep(self._seconds * (action == 1))
        return super().step(action)


class Raising(Counter):
    """Raises an exception of class `kind` in `step`."""

    def __init__(self, kind: type[Exception], *arguments: Any) -> None:
        super().__init__()
        self._kind, self._arguments = kind, arguments

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        raise self._kind(*self._arguments)


class Small(Counter):
    """Returns a shorter observation than its space has."""

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, *rest = super().step(action)
        return observation[:1], *rest


@pytest.fixture(scope="module")
def pool():
    """Three counters in two workers, shared by the tests that leave them idle."""
    pool = WorkerPool([Counter] * 3, num_workers=2, autoreset_mode=AutoresetMode.DISABLED)
    yield pool
    pool.close()


def test_every_environment_has_a_generator_and_a_seed_of_its_own(pool: WorkerPool):
    pool.reset(seed=42)
    assert pool.np_random_seed == (42, 43, 44)
    assert len({generator.random() for generator in pool.np_random}) == 3
    pool.reset()
    assert pool.np_random_seed == (42, 43, 44), "a reset without a seed keeps the generators"


def test_resets_steps_and_calls_may_be_asked_for_and_waited_for(pool: WorkerPool):
    pool.reset_async(seed=7)
    observations, infos = pool.reset_wait()
    assert observations[:, 2].tolist() == [7, 8, 9]
    assert infos["fresh"].tolist() == [True] * 3
    pool.step_async([1, 2, 3])
    assert pool.step_wait()[0][:, 1].tolist() == [1, 2, 3]
    pool.call_async("add", 10, twice=True)
    assert pool.call_wait() == (21, 21, 21)


@pytest.mark.parametrize(("wait", "ask"), [("reset_wait", "reset_async"), ("step_wait", "step_async")])
def test_waiting_for_what_nobody_asked_for_is_refused(pool: WorkerPool, wait: str, ask: str):
    with pytest.raises(NoAsyncCallError, match=f"Calling `{wait}` without any prior call to `{ask}`"):
        getattr(pool, wait)()


def test_another_call_is_refused_until_the_first_has_been_waited_for(pool: WorkerPool):
    pool.reset()
    pool.step_async([0, 0, 0])
    for call in (pool.reset_async, lambda: pool.step_async([0, 0, 0]), lambda: pool.call_async("label")):
        with pytest.raises(AlreadyPendingCallError, match="while waiting for a pending call to `step` to complete"):
            call()
    assert pool.step_wait()[0][:, 0].tolist() == [1, 1, 1], "the refused calls have changed nothing"


def test_the_number_of_actions_must_be_that_of_the_environments(pool: WorkerPool):
    pool.reset()
    for actions in ([0, 0], [0, 0, 0, 0], [[0, 0, 0]]):
        with pytest.raises(ValueError, match="shape"):
            pool.step(actions)
    with pytest.raises(TypeError, match="expected one for each of 3 environments"):
        pool.step(0)
    assert pool.step([0, 0, 0])[0][:, 0].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        ([True, True, False], TypeError, "must be a numpy array"),
        (np.array([True]), ValueError, r"must have shape `\(3,\)`, got \(1,\)"),
        (np.array([[True, True, True]]), ValueError, r"got \(1, 3\)"),
        (np.array([1, 1, 0]), TypeError, "must have `dtype=np.bool_`, got int64"),
        (np.array([False, False, False]), ValueError, "at least one True"),
    ],
    ids=str,
)
def test_a_wrong_reset_mask_is_refused(pool: WorkerPool, mask: Any, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        pool.reset(options={"reset_mask": mask})


def test_environments_with_other_spaces_are_refused():
    def other() -> gymnasium.Env:
        env = Counter()
        env.observation_space = spaces.Box(0, 1, (3,), np.float64)
        return env

    with pytest.raises(RuntimeError, match=r"environment 1 has the observation space Box\(0.0, 1.0"):
        WorkerPool([Counter, other], num_workers=2)


def test_an_observation_of_another_shape_is_refused_and_not_repeated():
    pool = WorkerPool([Small], num_workers=1)
    pool.reset(seed=0)
    with pytest.raises(ValueError, match=r"the observation has the shape \(1,\) instead of \(3,\)"):
        pool.step([0])
    pool.close()


def test_autoreset_modes_may_be_named():
    pool = WorkerPool([Counter], num_workers=1, autoreset_mode="NextStep")
    assert pool.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    pool.close()


def test_a_slow_environment_is_a_timeout():
    pool = WorkerPool([functools.partial(Slow, 0.3)], num_workers=1)
    pool.reset_async()
    with pytest.raises(multiprocessing.TimeoutError):
        pool.reset_wait(timeout=0.01)
    pool.close(terminate=True)


class OwnError(ResetNeeded):
    """An environment's own exception."""


@pytest.mark.parametrize(
    ("raised", "caught"),
    [
        ((ValueError, "odd"), ValueError),
        ((KeyError, "odd"), KeyError),
        ((OwnError, "odd"), ResetNeeded),
        ((UnicodeDecodeError, "utf-8", b"odd", 0, 1, "odd"), WorkerError),
        ((OSError, 2, "odd"), OSError),
        ((StopIteration, "odd"), StopIteration),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_exception_arrives_as_a_worker_error_of_its_own_type(raised: tuple, caught: type[Exception]):
    pool = WorkerPool([functools.partial(Raising, *raised)], num_workers=1)
    pool.reset(seed=0)
    with pytest.raises(caught, match="worker 0 failed in environment 0: .*odd") as error:
        pool.step([0])
    assert isinstance(error.value, WorkerError)
    pool.close()


def test_closing_in_the_middle_of_a_call_warns():
    pool = WorkerPool([functools.partial(Misbehaving, "hang", 1)], num_workers=1)
    pool.reset(seed=0)
    pool.step_async([0])
    with pytest.warns(UserWarning, match="Calling `close` while waiting for a pending call to `step` to complete"):
        pool.close(terminate=True)


def test_the_final_observation_is_the_environments_own():
    class Table(gymnasium.Env):
        observation_space, action_space = spaces.Discrete(3), spaces.Discrete(2)

        def reset(self, **kwargs: Any) -> tuple[int, dict]:
            super().reset(**kwargs)
            return 0, {}

        def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
            return 2, 1.0, True, False, {}

    pool = WorkerPool([Table], num_workers=1)
    pool.reset(seed=0)
    infos = pool.step([1])[4]
    assert type(infos["final_obs"][0]) is int
    pool.close()
