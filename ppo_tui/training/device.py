"""PyTorch on this machine: device, precision, threads, random number generators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ..config import Config, replace_value
from ..distributed.ranks import ALONE, Ranks
from ..envs import EnvInfo
from ..errors import ConfigError
from ..machine import available_cores, bfloat16_instructions
from ..ppo import image_layouts
from ..protocol import Level

Note = tuple[Level, str]
"""A line for the record of a run."""


def device_of(config: Config) -> torch.device:
    """The device of a run.

    ``auto`` is an NVIDIA GPU, else Apple's where it computes all that is configured, else the CPU.

    Raises:
        ConfigError: as `resolve_device`; or Apple's GPU is wanted for what it cannot compute.
    """
    device = resolve_device(config.run.device)
    if device.type != "mps" or (reason := reason_against_mps(config)) is None:
        return device
    if config.run.device == "auto":
        return torch.device("cpu")
    setting, why = reason
    raise ConfigError(f"run.device = 'mps': {setting}: {why}", hint="use --device cpu, or change that setting")


def reason_against_mps(config: Config) -> tuple[str, str] | None:
    """A setting not to be computed on mps, and the reason."""
    float64 = "its running statistics are float64, which mps does not have"
    reasons = (
        ("policy.normalize_observations = true", float64, config.policy.normalize_observations),
        ("ppo.normalize_values = true", float64, config.ppo.normalize_values),
        (
            f"policy.recurrent = {config.policy.recurrent!r}",
            "PyTorch's recurrent layers have had wrong gradients on mps (pytorch#175189)",
            config.policy.recurrent != "none",
        ),
        (
            "policy.precision = 'bf16'",
            "only some of Apple's GPUs compute in bfloat16, and PyTorch does not say which",
            config.policy.precision == "bf16",
        ),
        ("run.overlap = true", "two threads cannot use mps at once", config.run.overlap),
        ("run.compile = true", "PyTorch's compiler for mps is a prototype", config.run.compile),
    )
    return next(((setting, why) for setting, why, wanted in reasons if wanted), None)


def resolve_device(name: str) -> torch.device:
    """The device for ``run.device``, whatever it is to compute.

    Raises:
        ConfigError: there is no such GPU, or this build of PyTorch cannot use it.
    """
    if name == "auto":
        found = (kind for kind, there in (("cuda", torch.cuda.is_available()), ("mps", _has_mps())) if there)
        return torch.device(next(found, "cpu"))
    kind, _, index = name.partition(":")
    expected = "expected auto, cpu, cuda, cuda:N or mps"
    if kind not in ("cpu", "cuda", "mps") or (
        ":" in name and not (kind == "cuda" and index.isdecimal() and len(index) < 10)
    ):
        raise ConfigError(f"run.device = {name!r}: {expected}", hint="use --device cpu or auto")
    if kind == "mps" and not _has_mps():
        built = torch.backends.mps.is_built()
        found = "no GPU of Apple's, or a macOS before 14" if built else "that it was built without it (it is macOS's)"
        raise ConfigError(f"run.device = 'mps': PyTorch finds {found}", hint="use --device cpu or auto")
    count = torch.cuda.device_count()
    # PyTorch itself would take 256 for 0: it keeps the number in a byte.
    if kind == "cuda" and int(index or 0) >= count:
        found = f"{count} GPUs" if count else "no GPU"
        raise ConfigError(f"run.device = {name!r}: PyTorch finds {found} here", hint="use --device cpu or auto")
    return torch.device(name)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def bfloat16_of(device: torch.device) -> str | None:
    """The arithmetic of this device for bfloat16, in words; None without any.

    What a device only imitates, by float32, does not count: it is slower than float32 itself.
    """
    if device.type == "cpu":
        instructions = bfloat16_instructions()
        return None if instructions is None else f"instructions {instructions}"
    if device.type == "mps":  # PyTorch does not say whether this one has it
        return None
    with torch.cuda.device(device):
        has_units = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cuda.get_device_name(device) if has_units else None


def resolve_precision(config: Config, ranks: Ranks = ALONE, saved: Config | None = None) -> tuple[Config, list[Note]]:
    """Decide on ``policy.precision = "auto"``, once in a run.

    It is bf16 where the devices of all ranks compute in bfloat16, else float32. Every rank has to make the call.

    Args:
        saved: the configuration of the checkpoint to resume, which has decided already.

    Returns:
        The configuration without ``auto``; and what to say about it.

    Raises:
        ConfigError: the device does not exist.
    """
    precision = config.policy.precision
    if precision == "auto" and saved is not None:
        config = replace_value(config, "policy.precision", precision := saved.policy.precision)
    if precision == "float32":
        return config, []
    device = ranks.device or (torch.device("cpu") if config.run.algorithm == "a3c" else device_of(config))
    found = ranks.exchange(bfloat16_of(device) or "", str)
    here = "CPU" if device.type == "cpu" else "GPU"
    if precision == "auto":
        chosen = "bf16" if all(found) else "float32"
        reason = f"the {here} has bfloat16: {found[0]}" if all(found) else f"the {here} has no bfloat16 of its own"
        message = f"policy.precision = auto: {chosen}, for the whole run; {reason}"
        return replace_value(config, "policy.precision", chosen), [(Level.INFO, message)]
    if all(found):
        return config, []
    message = (
        f"policy.precision = bf16: the {here} has no bfloat16 of its own, and imitates it slowly; "
        "--set policy.precision=float32 is faster, but no longer computes the numbers of bf16"
    )
    return config, [(Level.WARNING, message)]


@dataclass(frozen=True)
class Threads:
    """PyTorch's threads in the two phases of an update.

    Attributes:
        act: threads while the workers step.
        learn: threads while they wait.
    """

    act: int
    learn: int


def choose_threads(config: Config, info: EnvInfo, num_workers: int, cores: int | None = None) -> Threads:
    """Choose PyTorch's threads for acting and learning.

    Learning uses all cores, acting those that the workers leave free: a thread that acts on a core where a worker steps
    makes both slower; on two cores this costs a fifth of the training speed. A small MLP learns in one thread, as it is
    done before a second one has woken up. The size of a user's own network is not known, so it learns on all cores.
    """
    cores = cores or available_cores()
    if config.run.torch_threads != "auto":
        learn = config.run.torch_threads
    elif ":" in config.policy.network or image_layouts(info.observation_space, config.policy, config.env.frame_stack):
        learn = cores
    else:
        learn = 1
    return Threads(act=max(1, min(learn, cores - num_workers)), learn=learn)


_CPU, _CUDA, _MPS = "torch_generator", "cuda_generator", "mps_generator"


def seed_global_generators(seed: int) -> None:
    """Seed PyTorch's generators of the CPU and of all GPUs."""
    torch.manual_seed(seed)


def save_global_generators(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of PyTorch's global generators, uint8, by name.

    They are the CPU's and, if `device` is a GPU, that GPU's.
    """
    states = {_CPU: torch.get_rng_state()}
    if device.type == "cuda":
        states[_CUDA] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states[_MPS] = torch.mps.get_rng_state()
    return states


def load_global_generators(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Restore the states from `save_global_generators`.

    A generator without a saved state stays as it is.
    """
    if _CPU in states:
        torch.set_rng_state(states[_CPU])
    if _CUDA in states and device.type == "cuda":
        torch.cuda.set_rng_state(states[_CUDA], device)
    elif _MPS in states and device.type == "mps":
        torch.mps.set_rng_state(states[_MPS])


@contextmanager
def global_generators_untouched(device: torch.device) -> Iterator[None]:
    """Restore PyTorch's global generators after the block.

    Numbers that are drawn inside it change nothing outside.
    """
    states = save_global_generators(device)
    try:
        yield
    finally:
        load_global_generators(states, device)
