"""Scoring a trained policy: so many full games, and what they say of all others."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...config import Config
from ...statistics import LEVEL, RESAMPLES, bootstrap
from .playing import Play
from .setup import start_stage

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
        seed, greedy, device, cores, allow_import: as for `start_stage`.
        on_game: told after each game how many are done, and their mean return.

    Raises:
        As `start_stage` and `Play` do.
    """
    began = time.perf_counter()
    stage = start_stage(
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
