"""Optimisers, and compilation of the objective.

All optimisers can skip a step on the device.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..config import OptimConfig
from ..errors import ConfigError


class RMSprop(torch.optim.Optimizer):
    """RMSprop, uncentred.

    Hinton, 2012, https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf.

    As `torch.optim.RMSprop`; like PyTorch's fused optimisers it skips a step, on the device, while its attribute
    `found_inf`, a scalar, is 1.

    Args:
        alpha: share of the old mean square kept in each step.
        eps: added to the root mean square; with `tensorflow`, to the mean square.
        tensorflow: as in TensorFlow 1: mean squares start at 1, and ε lies under the root. OpenAI's baselines and
            Stable-Baselines3 (``RMSpropTFLike``) reach their A2C scores on Atari with it.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, alpha: float, eps: float, tensorflow: bool = False
    ) -> None:
        super().__init__(parameters, {"lr": lr})
        self.found_inf: Tensor | None = None
        self._alpha, self._eps, self._tensorflow = alpha, eps, tensorflow

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Step down the gradients of the parameters.

        A closure to compute them is not supported.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group["lr"])

    def _step(self, parameter: nn.Parameter, gradient: Tensor, learning_rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["square_avg"] = torch.ones_like(parameter) if self._tensorflow else torch.zeros_like(parameter)
        average = state["square_avg"]
        weight = torch.full((), 1.0 - self._alpha, device=parameter.device)
        if self.found_inf is not None:
            gradient = torch.where(self.found_inf.bool(), 0.0, gradient)
            weight = weight * (1.0 - self.found_inf)
        average.lerp_(gradient.square(), weight)
        root = (average + self._eps).sqrt() if self._tensorflow else average.sqrt() + self._eps
        parameter.addcdiv_(gradient, root, value=-learning_rate)


def make_optimizer(parameters: Iterable[nn.Parameter], optim: OptimConfig) -> torch.optim.Optimizer:
    """The optimiser chosen by `optim`."""
    if optim.name == "adam":
        return torch.optim.Adam(parameters, lr=optim.learning_rate, eps=optim.adam_eps, fused=True)
    return RMSprop(
        parameters,
        lr=optim.learning_rate,
        alpha=optim.rmsprop_alpha,
        eps=optim.rmsprop_eps,
        tensorflow=optim.name == "rmsprop-tf",
    )


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled at its first call.

    Numbers among the arguments become constants of it, and another number compiles it again: pass tensors.
    """
    # With more threads the compiler starts processes of its own. It reads this when it is loaded, by torch.compile.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    return torch.compile(function)


def check_compiler(device: torch.device) -> None:
    """Try the compiler for `device` on a tiny function.

    It takes some seconds, most of them to load the compiler.

    Raises:
        ConfigError: the compiler does not work on this machine.
    """
    try:
        compiled(_tiny_function)(torch.zeros(2, device=device))
    except Exception as error:  # PyTorch, the C++ compiler and Triton fail with errors of their own
        reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
        needs = "Triton" if device.type == "cuda" else "a C++ compiler (g++) and Python's header files"
        raise ConfigError(
            f"run.compile = true: PyTorch cannot compile for {device} here ({reason})",
            hint=f"it needs {needs}; or leave run.compile out",
        ) from error


def _tiny_function(numbers: Tensor) -> Tensor:
    return numbers.sin() + 1.0
