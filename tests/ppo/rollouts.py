"""Rollouts on arrays of their own, for tests without workers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ppo_tui.ppo import RolloutBuffer


def empty_rollout(
    frame_shape: Sequence[int],
    frame_dtype: np.typing.DTypeLike,
    *,
    num_steps: int,
    num_envs: int,
    frame_stack: int = 1,
    action_shape: Sequence[int] = (),
    action_dtype: torch.dtype = torch.int64,
    num_masked: int = 0,
    distribution_size: int = 0,
    state_size: int = 0,
    keep_final_frames: bool = False,
) -> RolloutBuffer:
    """A rollout of zeros; with `num_masked` actions it has masks, all True."""
    rows = frame_stack + num_steps
    return RolloutBuffer(
        np.zeros((rows, num_envs, *frame_shape), dtype=frame_dtype),
        np.zeros((num_steps, num_envs), dtype=np.float32),
        np.zeros((num_steps, num_envs), dtype=np.bool_),
        np.zeros((num_steps, num_envs), dtype=np.bool_),
        frame_stack=frame_stack,
        action_shape=action_shape,
        action_dtype=action_dtype,
        masks=np.ones((rows, num_envs, num_masked), dtype=np.bool_) if num_masked else None,
        distribution_size=distribution_size,
        state_size=state_size,
        keep_final_frames=keep_final_frames,
    )
