"""Gradients of a policy's outputs with respect to its input."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..ppo import ActorCritic, Minibatch
from ..ppo.recurrent import RecurrentContext
from ..protocol import Gaze

MAX_SIDE = 24
"""Longest side of a map; larger ones are pooled: the first convolution of Atari's networks sees as coarsely."""


class Gradients(NamedTuple):
    """Gradients of B steps: maps, or numbers.

    Attributes:
        maps: uint8 `[B, H, W]`, 255 at the strongest point of each; None without pictures.
        numbers: with respect to each number of an observation, float32 `[B, D]`; None for pictures.
    """

    maps: Tensor | None = None
    numbers: Tensor | None = None


class Saliency:
    """The saliency of a policy's inputs (Simonyan et al., 2013, arXiv:1312.6034).

    The absolute gradient of an output with respect to each pixel, summed over the channels and the frames of a stack.
    It is computed on a copy of the policy, so that nothing of the training changes, and made with the first request.
    """

    def __init__(self, policy: ActorCritic) -> None:
        self._policy = policy
        self._copy: ActorCritic | None = None

    def of(self, batch: Minibatch, gaze: Gaze, numbers: int) -> Gradients:
        """The gradients of one output in B steps.

        They are with respect to what the first layer reads: a normalised observation where the policy normalises.

        Args:
            numbers: D, of one observation (of a stack, each of its frames).

        Returns:
            Neither maps nor numbers where the network's first layer reads something else.
        """
        if self._copy is None:
            self._copy = copy.deepcopy(self._policy).eval()
        else:
            self._copy.load_state_dict(self._policy.state_dict())
        policy = self._copy
        device = policy.value_head.weight.device
        masks = None if batch.masks is None else batch.masks.to(device)
        context = None if batch.context is None else RecurrentContext(batch.context.states.to(device))
        trunk = policy.actor_trunk if gaze is Gaze.ACTION or policy.critic_trunk is None else policy.critic_trunk
        with torch.enable_grad(), _first_input(trunk) as read:
            distribution, values = policy(batch.observations.to(device), masks, context)
            output = distribution.log_prob(batch.actions.to(device)) if gaze is Gaze.ACTION else values
            if not read or not output.requires_grad:
                return Gradients()
            (gradient,) = torch.autograd.grad(output.sum(), read[0], allow_unused=True)
        if gradient is None or len(gradient) != len(output):
            return Gradients()
        gradient = gradient.float().cpu()
        if gradient.ndim == 4:
            return Gradients(maps=_maps(gradient))
        if gradient.ndim == 2 and numbers and gradient.shape[1] % numbers == 0:
            return Gradients(numbers=gradient.view(len(gradient), -1, numbers).sum(dim=1))
        return Gradients()


@contextlib.contextmanager
def _first_input(trunk: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the input of the first layer, made to have a gradient."""
    read: list[Tensor] = []

    def watch(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if read or not inputs or not torch.is_floating_point(inputs[0]):
            return None
        read.append(inputs[0].detach().requires_grad_())
        return (read[0], *inputs[1:])

    first = next((module for module in trunk.modules() if isinstance(module, nn.Conv2d | nn.Linear)), None)
    hook = None if first is None else first.register_forward_pre_hook(watch)
    try:
        yield read
    finally:
        if hook is not None:
            hook.remove()


def _maps(gradient: Tensor) -> Tensor:
    """Maps uint8 `[B, H, W]` of gradients `[B, C, H', W']`."""
    strength = gradient.abs().sum(dim=1, keepdim=True)
    factor = math.ceil(max(strength.shape[2:]) / MAX_SIDE)
    pooled = nn.functional.avg_pool2d(strength, factor, ceil_mode=True)[:, 0]
    strongest = pooled.amax(dim=(1, 2), keepdim=True)
    shares = torch.where(strongest > 0, pooled / strongest, 0.0).nan_to_num()
    return (255 * shares).round().to(torch.uint8)
