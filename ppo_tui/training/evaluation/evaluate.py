"""Scoring a trained policy: so many full games, and what they say of all others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch

from ...config import Config
from ...statistics import LEVEL, RESAMPLES, bootstrap
from ..checkpoint.snapshot import build_saved_policy, read_checkpoint
from ..collect import Collector, wrap_rollout
from ..device import choose_threads, resolve_device
from ..metrics import PhaseTimes, TrainingClock
from .setup import EvaluationSetup, start_evaluation


class Game(NamedTuple):
    """A full game that was played to its end.

    Attributes:
        number: of the game, in the order in which their seeds are.
        step: environment steps of all environments when it ended.
    """

    number: int
    env: int
    episode_return: float
    length: int
    step: int


class Play:
    """Plays on a stage. Weights and running statistics stay as the checkpoint has them.

    Attributes:
        step: environment steps so far.

    Raises:
        UsageError: the checkpoint is damaged.
        WorkerError: a worker could not start.
    """

    def __init__(self, stage: EvaluationSetup) -> None:
        config, info, pool = stage.config, stage.info, stage.pool
        device = resolve_device(config.run.device)
        self.policy = build_saved_policy(read_checkpoint(stage.path), config, info, device)
        self.step = 0
        self._num_envs = config.rollout.num_envs
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
            action_seed=stage.action_seed,
            env_seeds=[None] * self._num_envs,
            greedy=stage.greedy,
        )
        self._collector.reset()

    def advance(self) -> Iterator[Game]:
        """Play one rollout, and the games that end in it."""
        if self.step:
            self.rollout.carry_over()
        with self.policy.unchanged():
            for t in range(self._steps):
                self._collector.step(t)
            self._collector.finish(self._steps)
        for episode in self._collector.finished_episodes(self.step, self._steps):
            number = episode.env + self._num_envs * self._played[episode.env]
            self._played[episode.env] += 1
            yield Game(number, episode.env, episode.episode_return, episode.length, episode.step)
        self.step += self._steps * self._num_envs


ROLLOUT_STEPS = 32
"""Steps between two looks at which games have ended."""

MOST_ENVS = 16
"""Games side by side; the same everywhere, as the noise of sampled actions depends on it."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Some numbers in short.

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
    """How a checkpoint played.

    Attributes:
        checkpoint: its directory.
        step: environment steps that it had been trained for.
        protocol: what was played and how, by name; see `describe_protocol`.
        reward_threshold: mean return from which the environment counts as solved, or None.
        returns: raw returns of the full games, in the order in which these were numbered.
        lengths: agent steps of each.
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


def evaluate(
    path: Path,
    *,
    episodes: int,
    seed: int = 0,
    greedy: bool | None = None,
    device: str = "auto",
    cores: int | None = None,
    allow_import: bool = False,
    on_game: Callable[[int, float], None] = lambda done, mean: None,
) -> Evaluation:
    """Let the checkpoint at `path` play `episodes` full games.

    Which games count is settled before the first begins: each environment plays its share of them to the end, so that
    short games are no likelier to be counted than long ones.

    Args:
        seed, greedy, device, cores, allow_import: as for `start_evaluation`.
        on_game: told after each game how many are done, and their mean return.

    Raises:
        As `start_evaluation` and `Play` do.
    """
    began = time.perf_counter()
    stage = start_evaluation(
        path,
        episodes=episodes,
        num_envs=min(episodes, MOST_ENVS),
        steps=ROLLOUT_STEPS,
        seed=seed,
        greedy=greedy,
        device=device,
        cores=cores,
        allow_import=allow_import,
    )
    returns, lengths = np.full(episodes, np.nan), np.zeros(episodes, int)
    done = 0
    try:
        play = Play(stage)
        while done < episodes:
            for game in play.advance():
                if game.number < episodes:
                    returns[game.number], lengths[game.number] = game.episode_return, game.length
                    done += 1
                    on_game(done, float(np.nanmean(returns)))
    finally:
        stage.pool.close()
    return Evaluation(
        checkpoint=str(path),
        step=stage.state.step,
        env=stage.config.env.id,
        episodes=episodes,
        protocol=describe_protocol(stage.config, greedy=stage.greedy, seed=seed),
        reward_threshold=stage.info.reward_threshold,
        seconds=time.perf_counter() - began,
        score=Summary.of(returns),
        length=Summary.of(lengths),
        returns=tuple(returns.tolist()),
        lengths=tuple(lengths.tolist()),
    )


def describe_protocol(config: Config, *, greedy: bool, seed: int) -> dict[str, Any]:
    """What decides how high a score is, besides the policy."""
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
            "lives": "a lost life ends nothing" + ("; FIRE is pressed after it" if atari.fire_reset else ""),
        }
    return protocol
