"""The shared memory of the actor-learners: weights, optimiser statistics, hyper-parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...config import OptimConfig
from ...ppo import Hyperparameters
from ...ppo.optimizers import make_optimizer, step_if
from ...workers.shared_memory import map_views

STATISTICS = {
    **{name: {"exp_avg": 0.0, "exp_avg_sq": 0.0} for name in ("adam", "adamw", "radam")},
    "rmsprop": {"square_avg": 0.0},
    "rmsprop-tf": {"square_avg": 1.0},
}
"""Each optimiser's running statistics of the gradient, with their first values."""

LIVE = ("learning_rate", "gamma", "gae_lambda", "value_coef", "entropy_coef", "max_grad_norm")
"""The hyper-parameters of A3C; workers read them before each rollout."""


@dataclass(frozen=True, kw_only=True)
class SharedLayout:
    """Shapes and types of the shared memory, for `ppo_tui.workers.shared_memory`."""

    num_workers: int
    num_parameters: int
    optimizer: str

    def arrays(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        floats, doubles, flags = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.bool_)
        vector = ((self.num_parameters,), floats)
        return {
            "weights": vector,
            **dict.fromkeys(STATISTICS[self.optimizer], vector),
            "step": ((1,), floats),
            "hyperparameters": ((len(LIVE),), doubles),
            "busy_seconds": ((self.num_workers,), doubles),
            "paused": ((1,), flags),
        }


class SharedMemory:
    """The shared memory, in this process.

    Attributes:
        weights: θ, all of them as one vector `[P]`.
        statistics: of the optimiser by name, `[P]` each.
        step: optimiser steps so far, which corrects the bias of Adam's statistics; a scalar.
        busy_seconds: time that each worker has spent in its environment, `[W]`.
    """

    def __init__(self, layout: SharedLayout, memory: Any) -> None:
        views = map_views(layout, memory)
        self.layout = layout
        self.weights = torch.from_numpy(views["weights"])
        self.statistics = {name: torch.from_numpy(views[name]) for name in STATISTICS[layout.optimizer]}
        self.step = torch.from_numpy(views["step"])[0]
        self.busy_seconds = views["busy_seconds"]
        self._hyperparameters, self._paused = views["hyperparameters"], views["paused"]

    @property
    def paused(self) -> bool:
        """Whether the workers have to wait."""
        return bool(self._paused[0])

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused[0] = paused

    def write_hyperparameters(self, hyper: Hyperparameters) -> None:
        self._hyperparameters[:] = [getattr(hyper, name) for name in LIVE]

    def read_hyperparameters(self) -> dict[str, float]:
        """Return the values of `LIVE` by name."""
        return dict(zip(LIVE, self._hyperparameters.tolist(), strict=True))


def lay_out(policy: nn.Module, weights: Tensor, gradients: Tensor | None = None) -> None:
    """Make the policy's parameters and gradients views of these vectors `[P]`.

    None leaves the gradients as they are.
    """
    offset = 0
    for parameter in policy.parameters():
        part = slice(offset, offset + parameter.numel())
        parameter.data = weights[part].view_as(parameter)
        if gradients is not None:
            parameter.grad = gradients[part].view_as(parameter)
        offset = part.stop


class SharedOptimizer:
    """An optimiser with shared statistics.

    Shared RMSProp (Mnih et al., 2016, section 4), or Adam and its relatives:

        g ← α g + (1 − α) Δθ²,    θ ← θ − η Δθ / √(g + ε)        (equation 1; ε as the optimiser's settings have it)

    Nothing is locked, as in Hogwild! (Recht et al., 2011, arXiv:1106.5730): where two processes write at the same time,
    a few numbers miss one of their steps.

    Attributes:
        gradients_done: gradients that have been applied; counted by the parent alone.
    """

    def __init__(self, shared: SharedMemory, optim: OptimConfig) -> None:
        self._name, self._shared = optim.name, shared
        self._weights = nn.Parameter(shared.weights)
        self._optimizer = make_optimizer([self._weights], optim)
        self._optimizer.state[self._weights] = {**shared.statistics}
        if "exp_avg" in shared.statistics:
            self._optimizer.state[self._weights]["step"] = shared.step
        self.gradients_done = 0

    def reset(self) -> None:
        """Set the statistics to their values before the first gradient."""
        for name, start in STATISTICS[self._name].items():
            self._shared.statistics[name].fill_(start)
        self._shared.step.zero_()

    def step(self, gradient: Tensor, *, learning_rate: float, max_grad_norm: float) -> tuple[float, bool]:
        """Step down `gradient` `[P]`, clipping it in place.

        Returns:
            Its norm before that, and whether it was finite; nothing moves where it was not.
        """
        self._weights.grad = gradient
        norm = nn.utils.clip_grad_norm_([self._weights], max_grad_norm)
        finite = torch.isfinite(norm)
        self._optimizer.param_groups[0]["lr"] = learning_rate
        step_if(finite, self._optimizer)
        return norm.item(), bool(finite)

    def state_dict(self) -> dict[str, Any]:
        """``<optimiser>/<statistic>`` `[P]`, ``<optimiser>/step``, and ``gradients_done`` (int)."""
        tensors = {**self._shared.statistics, "step": self._shared.step}
        state: dict[str, Any] = {f"{self._name}/{name}": tensor.clone() for name, tensor in tensors.items()}
        return state | {"gradients_done": self.gradients_done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state from `state_dict`."""
        for name, tensor in {**self._shared.statistics, "step": self._shared.step}.items():
            tensor.copy_(state[f"{self._name}/{name}"])
        self.gradients_done = int(state["gradients_done"])
