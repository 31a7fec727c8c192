"""No two environments share their luck, and a seed brings it back."""

from __future__ import annotations

import random

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from ppo_tui.envs import luck
from ppo_tui.envs.luck import Luck, LuckError, LuckSwitch, apply_luck, capture_luck
from ppo_tui.workers import WorkerPool


class Draws(gymnasium.Env):
    """Observes numbers from all global generators and from its space, which its class has."""

    observation_space = Box(-np.inf, np.inf, (5,), np.float64)

    def __init__(self) -> None:
        self.action_space = Discrete(1_000_000)
        self.at_making = np.random.rand()

    def look(self) -> np.ndarray:
        numbers = np.random.rand(), np.random.randn(), random.random(), self.action_space.sample(), self.at_making
        return np.array(numbers)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.look(), {}

    def step(self, action):
        return self.look(), 0.0, False, False, {}


def observed(num_workers: int, seeds: list[int] | None) -> np.ndarray:
    """``[steps, N, 5]``, the observations of four environments."""
    pool = WorkerPool([Draws] * 4, num_workers=num_workers, infos=False, seeds=seeds)
    try:
        first, _ = pool.reset(seed=1)
        return np.stack([first, *(pool.step(np.zeros(4, int))[0] for _ in range(3))])
    finally:
        pool.close()


def test_by_chance_no_number_comes_twice_in_two_pools():
    both = np.concatenate([observed(4, None), observed(2, None)], axis=1)
    assert len(np.unique(both[:, :, :4])) == both[:, :, :4].size
    assert len(np.unique(both[0, :, 4])) == 8


def test_with_seeds_all_numbers_come_again_whatever_the_number_of_workers():
    one, four, others = observed(1, [1, 2, 3, 4]), observed(4, [1, 2, 3, 4]), observed(4, [5, 6, 7, 8])
    np.testing.assert_array_equal(one, four)
    assert len(np.unique(one[:, :, :4])) == one[:, :, :4].size
    assert not np.isin(one[:, :, 4], others[:, :, 4]).any()


def draws() -> tuple:
    return random.random(), random.gauss(0, 1), np.random.rand(3).tolist(), np.random.randint(9)


@pytest.mark.parametrize("fast", [True, False], ids=["memory", "public functions"])
def test_generators_are_kept_apart_and_restored_with_and_without_knowledge_of_their_memory(fast, monkeypatch):
    monkeypatch.setattr(luck, "_MEMORY_IS_KNOWN", fast)
    if not fast:
        monkeypatch.setattr(luck, "object", _Unknown, raising=False)
        monkeypatch.setattr(luck, "_python_memory", luck._PythonMemory(random.random.__self__))
    before = capture_luck()
    try:
        switch = LuckSwitch([Luck(1), Luck(2)])
        mixed = []
        for index in (0, 1, 1, 0):
            switch.enter(index)
            mixed.append(draws())
        kept = capture_luck()
        again = draws()
        apply_luck(kept)
        assert draws() == again
        for index, expected in ((0, [mixed[0], mixed[3]]), (1, mixed[1:3])):
            LuckSwitch([Luck(index + 1)]).enter(0)
            assert [draws(), draws()] == expected
    finally:
        apply_luck(before)


class _Unknown:
    """Stands for `object` of a Python with larger objects."""

    __basicsize__ = 1_000_000


@pytest.mark.parametrize("state", [b"", b"x" * 100, b"\xff" * 6000])
def test_bytes_that_are_no_generators_are_refused(state: bytes):
    before = capture_luck()
    with pytest.raises(LuckError):
        apply_luck(state)
    assert capture_luck() == before
