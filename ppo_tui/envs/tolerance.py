"""Living with environments that fail: the episode is given up, another one begins, and what happened is told."""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, SupportsFloat

import gymnasium
import numpy as np

MAX_FAILED_RESETS = 5
"""Resets in a row that may fail before the environment counts as beyond help."""


class BadValueError(ValueError):
    """An environment gave an observation or a reward that nothing can be learnt from."""


class EnvFailure(NamedTuple):
    """What an environment did wrong, as text.

    Attributes:
        error: in one line.
        traceback: of the exception.
        episode_step: in which step of its episode, counted from 1; 0 in a reset.
    """

    error: str
    traceback: str
    episode_step: int


class TolerantEnv(gymnasium.Wrapper):
    """Gives up the episode where an environment raises, or gives a value that is NaN, infinite or of a wrong shape.

    That step then counts for nothing: `step` returns None for the observation, reward 0 and a truncation, and leaves
    it to the caller, who knows what was observed before, to reset. A reset that fails is tried again on a newly made
    environment. `take_failures` tells what happened.

    Args:
        make: makes the environment.
        on_bad_value: whether an episode with a bad value is dropped, or the value raises `BadValueError`.
    """

    def __init__(self, make: Callable[[], gymnasium.Env], on_bad_value: Literal["drop", "stop"] = "drop") -> None:
        super().__init__(make())
        self._make = make
        self._on_bad_value = on_bad_value
        self._failures: list[EnvFailure] = []
        self._episode_step = 0
        self._seed: int | None = None
        self._shape = self.observation_space.shape
        self._checks_values = np.issubdtype(self.observation_space.dtype, np.floating)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        self._episode_step += 1
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
            self._check_observation(observation)
            if not math.isfinite(reward):
                raise BadValueError(f"the reward is {reward}")
        except Exception as error:  # whatever someone else's environment raises
            self._note(error)
            return None, 0.0, False, True, {}
        return observation, reward, terminated, truncated, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Raises:
            Exception: what the environment raised in the last of `MAX_FAILED_RESETS` attempts.
        """
        self._episode_step = 0
        self._seed = self._seed if seed is None else seed
        for attempts_left in reversed(range(MAX_FAILED_RESETS)):
            try:
                observation, info = self.env.reset(seed=seed, options=options)
                self._check_observation(observation)
                break
            except Exception as error:
                self._note(error)
                if not attempts_left:
                    raise
            seed = self._remake()
        return observation, info

    def take_failures(self) -> list[EnvFailure]:
        """What went wrong since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def _remake(self) -> int | None:
        """Put a new environment in the place of the broken one; the seed for it, which repeats in another run."""
        with contextlib.suppress(Exception):
            self.env.close()
        self.env = self._make()
        if self._seed is not None:
            self._seed = (self._seed + 1) % 2**31
        return self._seed

    def _note(self, error: Exception) -> None:
        """Remember the failure; raise it again where it is one that ends the run."""
        if isinstance(error, BadValueError) and self._on_bad_value == "stop":
            error.args = (f"{error} at step {self._episode_step} of its episode (env.on_bad_value = 'stop')",)
            raise error
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        self._failures.append(EnvFailure(text, traceback.format_exc(), self._episode_step))

    def _check_observation(self, observation: Any) -> None:
        shape = np.shape(observation)
        if shape != self._shape:
            raise BadValueError(f"the observation has the shape {shape} instead of {self._shape}")
        # A sum is NaN or infinite where any number is, or where they are enormous: then each is looked at.
        if self._checks_values and not math.isfinite(np.sum(observation)):
            bad = np.argwhere(~np.isfinite(observation))
            if len(bad):
                index = tuple(bad[0].tolist())
                value = np.asarray(observation)[index]
                raise BadValueError(f"observation[{', '.join(map(str, index))}] is {value}")
