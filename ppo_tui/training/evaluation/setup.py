"""What a trained policy plays on: full games in environments of their own. Imports no torch."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from ...config import Config, EnvConfig, RolloutConfig, apply_overrides, build_config, is_atari, refuse_import
from ...envs import EnvInfo
from ...envs.making import make_seeded_env
from ...workers import WorkerPool
from ..checkpoint.files import CheckpointState, read_state
from ..start import boot_workers, examine, start_pool

SEED_STREAM = 0x6576616C
"""Sets the seeds of these games apart from those of a training, whatever both are seeded with."""


@dataclass(frozen=True)
class EvaluationSetup:
    """A checkpoint, and the workers that it will play in.

    Attributes:
        config: the checkpoint's, with full games, the environments of this stage and rollouts of its length.
        state: the checkpoint's counters and facts.
        game_seeds: one for each game; game e is number e // N of environment e mod N.
        action_seed: of the noise that actions are sampled with.
        seed: what both follow from: with the same seed all checkpoints play the same games.
        greedy: always take the most probable action.
    """

    path: Path
    config: Config
    state: CheckpointState
    info: EnvInfo
    pool: WorkerPool
    game_seeds: tuple[int, ...]
    action_seed: int
    seed: int
    greedy: bool


def start_evaluation(
    path: Path,
    *,
    episodes: int,
    num_envs: int,
    steps: int,
    seed: int = 0,
    greedy: bool | None = None,
    device: str = "auto",
    cores: int | None = None,
    allow_import: bool = False,
) -> EvaluationSetup:
    """Read the checkpoint at `path` and start workers for it, which need not be ready when this returns.

    Args:
        num_envs: environments side by side.
        steps: vector steps of one rollout.
        greedy: None does as the published scores were made: Atari's are of sampled actions, all others greedy.
        device: where the networks will live, as in ``run.device``.
        cores: for workers and PyTorch each; None takes those that there are.
        allow_import: accept a checkpoint that names code to import.

    Raises:
        UsageError: there is no whole checkpoint.
        ConfigError: it imports code, its environment is not installed here, or there is no such device.
        WorkerError: a worker could not start.
    """
    state = read_state(path)
    if not allow_import:
        refuse_import(state.config, "the checkpoint")
    trained = build_config(apply_overrides(state.config, [f"run.device={device}"]))
    config = msgspec.structs.replace(
        trained,
        env=full_games(trained.env),
        rollout=RolloutConfig(num_envs=num_envs, steps=steps),
        workers=msgspec.structs.replace(trained.workers, count=cores or "auto", groups="auto"),
        run=msgspec.structs.replace(trained.run, compile=False, torch_threads=cores or trained.run.torch_threads),
    )
    info = examine(config)
    boot_workers(config)
    *game_seeds, action_seed = _seeds(seed, episodes)
    env_fns = [functools.partial(make_seeded_env, config.env, game_seeds[env::num_envs]) for env in range(num_envs)]
    pool = start_pool(config, info=info, log_path=Path(os.devnull), wait=False, env_fns=env_fns)
    sampled = is_atari(config.env.id) if greedy is None else not greedy
    return EvaluationSetup(path, config, state, info, pool, tuple(game_seeds), action_seed, seed, not sampled)


def full_games(env: EnvConfig) -> EnvConfig:
    """The environment without what only training has: a lost life ends nothing."""
    if env.atari is None:
        return env
    return msgspec.structs.replace(env, atari=msgspec.structs.replace(env.atari, life_loss="none"))


def _seeds(seed: int, episodes: int) -> list[int]:
    """One for each episode, and one more; 31 bits each. More episodes begin with the seeds of fewer."""
    games, actions = np.random.SeedSequence([seed, SEED_STREAM]).spawn(2)
    return (np.concatenate([games.generate_state(episodes), actions.generate_state(1)]) >> 1).tolist()
