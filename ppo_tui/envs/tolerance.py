"""Survive failing environments: abandon the episode, begin another, report the failure."""

from __future__ import annotations

import contextlib
import math
import os
import traceback
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, SupportsFloat

import gymnasium
import numpy as np

MAX_FAILED_RESETS = 5
"""Resets in a row that may fail before the failure is raised."""


class BadValueError(ValueError):
    """An observation, reward or mask against the rules.

    It is NaN, infinite, or of a wrong shape or type.
    """


class EnvFailure(NamedTuple):
    """A failure of an environment, as text.

    Attributes:
        error: in one line.
        traceback: of the exception.
        episode_step: the step of its episode, counted from 1; 0 in a reset.
    """

    error: str
    traceback: str
    episode_step: int


class Remark(NamedTuple):
    """A remark on an observation outside its space, learnt as it is.

    Attributes:
        kind: the same for every observation with this fault.
        text: with the number at fault.
    """

    kind: str
    text: str


class TolerantEnv(gymnasium.Wrapper):
    """Abandon the episode if an environment raises or returns a bad value.

    Bad are observations and rewards that are NaN, infinite, of a wrong shape or not of their type, and unusable action
    masks. That step then does not count: `step` returns None for the observation, reward 0 and a truncation; the
    caller, which knows the observation before, resets. A reset that fails is tried again on a newly made environment.
    Any exception is a failure, SystemExit and KeyboardInterrupt too: the user's own interrupts reach no worker.
    `take_failures` returns what happened, `take_remarks` what else there is to say.

    Args:
        make: makes the environment.
        on_bad_value: whether a bad value drops its episode, or raises `BadValueError`.
        read_mask: reads the action mask from an environment and its info, after each reset and step within an episode;
            the mask is then in ``info["action_mask"]``. None where actions are not masked.
    """

    def __init__(
        self,
        make: Callable[[], gymnasium.Env],
        on_bad_value: Literal["drop", "stop"] = "drop",
        read_mask: Callable[[gymnasium.Env, dict[str, Any]], np.ndarray] | None = None,
    ) -> None:
        super().__init__(make())
        self._make = make
        self._pid = os.getpid()
        self._on_bad_value = on_bad_value
        self._read_mask = read_mask
        self._failures: list[EnvFailure] = []
        self._remarks = _remarks_of(self.env)
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
            if self._read_mask is not None and not (terminated or truncated):
                info = {**info, "action_mask": self._read_mask(self.env, info)}
        except BaseException as error:
            self._record(error)
            return None, 0.0, False, True, {}
        return observation, reward, terminated, truncated, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Raises:
            BaseException: the environment's own, from the last of `MAX_FAILED_RESETS` attempts.
        """
        self._episode_step = 0
        self._seed = self._seed if seed is None else seed
        failed = 0
        while True:
            try:
                observation, info = self.env.reset(seed=seed, options=options)
                self._check_observation(observation)
                if self._read_mask is not None:
                    info = {**info, "action_mask": self._read_mask(self.env, info)}
                return observation, info
            except BaseException as error:
                self._record(error)
                failed += 1
                if failed == MAX_FAILED_RESETS:
                    raise
            seed = self._remake()

    def take_failures(self) -> list[EnvFailure]:
        """The failures since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def take_remarks(self) -> list[Remark]:
        """The remarks on observations since the last call."""
        remarks = self._remarks[:]
        self._remarks.clear()
        return remarks

    def _remake(self) -> int | None:
        """Replace the broken environment; return the seed for the new one.

        The same run with the same failures gets the same seeds.
        """
        with contextlib.suppress(BaseException):
            self.env.close()
        self.env = self._make()
        self._remarks = _remarks_of(self.env)
        if self._seed is not None:
            self._seed = (self._seed + 1) % 2**31
        return self._seed

    def _record(self, error: BaseException) -> None:
        """Record the failure; raise it again if it is final."""
        if os.getpid() != self._pid:  # the environment forked
            raise error
        if isinstance(error, BadValueError) and self._on_bad_value == "stop":
            error.args = (f"{error} at step {self._episode_step} of its episode (env.on_bad_value = 'stop')",)
            raise error
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        self._failures.append(EnvFailure(text, traceback.format_exc(), self._episode_step))

    def _check_observation(self, observation: Any) -> None:
        shape = np.shape(observation)
        if shape != self._shape:
            raise BadValueError(f"the observation has the shape {shape} instead of {self._shape}")
        # A sum is NaN or infinite where any number is, or where they are enormous: only then each is checked.
        if self._checks_values and not math.isfinite(np.sum(observation)):
            bad = np.argwhere(~np.isfinite(observation))
            if len(bad):
                index = tuple(bad[0].tolist())
                value = np.asarray(observation)[index]
                raise BadValueError(f"observation[{', '.join(map(str, index))}] is {value}")


def _remarks_of(env: gymnasium.Env) -> list[Remark]:
    """The list of the remarks of `env` on its observations."""
    return env.get_wrapper_attr("observation_remarks") if env.has_wrapper_attr("observation_remarks") else []
