"""What lets a policy remember: a recurrent layer between a trunk and its head."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Past(NamedTuple):
    """What a recurrent policy knows before T consecutive steps of N environments.

    Attributes:
        states: before the first step, `[N, M]`.
        resets: whether step t is the first of its episode, bool `[T, N]`: nothing before it is remembered.
    """

    states: Tensor
    resets: Tensor


class Memory(nn.Module):
    """One layer of an LSTM (Hochreiter & Schmidhuber, 1997) or a GRU (Cho et al., 2014, arXiv:1406.1078).

    Args:
        kind: ``lstm`` or ``gru``.
        num_inputs: features of a step.
        size: H, what each of the layer's vectors holds.

    Attributes:
        num_features: H, of the output.
        state_size: M, the numbers that are carried from step to step: 2 H (LSTM: hidden, then cell state) or H (GRU).
    """

    def __init__(self, kind: str, num_inputs: int, size: int) -> None:
        super().__init__()
        self.num_features = size
        self.state_size = 2 * size if kind == "lstm" else size
        self.layer = (nn.LSTM if kind == "lstm" else nn.GRU)(num_inputs, size)

    def initialize_orthogonal(self) -> None:
        """Orthogonal weights and zero biases, as CleanRL's ``ppo_atari_lstm.py`` has them."""
        for name, parameter in self.layer.named_parameters():
            if name.startswith("weight"):
                nn.init.orthogonal_(parameter, 1.0)
            else:
                nn.init.zeros_(parameter)

    def step(self, features: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """One step: outputs `[N, H]` and new states `[N, M]` of features `[N, num_inputs]` and states `[N, M]`."""
        outputs, carried = self.layer(features.unsqueeze(0), self._unpacked(states))
        carried = torch.cat(carried, dim=-1) if isinstance(carried, tuple) else carried
        return outputs[0], carried[0]

    def forward(self, features: Tensor, past: Past) -> Tensor:
        """The outputs `[T·N, H]` of features `[T·N, num_inputs]`: the same as T times `step`, and much faster.

        Each part of an episode becomes a sequence of its own, padded to the length of the longest.
        """
        num_steps, num_envs = past.resets.shape
        begins = past.resets.T.clone()  # [N, T]: environment by environment, its parts lie one after the other
        begins[:, 0] = True
        part = (begins.flatten().cumsum(0) - 1).view(num_envs, num_steps)
        times = torch.arange(num_steps, device=features.device).expand_as(part)
        age = times - torch.where(begins, times, 0).cummax(dim=1).values  # steps since the part began, [N, T]
        part, age = part.T.flatten(), age.T.flatten()  # [T·N], in the order of the features

        padded = features.new_zeros(int(age.max()) + 1, int(part.max()) + 1, features.shape[-1])
        padded = padded.index_put((age, part), features)
        initial = past.states.new_zeros(padded.shape[1], self.state_size)
        initial[part[:num_envs]] = past.states.masked_fill(past.resets[0].unsqueeze(-1), 0.0)  # the first parts
        outputs, _ = self.layer(padded, self._unpacked(initial))
        return outputs[age, part]

    def _unpacked(self, states: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """States `[N, M]` as the layer takes them."""
        states = states.unsqueeze(0)
        if isinstance(self.layer, nn.LSTM):
            hidden, cell = states.chunk(2, dim=-1)
            return hidden.contiguous(), cell.contiguous()
        return states.contiguous()
