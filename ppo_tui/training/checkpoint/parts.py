"""What a checkpoint holds of the environments: put together from the ranks that host them, and taken apart again."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import torch
from safetensors.torch import load, save

from ...distributed.ranks import Ranks
from ..collect import CollectorState

_ENV_DIMS = {"frames": 1, "starts": 1, "masks": 1, "states": 0}
"""Tensor of a `CollectorState` → its dimension that counts environments. All others are the same on every rank."""


class _Part(msgspec.Struct):
    """A rank's `CollectorState` as it travels."""

    tensors: bytes
    envs: tuple[bytes, ...]


def gathered(own: CollectorState, ranks: Ranks) -> CollectorState:
    """On rank 0 the state of all ranks' environments, as one process that hosts them all has it; elsewhere `own`."""
    if ranks.size == 1:
        return own
    parts = ranks.gather(_Part(save(own.tensors), own.envs), _Part)
    if not ranks.leads:
        return own
    loaded = [load(part.tensors) for part in parts]
    tensors = {
        name: torch.cat([of_rank[name] for of_rank in loaded], _ENV_DIMS[name]) if name in _ENV_DIMS else tensor
        for name, tensor in own.tensors.items()
    }
    return CollectorState(tensors, tuple(env for part in parts for env in part.envs))


def own_part(whole: CollectorState, ranks: Ranks) -> CollectorState:
    """What of the state of all environments is this rank's."""
    if ranks.size == 1:
        return whole
    share = ranks.share(len(whole.envs))
    tensors = {
        name: tensor.narrow(_ENV_DIMS[name], share.start, share.stop - share.start) if name in _ENV_DIMS else tensor
        for name, tensor in whole.tensors.items()
    }
    return CollectorState(tensors, whole.envs[share])


def of_all_envs(own: Mapping[int, str], num_envs: int, ranks: Ranks) -> dict[int, str]:
    """What each rank says of some of its own `num_envs` environments, by their numbers among those of all ranks."""
    parts = ranks.exchange(dict(own), dict[int, str])
    return {rank * num_envs + env: text for rank, part in enumerate(parts) for env, text in part.items()}
