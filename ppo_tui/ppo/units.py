"""Dead units of a network, counted while it learns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

SATURATED = 0.99
"""Beyond this, a tanh passes on less than a fiftieth of its gradient: 1 − 0.99² = 0.02."""


class DeadUnits:
    """Counter of the dead units of `network` on a batch.

    No gradient passes through a dead unit. A ReLU is dead where it is 0 for the whole batch (a channel of a
    convolution: at every pixel of every image), a tanh where it is saturated for the whole batch. Other nonlinearities
    let some gradient through and are not counted. The counter only reads the outputs of the layers: the network's
    results stay the same, bit for bit.

    Large steps leave dead and dormant units behind in deep reinforcement learning (Sokar et al., 2023, "The dormant
    neuron phenomenon", arXiv:2302.12902).
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._layers: list[Tensor] = []

    @contextlib.contextmanager
    def counted(self, wanted: bool = True) -> Iterator[None]:
        """Count in the forward pass inside, if `wanted`.

        The count replaces an earlier one.
        """
        if not wanted:
            yield
            return
        self._layers = []
        units = [module for module in self._network.modules() if isinstance(module, nn.ReLU | nn.Tanh)]
        hooks = [module.register_forward_hook(self._count) for module in units]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def _count(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.ndim < 2:
            return
        others = [axis for axis in range(output.ndim) if axis != 1]
        if isinstance(module, nn.ReLU):
            self._layers.append(output.amax(dim=others) <= 0.0)
        else:
            self._layers.append(output.abs().amin(dim=others) > SATURATED)

    @property
    def share(self) -> float | None:
        """Share of dead units (0..1), None if none were counted.

        Waits for the device.
        """
        return torch.cat(self._layers).float().mean().item() if self._layers else None
