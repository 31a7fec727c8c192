"""Units of a network that no longer say anything, counted while it learns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

SATURATED = 0.99
"""Beyond this, a tanh passes on less than a fiftieth of its gradient: 1 − 0.99² = 0.02."""


class DeadUnits:
    """Counts the units of `network` that are dead on a batch: no gradient reaches what lies before them.

    A ReLU is dead where it is 0 for the whole batch (a channel of a convolution: at every place of every image), a tanh
    where it is saturated for the whole batch. Other nonlinearities let some gradient through and are not counted. What
    the network computes is looked at on its way, and no bit of it is changed.

    Dead and dormant units are what large steps leave behind in deep reinforcement learning (Sokar et al., 2023, "The
    dormant neuron phenomenon", arXiv:2302.12902).
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._layers: list[Tensor] = []

    @contextlib.contextmanager
    def counted(self, wanted: bool = True) -> Iterator[None]:
        """Count in what the network computes inside, if `wanted`; an earlier count is forgotten then."""
        if not wanted:
            yield
            return
        self._layers = []
        units = [module for module in self._network.modules() if isinstance(module, nn.ReLU | nn.Tanh)]
        hooks = [module.register_forward_hook(self._look) for module in units]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def _look(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.ndim < 2:
            return
        others = [axis for axis in range(output.ndim) if axis != 1]
        if isinstance(module, nn.ReLU):
            self._layers.append(output.amax(dim=others) <= 0.0)
        else:
            self._layers.append(output.abs().amin(dim=others) > SATURATED)

    @property
    def share(self) -> float | None:
        """Of all units in 0..1; None where none were counted, or there are none. Waits for the device."""
        return torch.cat(self._layers).float().mean().item() if self._layers else None
