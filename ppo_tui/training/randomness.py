"""PyTorch's global generators: what random layers of a network of the user's own, such as dropout, draw from.

Nothing of this package draws from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

_CPU, _CUDA = "torch_generator", "cuda_generator"


def seed_global_generators(seed: int) -> None:
    """Seed those of the CPU and of all GPUs."""
    torch.manual_seed(seed)


def save_global_generators(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of the CPU's and, where `device` is a GPU, of that one's: uint8, by name."""
    states = {_CPU: torch.get_rng_state()}
    if device.type == "cuda":
        states[_CUDA] = torch.cuda.get_rng_state(device)
    return states


def load_global_generators(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Go on from where `save_global_generators` was called; what was not saved there stays as it is."""
    if _CPU in states:
        torch.set_rng_state(states[_CPU])
    if _CUDA in states and device.type == "cuda":
        torch.cuda.set_rng_state(states[_CUDA], device)


@contextmanager
def global_generators_untouched(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside, they stand afterwards where they stood before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
