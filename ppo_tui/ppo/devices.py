"""Differences among PyTorch's devices: tensors, images, optimisers.

The CPU, NVIDIA's GPUs (``cuda``) and Apple's (``mps``, Metal Performance Shaders).
"""

from __future__ import annotations

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`; a float64 as float32 on mps, without float64."""
    if device.type == "mps" and tensor.dtype == torch.float64:
        tensor = tensor.float()
    if device.type != "cuda":
        return tensor.to(device)
    # A GPU fetches numbers from page-locked memory by itself, while this thread goes on.
    return tensor.pin_memory().to(device, non_blocking=True)


def image_format(device: torch.device) -> torch.memory_format:
    """The memory format of images and convolutions, fast and sure.

    PyTorch's convolutions on mps have had wrong results with channels last (pytorch#142344).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def skips_steps(device: torch.device) -> bool:
    """Whether an optimiser can skip a step without asking the CPU."""
    return device.type in ("cpu", "cuda")
