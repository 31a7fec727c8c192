"""Score a trained policy over whole episodes, with a confidence interval.

The interval is that of the mean return.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch

from ...config import Config
from ...envs.numbers import MOST_NUMBERS
from ...ppo import ActorCritic
from ...statistics import LEVEL, RESAMPLES, bootstrap
from ..checkpoint.files import OpenedCheckpoint
from ..checkpoint.snapshot import build_saved_policy, read_checkpoint
from ..collect import Collector, wrap_rollout
from ..device import choose_threads, device_of
from ..hub import TrainingClock
from ..metrics import PhaseTimes
from .setup import EvaluationSetup, start_evaluation


class PlayedEpisode(NamedTuple):
    """A whole episode, played to its end.

    Attributes:
        number: in the order of the seeds.
        step: environment steps of all environments at its end.
        limited: it was ended at the limit of steps.
        numbers: those in the info of its last step.
    """

    number: int
    env: int
    episode_return: float
    length: int
    step: int
    limited: bool
    numbers: dict[str, float]


class PolicyPlayer:
    """A player of episodes with a checkpoint's policy, without learning.

    Args:
        policy: another one in place of the checkpoint's.
        first_seed: of the first episode in each environment; None leaves it to the environments.

    Attributes:
        step: environment steps so far.

    Raises:
        UsageError: the checkpoint is damaged.
        WorkerError: a worker could not start.
    """

    def __init__(
        self, setup: EvaluationSetup, *, policy: ActorCritic | None = None, first_seed: int | None = None
    ) -> None:
        config, info, pool = setup.config, setup.info, setup.pool
        device = device_of(config)
        self.policy = policy or build_saved_policy(read_checkpoint(setup.checkpoint), config, info, device)
        self.step = 0
        self._num_envs, self._max_steps = config.rollout.num_envs, setup.max_steps
        self._steps = config.rollout.steps
        self._played: Counter[int] = Counter()
        torch.set_num_threads(choose_threads(config, info, pool.num_workers).act)
        pool.wait_until_ready()
        self.rollout = wrap_rollout(pool.shared, self.policy, config, masked=bool(info.num_masked))
        self._collector = Collector(
            pool,
            self.policy,
            self.rollout,
            times=PhaseTimes(TrainingClock()),
            action_seed=setup.action_seed,
            env_seeds=[first_seed] * self._num_envs,
            greedy=setup.greedy,
        )
        self._collector.reset()

    def advance(self, after_step: Callable[[int], None] = lambda steps: None) -> Iterator[PlayedEpisode]:
        """Play one rollout, and yield the episodes finished in it.

        Args:
            after_step: called after each vector step with the environment steps so far.
        """
        if self.step:
            self.rollout.carry_over()
        with self.policy.unchanged():
            for t in range(self._steps):
                self._collector.step(t)
                after_step(self.step + t * self._num_envs)
            self._collector.finish(self._steps)
        for episode in self._collector.finished_episodes(self.step, range(self._steps)):
            number = episode.env + self._num_envs * self._played[episode.env]
            self._played[episode.env] += 1
            t = (episode.step - self.step) // self._num_envs - 1
            limited = episode.length >= self._max_steps and not bool(self.rollout.terminations[t, episode.env])
            yield PlayedEpisode(
                number, episode.env, episode.episode_return, episode.length, episode.step, limited, episode.numbers
            )
        self.step += self._steps * self._num_envs


ROLLOUT_STEPS = 32
"""Vector steps between two checks for finished episodes."""

MOST_ENVS = 16
"""Environments that play in parallel; the same on every machine, as the noise of sampled actions depends on it."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of some numbers.

    Attributes:
        interval: the 95 % percentile bootstrap interval of the mean; None for a single number.
        std: standard deviation, with n − 1 in the denominator; None for a single number.
    """

    mean: float
    interval: tuple[float, float] | None
    std: float | None
    median: float
    min: float
    max: float

    @classmethod
    def of(cls, numbers: np.ndarray) -> Summary:
        estimate = bootstrap([numbers])
        single = len(numbers) < 2
        return cls(
            mean=float(estimate.value),
            interval=None if single else (float(estimate.low), float(estimate.high)),
            std=None if single else float(np.std(numbers, ddof=1)),
            median=float(np.median(numbers)),
            min=float(np.min(numbers)),
            max=float(np.max(numbers)),
        )


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The score of a checkpoint.

    Attributes:
        checkpoint: its directory.
        step: environment steps of its training.
        protocol: of the evaluation, by name; see `describe_protocol`.
        reward_threshold: mean return at which the environment counts as solved, or None.
        returns: raw returns of the episodes, in the order of their numbers.
        lengths: agent steps of each episode.
        max_steps: limit of the steps of an episode.
        limited: episodes that reached it, and count with their return so far.
        numbers: those in the info of an episode's last step, by name, over the episodes that have them.
    """

    checkpoint: str
    step: int
    env: str
    episodes: int
    protocol: dict[str, Any]
    reward_threshold: float | None
    seconds: float
    score: Summary
    length: Summary
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    max_steps: int
    limited: int
    numbers: dict[str, Summary] = {}

    @property
    def limit_reached(self) -> str | None:
        """The share of episodes at the limit, in words, or None."""
        if not self.limited:
            return None
        return f"{self.limited:,} of {self.episodes:,} episodes reached the limit of {self.max_steps:,} steps"


def evaluate(
    checkpoint: OpenedCheckpoint | Path,
    *,
    episodes: int,
    seed: int = 0,
    greedy: bool | None = None,
    device: str = "auto",
    cores: int | None = None,
    max_steps: int | None = None,
    allow_import: bool = False,
    on_progress: Callable[[int, float, int], None] = lambda done, mean, steps: None,
) -> Evaluation:
    """Let a checkpoint play `episodes` whole episodes.

    The episodes that count are fixed before the first begins: each environment plays its share of them to the end, so
    that short episodes are no more likely to be counted than long ones.

    Args:
        seed, greedy, device, cores, max_steps, allow_import: as for `start_evaluation`.
        on_progress: called after each vector step with the episodes so far, their mean return (NaN before the first),
            and the environment steps so far.

    Raises:
        As `start_evaluation` and `PolicyPlayer` do.
    """
    began = time.perf_counter()
    setup = start_evaluation(
        checkpoint,
        episodes=episodes,
        num_envs=min(episodes, MOST_ENVS),
        steps=ROLLOUT_STEPS,
        seed=seed,
        greedy=greedy,
        device=device,
        cores=cores,
        max_steps=max_steps,
        allow_import=allow_import,
    )
    returns, lengths = np.full(episodes, np.nan), np.zeros(episodes, int)
    numbers: list[dict[str, float]] = [{}] * episodes
    done, limited, mean = 0, 0, math.nan

    def report(steps: int) -> None:
        on_progress(done, mean, steps)

    try:
        play = PolicyPlayer(setup)
        while done < episodes:
            for episode in play.advance(report):
                if episode.number < episodes:
                    returns[episode.number], lengths[episode.number] = episode.episode_return, episode.length
                    numbers[episode.number] = episode.numbers
                    done, limited, mean = done + 1, limited + episode.limited, float(np.nanmean(returns))
    finally:
        setup.pool.close()
    return Evaluation(
        checkpoint=str(setup.checkpoint.path),
        step=setup.checkpoint.state.step,
        env=setup.config.env.id,
        episodes=episodes,
        protocol=describe_protocol(setup.config, greedy=setup.greedy, seed=seed),
        max_steps=setup.max_steps,
        limited=limited,
        reward_threshold=setup.info.reward_threshold,
        seconds=time.perf_counter() - began,
        score=Summary.of(returns),
        length=Summary.of(lengths),
        returns=tuple(returns.tolist()),
        lengths=tuple(lengths.tolist()),
        numbers=_summaries(numbers),
    )


def _summaries(of_episodes: Sequence[Mapping[str, float]]) -> dict[str, Summary]:
    """Summaries of the numbers at the ends of episodes, by name."""
    names = sorted({name for numbers in of_episodes for name in numbers})[:MOST_NUMBERS]
    return {name: Summary.of(np.array([numbers[name] for numbers in of_episodes if name in numbers])) for name in names}


def describe_protocol(config: Config, *, greedy: bool, seed: int) -> dict[str, Any]:
    """The choices with influence on a score, besides the policy."""
    protocol: dict[str, Any] = {
        "actions": "greedy" if greedy else "sampled",
        "games": "full",
        "rewards": "raw",
        "seed": seed,
        "interval": f"{LEVEL:.0%} of the mean, percentile bootstrap of {RESAMPLES:,} resamples",
    }
    if config.env.kwargs:
        protocol["kwargs"] = config.env.kwargs
    if atari := config.env.atari:
        protocol |= {
            "sticky_actions": atari.sticky_actions,
            "frame_skip": atari.frame_skip,
            "noop_max": atari.noop_max,
            "max_frames": atari.max_frames,
            "lives": "a lost life does not end an episode" + ("; FIRE is pressed after it" if atari.fire_reset else ""),
        }
    return protocol
