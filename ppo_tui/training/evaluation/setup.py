"""Checkpoint and workers for playing a trained policy. Imports no torch."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from ...config import Config, EnvConfig, RolloutConfig, apply_overrides, build_config, is_atari, refuse_outsiders
from ...envs import EnvInfo
from ...envs.making import make_seeded_env
from ...workers import WorkerPool
from ..checkpoint.files import OpenedCheckpoint
from ..start import boot_workers, examine, start_pool

SEED_STREAM = 0x6576616C
"""Keeps the seeds of these episodes apart from those of a training with the same seed."""


@dataclass(frozen=True)
class EvaluationSetup:
    """A checkpoint, and the workers for its episodes.

    Attributes:
        config: the checkpoint's, with whole episodes, and the environments and rollout length of the evaluation.
        episode_seeds: one for each episode; episode e is number e // N of environment e mod N.
        action_seed: of the noise that samples actions.
        seed: source of both: with the same seed all checkpoints play the same episodes.
        greedy: always take the most probable action.
        max_steps: an episode ends after so many.
    """

    checkpoint: OpenedCheckpoint
    config: Config
    info: EnvInfo
    pool: WorkerPool
    episode_seeds: tuple[int, ...]
    action_seed: int
    seed: int
    greedy: bool
    max_steps: int


def start_evaluation(
    checkpoint: OpenedCheckpoint | Path,
    *,
    episodes: int,
    num_envs: int,
    steps: int,
    seed: int = 0,
    greedy: bool | None = None,
    device: str = "auto",
    cores: int | None = None,
    max_steps: int | None = None,
    allow_import: bool = False,
) -> EvaluationSetup:
    """Start workers to play episodes with a checkpoint's policy.

    They need not be ready when this returns.

    Args:
        num_envs: environments that play in parallel.
        steps: vector steps of one rollout.
        greedy: None follows the published scores: sampled actions on Atari, greedy ones elsewhere.
        device: of the networks, as in ``run.device``.
        cores: for workers and PyTorch each; None takes all.
        max_steps: an episode ends after so many; None takes the run's ``eval.max_steps``.
        allow_import: accept a checkpoint that names code to import.

    Raises:
        UsageError: there is no whole checkpoint.
        ConfigError: it imports code, its environment is not installed here, or the device does not exist.
        WorkerError: a worker could not start.
    """
    if isinstance(checkpoint, Path):
        checkpoint = OpenedCheckpoint.open(checkpoint)
    state = checkpoint.state
    if not allow_import:
        refuse_outsiders(state.config, "the checkpoint", parties=("code",))  # nobody else is told of it
    trained = build_config(apply_overrides(state.config, [f"run.device={device}"]))
    config = msgspec.structs.replace(
        trained,
        env=whole_episodes(trained.env),
        rollout=RolloutConfig(num_envs=num_envs, steps=steps),
        workers=msgspec.structs.replace(trained.workers, count=cores or "auto", groups="auto"),
        run=msgspec.structs.replace(
            trained.run, compile=False, overlap=False, torch_threads=cores or trained.run.torch_threads
        ),
    )
    info = examine(config)
    boot_workers(config)
    *episode_seeds, action_seed = _seeds(seed, episodes)
    most = trained.eval.max_steps if max_steps is None else max_steps
    pool = _start_pool(config, info, episode_seeds, seed, most)
    sampled = is_atari(config.env.id) if greedy is None else not greedy
    return EvaluationSetup(checkpoint, config, info, pool, tuple(episode_seeds), action_seed, seed, not sampled, most)


def another_pool(setup: EvaluationSetup) -> WorkerPool:
    """Start workers like those of `setup`, for another policy at play."""
    return _start_pool(setup.config, setup.info, setup.episode_seeds, setup.seed, setup.max_steps)


def _start_pool(config: Config, info: EnvInfo, episode_seeds: Sequence[int], seed: int, max_steps: int) -> WorkerPool:
    num_envs = config.rollout.num_envs
    env_fns = [
        functools.partial(make_seeded_env, config.env, episode_seeds[env::num_envs], max_steps)
        for env in range(num_envs)
    ]
    return start_pool(config, info=info, log_path=Path(os.devnull), env_fns=env_fns, luck=[seed, SEED_STREAM])


def whole_episodes(env: EnvConfig) -> EnvConfig:
    """The environment as it is scored: a lost life ends nothing."""
    if env.atari is None:
        return env
    return msgspec.structs.replace(env, atari=msgspec.structs.replace(env.atari, life_loss="none"))


def _seeds(seed: int, episodes: int) -> list[int]:
    """Seeds of 31 bits, one an episode and one for actions.

    More episodes extend the list and change none of its seeds.
    """
    of_episodes, of_actions = np.random.SeedSequence([seed, SEED_STREAM]).spawn(2)
    return (np.concatenate([of_episodes.generate_state(episodes), of_actions.generate_state(1)]) >> 1).tolist()
