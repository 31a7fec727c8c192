"""The recurrent layer between a trunk and its head: LSTM or GRU."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class RecurrentContext(NamedTuple):
    """The recurrent states before B = T·N steps, and their episode starts.

    Attributes:
        states: before the first step of each environment, `[N, M]`.
        resets: whether step t is the first of its episode, so that the state before it counts as zero, bool `[T, N]`;
            None for a single step, T = 1, without a reset.
    """

    states: Tensor
    resets: Tensor | None = None


class RecurrentLayer(nn.Module):
    """One layer of an LSTM or a GRU.

    LSTM: Hochreiter & Schmidhuber, 1997; GRU: Cho et al., 2014, arXiv:1406.1078.

    Args:
        kind: ``lstm`` or ``gru``.
        num_inputs: features of a step.
        size: H, length of each of the layer's vectors.

    Attributes:
        num_features: H, of the output.
        state_size: M, the numbers carried from step to step: 2 H (LSTM: hidden, then cell state) or H (GRU).
    """

    def __init__(self, kind: str, num_inputs: int, size: int) -> None:
        super().__init__()
        self.num_features = size
        self.state_size = 2 * size if kind == "lstm" else size
        self.layer = (nn.LSTM if kind == "lstm" else nn.GRU)(num_inputs, size)

    def initialize_orthogonal(self) -> None:
        """Set orthogonal weights and zero biases, as CleanRL's ``ppo_atari_lstm.py`` does."""
        for name, parameter in self.layer.named_parameters():
            if name.startswith("weight"):
                nn.init.orthogonal_(parameter, 1.0)
            else:
                nn.init.zeros_(parameter)

    def forward(self, features: Tensor, context: RecurrentContext) -> tuple[Tensor, Tensor | None]:
        """Outputs `[T·N, H]` of features `[T·N, num_inputs]`, and the next states.

        The states after the steps, `[N, M]`, come from a single step alone; None after a sequence.
        """
        if context.resets is None:
            return self.step(features, context.states)
        return self.sequence(features, context.states, context.resets), None

    def step(self, features: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """One step: outputs `[N, H]` and new states `[N, M]`.

        From features `[N, num_inputs]` and states `[N, M]`.
        """
        outputs, carried = self.layer(features.unsqueeze(0), self._unpacked(states))
        carried = torch.cat(carried, dim=-1) if isinstance(carried, tuple) else carried
        return outputs[0], carried[0]

    def sequence(self, features: Tensor, states: Tensor, resets: Tensor) -> Tensor:
        """Outputs `[T·N, H]` of T steps at once.

        This is faster than T calls of `step`.

        Each part of an episode becomes a sequence of its own, padded to the length of the longest.

        Args:
            features: `[T·N, num_inputs]`, step by step.
            states, resets: as in `RecurrentContext`.
        """
        num_steps, num_envs = resets.shape
        begins = resets.T.clone()  # [N, T]: environment by environment, its parts lie one after the other
        begins[:, 0] = True
        part = (begins.flatten().cumsum(0) - 1).view(num_envs, num_steps)
        times = torch.arange(num_steps, device=features.device).expand_as(part)
        age = times - torch.where(begins, times, 0).cummax(dim=1).values  # steps since the part began, [N, T]
        part, age = part.T.flatten(), age.T.flatten()  # [T·N], in the order of the features

        padded = features.new_zeros(int(age.max()) + 1, int(part.max()) + 1, features.shape[-1])
        padded = padded.index_put((age, part), features)
        initial = states.new_zeros(padded.shape[1], self.state_size)
        initial[part[:num_envs]] = states.masked_fill(resets[0].unsqueeze(-1), 0.0)  # the first parts
        outputs, _ = self.layer(padded, self._unpacked(initial))
        return outputs[age, part]

    def _unpacked(self, states: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """States `[N, M]` in the form of PyTorch's layer."""
        states = states.unsqueeze(0)
        if isinstance(self.layer, nn.LSTM):
            hidden, cell = states.chunk(2, dim=-1)
            return hidden.contiguous(), cell.contiguous()
        return states.contiguous()
