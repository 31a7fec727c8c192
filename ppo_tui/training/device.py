"""PyTorch on this machine: device, threads, random number generators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ..config import Config
from ..envs import EnvInfo
from ..errors import ConfigError
from ..ppo import image_layout
from ..workers import available_cores


def resolve_device(name: str) -> torch.device:
    """The device for ``run.device``.

    Raises:
        ConfigError: this machine, or this build of PyTorch, has no such GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        found = f"{count} GPUs" if count else "no GPU"
        raise ConfigError(f"run.device = {name!r}: PyTorch finds {found} here", hint="use --device cpu or auto")
    return device


@dataclass(frozen=True)
class Threads:
    """PyTorch's threads in the two phases of an update.

    Attributes:
        act: while the workers step.
        learn: while they wait.
    """

    act: int
    learn: int


def choose_threads(config: Config, info: EnvInfo, num_workers: int, cores: int | None = None) -> Threads:
    """Learning takes all cores, acting those that the workers leave free.

    A second thread that acts on a core where a worker steps makes both slower: on two cores it costs a fifth of
    the training speed. A small MLP is done before a second thread has woken up; of a network of the user's own nothing
    is known.
    """
    cores = cores or available_cores()
    if config.run.torch_threads != "auto":
        learn = config.run.torch_threads
    elif ":" in config.policy.network or image_layout(info.observation_space, config.policy, config.env.frame_stack):
        learn = cores
    else:
        learn = 1
    return Threads(act=max(1, min(learn, cores - num_workers)), learn=learn)


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
