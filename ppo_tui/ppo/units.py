"""Dead units of a network, counted while it learns."""

from __future__ import annotations

import contextlib
import functools
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
        self._layers: list[tuple[str, Tensor]] = []

    @contextlib.contextmanager
    def counted(self, wanted: bool = True) -> Iterator[None]:
        """Count in the forward pass inside, if `wanted`.

        The count replaces an earlier one.
        """
        if not wanted:
            yield
            return
        self._layers = []
        units = [pair for pair in self._network.named_modules() if isinstance(pair[1], nn.ReLU | nn.Tanh)]
        hooks = [module.register_forward_hook(functools.partial(self._count, name)) for name, module in units]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def _count(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.ndim < 2:
            return
        others = [axis for axis in range(output.ndim) if axis != 1]
        dead = output.amax(dim=others) <= 0.0 if isinstance(module, nn.ReLU) else output.abs().amin(others) > SATURATED
        self._layers.append((name, dead))

    @property
    def share(self) -> float | None:
        """Share of dead units (0..1), None if none were counted.

        Waits for the device.
        """
        return torch.cat([dead for _, dead in self._layers]).float().mean().item() if self._layers else None

    @property
    def by_layer(self) -> dict[str, Tensor]:
        """The dead units of each nonlinearity by its name, bool `[units]`.

        One that is used twice has the units of both.
        """
        names = dict.fromkeys(name for name, _ in self._layers)
        return {name: torch.cat([dead for other, dead in self._layers if other == name]) for name in names}
