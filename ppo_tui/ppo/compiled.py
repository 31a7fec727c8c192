"""PyTorch's compiler: what a minibatch computes, as a few large kernels instead of some hundred small ones.

A GPU is done with most of the small ones before the next has been launched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..errors import ConfigError


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled at its first call. Numbers among the arguments become part of it: let them be tensors."""
    from torch._inductor import config

    config.compile_threads = 1  # with more, the compiler starts processes of its own
    return torch.compile(function)


def check_compiler(device: torch.device) -> None:
    """Compile next to nothing for `device`, or find that it has been: some seconds, most of them to load the compiler.

    Raises:
        ConfigError: that does not work on this machine.
    """
    try:
        compiled(_next_to_nothing)(torch.zeros(2, device=device))
    except Exception as error:  # whatever PyTorch, the C++ compiler or Triton fail with
        reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
        needs = "Triton" if device.type == "cuda" else "a C++ compiler (g++) and Python's header files"
        raise ConfigError(
            f"run.compile = true: PyTorch cannot compile for {device} here ({reason})",
            hint=f"it needs {needs}; or leave run.compile out",
        ) from error


def _next_to_nothing(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.sin() + 1.0
