"""Check a configuration and start its workers. Imports no torch.

The workers can thus start while a screen is still being painted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import gymnasium
import msgspec
import numpy as np

from ..config import Config
from ..envs import EnvInfo, make_env
from ..envs.numbers import MOST_NUMBERS
from ..envs.spaces import read_mask
from ..envs.tolerance import TolerantEnv
from ..errors import ConfigError
from ..ppo import check_spaces_of_policy
from ..workers import WorkerPool, own_cores, resolve_workers, worker_context
from ..workers.probing import examine_env
from ..workers.process import WorkerContext
from .memory import check_memory

LUCK_STREAM = 0x6D616B65
"""Keeps these seeds apart from all others of a run."""


def examine(config: Config) -> EnvInfo:
    """Check `config` against its environment and this machine.

    Returns the description of the environment, which is made in a process of its own. PyTorch is loaded only if the
    configuration names a GPU or uses PyTorch's compiler.

    Raises:
        ConfigError: the environment does not exist, is not installed or has spaces that are not supported; the
            policy does not fit its spaces; the run cannot fit into the memory; there is no such GPU; nothing can be
            compiled here.
    """
    info = examine_env_of(config)
    check_spaces_of_policy(info.observation_space, info.action_space, config.policy, config.env.frame_stack)
    check_memory(config, info)
    if config.run.device.startswith(("cuda", "mps")) or config.run.compile:
        from ..ppo.optimizers import check_compiler
        from .device import device_of

        device = device_of(config)
        if config.run.compile:
            check_compiler(device)
    return info


def examine_env_of(config: Config) -> EnvInfo:
    """The facts of the environment of `config`.

    It is made in a process of its own.

    Raises:
        ConfigError: no run can use it.
    """
    return examine_env(config.env, config.workers, functools.partial(boot_workers, config))


def boot_workers(config: Config) -> WorkerContext:
    """Preload the modules of the workers, and return their context.

    The process that workers are forked from loads them while this one continues.
    """
    return worker_context(_preload(config))


def start_pool(
    config: Config,
    *,
    info: EnvInfo | None = None,
    log_path: Path | None = None,
    env_fns: Sequence[Callable[[], gymnasium.Env]] | None = None,
    luck: Sequence[int] = (),
) -> WorkerPool:
    """Start a worker pool with shared memory for one rollout.

    Slots: the K − 1 newest observations of the rollout before, then those of steps 0 to T. The workers may not be ready
    yet; `WorkerPool.wait_until_ready` waits for them.

    Args:
        env_fns: constructors of the environments, by default `make_env` for each.
        luck: sets the seeds of the global random generators apart from those of other pools with the same `run.seed`.

    Raises:
        ConfigError: as from `examine`, which is called if `info` is not given.
    """
    info = info or examine(config)
    tolerant = functools.partial(
        TolerantEnv,
        functools.partial(make_env, config.env),
        config.env.on_bad_value,
        read_mask if info.num_masked else None,
    )
    return WorkerPool(
        env_fns or [tolerant] * config.rollout.num_envs,
        num_workers=config.workers.count,
        groups=config.workers.groups,
        num_masked=info.num_masked,
        num_numbers=MOST_NUMBERS,
        slots=config.env.frame_stack + config.rollout.steps,
        observation_space=info.observation_space,
        action_space=info.action_space,
        seeds=_luck_seeds(config, luck),
        infos=False,
        log_path=log_path,
        step_timeout=config.workers.step_timeout,
        start_timeout=config.workers.start_timeout,
        max_restarts=config.workers.max_restarts,
        preload=_preload(config),
        wait=False,
    )


def _luck_seeds(config: Config, luck: Sequence[int]) -> list[int]:
    """A seed for the global random generators of each environment."""
    entropy = np.random.SeedSequence([config.run.seed, LUCK_STREAM, *luck])
    return [int(seed) for seed in entropy.generate_state(config.rollout.num_envs, np.uint64) >> 1]


def share_of_config(config: Config, ranks: int, local_ranks: int) -> Config:
    """The configuration of one of `ranks` processes.

    `config` counts the environments and workers of all of them, the result those that each hosts.

    Args:
        local_ranks: processes on this machine, which share its cores if the number of workers is not set.

    Raises:
        ConfigError: they cannot be split, or this configuration uses a feature that does not support several
            processes.
    """
    if ranks == 1:
        return config
    for key, value, allowed in (
        ("run.algorithm", config.run.algorithm, "ppo"),
        ("run.overlap", config.run.overlap, False),
        ("run.compile", config.run.compile, False),
        ("rollout.whole_episodes", config.rollout.whole_episodes, False),
    ):
        if value != allowed:
            raise ConfigError(
                f"{key} = {str(value).lower()}: several processes train together only with {str(allowed).lower()}",
                hint="start it without torchrun",
            )
    num_envs, count = config.rollout.num_envs, config.workers.count
    if num_envs % ranks:
        raise ConfigError(
            f"rollout.num_envs = {num_envs}: the environments of a run cannot be split among {ranks} processes",
            hint=f"use --envs {_multiple(num_envs, ranks)}, or another number of processes",
        )
    if count != "auto" and count % ranks:
        raise ConfigError(
            f"workers.count = {count}: the workers of a run cannot be split among {ranks} processes",
            hint=f"use --workers {_multiple(count, ranks)}, or leave it out to fit the machines",
        )
    own_envs = num_envs // ranks
    own_count, _ = resolve_workers(
        count if count == "auto" else count // ranks, config.workers.groups, own_envs, own_cores(local_ranks)
    )
    if config.workers.groups == 2 and own_count < 2:
        raise ConfigError(
            f"workers.groups = 2: each of {ranks} processes has one worker, which cannot be split into two groups",
            hint=f"use --workers {2 * ranks}, or leave workers.groups out",
        )
    rollout = msgspec.structs.replace(config.rollout, num_envs=own_envs)
    workers = msgspec.structs.replace(config.workers, count=own_count)
    return msgspec.structs.replace(config, rollout=rollout, workers=workers)


def _multiple(count: int, of: int) -> int:
    """The positive multiple of `of` nearest to `count`."""
    return max(1, round(count / of)) * of


def _preload(config: Config) -> tuple[str, ...]:
    """Modules to preload for the workers of a run.

    PyTorch is among them for A3C alone, whose workers learn: it is loaded once, in the process that they are forked
    from.
    """
    if config.run.algorithm == "a3c":
        return ("ppo_tui.training.a3c.worker", "ppo_tui.envs.atari")
    return ("ppo_tui.envs.atari",) if config.env.atari else ()
