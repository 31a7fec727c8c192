"""The least memory of a run, compared with this machine's.

Imports no torch.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from ..config import Config
from ..distributed.torchrun import Place
from ..envs import EnvInfo
from ..envs.numbers import MOST_NUMBERS
from ..envs.packing import PackedBox
from ..errors import ConfigError
from ..machine import address_space, available_memory
from ..ppo import image_layouts
from ..workers import resolve_workers

_PYTORCH = 1_000_000_000
"""Bytes of address space for PyTorch, which aborts the process where it gets fewer."""

_FLOAT = 4
_WEIGHT = 3 * _FLOAT
"""Bytes of a weight with its gradient and one statistic of an optimiser; Adam has two."""

_STEP = 8 + 1 + 1 + 8 + 8 + 7 * _FLOAT + 8 + 8 * MOST_NUMBERS
"""Bytes of a step besides observation, action mask and state: reward, ends, episode, info and the learner's numbers."""

_WORKER = 8_000_000
"""Bytes that a worker process has for itself, by far the least."""


def check_memory(config: Config, info: EnvInfo) -> None:
    """Refuse a run too large for this machine's memory, however empty.

    Raises:
        ConfigError: with the bytes of its largest part, and the settings to lower.
    """
    space = address_space()
    if space is not None and space < _PYTORCH:
        raise ConfigError(
            f"this process may use {space:,} bytes of address space, and PyTorch alone needs about {_PYTORCH:,}",
            hint="ulimit -v unlimited",
        )
    place = Place.here()
    envs = -(-config.rollout.num_envs * place.local_size // place.size)
    steps, hidden, frame_stack = config.rollout.steps, list(config.policy.hidden), config.env.frame_stack
    workers, _ = resolve_workers(config.workers.count, config.workers.groups, envs)
    minibatch = envs * steps // config.ppo.minibatches
    parts = {
        f"the rollout of rollout.num_envs = {envs} times rollout.steps = {steps}": (
            rollout_bytes(config, info, envs),
            "lower rollout.steps or --envs",
        ),
        f"the networks of policy.hidden = {hidden}, policy.recurrent_size = {config.policy.recurrent_size}": (
            network_bytes(config, info),
            "lower policy.hidden or policy.recurrent_size",
        ),
        f"a minibatch of {minibatch} steps with env.frame_stack = {frame_stack}": (
            minibatch_bytes(config, info, minibatch),
            "raise ppo.minibatches, or lower rollout.steps, --envs or policy.hidden",
        ),
        f"workers.count = {workers} processes": (workers * _WORKER, "use fewer --workers"),
    }
    needed, available = sum(size for size, _ in parts.values()), available_memory()
    if needed <= available:
        return
    largest = max(parts, key=lambda part: parts[part][0])
    size, remedy = parts[largest]
    raise ConfigError(
        f"the run needs at least {needed:,} bytes of memory, {size:,} of them for {largest}; "
        f"{available:,} are available here",
        hint=remedy,
    )


def rollout_bytes(config: Config, info: EnvInfo, num_envs: int) -> int:
    """Least bytes of a rollout with its numbers for learning."""
    policy, space = config.policy, info.observation_space
    state = {"none": 0, "gru": 1, "lstm": 2}[policy.recurrent] * policy.recurrent_size * _FLOAT
    step = _STEP + math.prod(space.shape) * np.dtype(space.dtype).itemsize + info.num_masked + state
    return (config.rollout.steps + config.env.frame_stack) * num_envs * step


def network_bytes(config: Config, info: EnvInfo) -> int:
    """Least bytes of the networks with gradients; 0 for a user's own."""
    policy = config.policy
    if ":" in policy.network:
        return 0
    layouts = image_layouts(info.observation_space, policy, config.env.frame_stack)
    # No network for images is smaller than this.
    pixels = sum(layout.height * layout.width for layout in layouts)
    widths = [pixels // 256, 256] if layouts else [_inputs(config, info), *policy.hidden]
    weights = sum(inputs * outputs for inputs, outputs in pairwise(widths))
    if policy.recurrent != "none":
        weights += 3 * policy.recurrent_size * (widths[-1] + policy.recurrent_size)
    shared = bool(layouts) if policy.shared == "auto" else policy.shared
    return weights * (1 if shared else 2) * _WEIGHT


def minibatch_bytes(config: Config, info: EnvInfo, steps: int) -> int:
    """Least bytes of a minibatch on its way through the networks."""
    policy = config.policy
    layers = 0 if ":" in policy.network or image_layouts(info.observation_space, policy, config.env.frame_stack) else 1
    return steps * _FLOAT * (_inputs(config, info) + layers * sum(policy.hidden))


def _inputs(config: Config, info: EnvInfo) -> int:
    """Numbers in an observation of the policy, stacked frames together."""
    space = info.observation_space
    pixels = [math.prod(picture.shape) for picture in space.pictures] if isinstance(space, PackedBox) else []
    numbers = space.num_numbers if isinstance(space, PackedBox) else math.prod(space.shape)
    return config.env.frame_stack * (sum(pixels) + numbers)
