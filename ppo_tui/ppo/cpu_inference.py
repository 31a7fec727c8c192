"""Faster CPU inference, with weights stored once in oneDNN's own layout.

PyTorch's own layers convert their weights at each call. For the 256 observations of a minibatch it costs nothing; for
the few of one step it is a third of the time. The operators are those by which PyTorch's compiler replaces these layers
(``torch/_inductor/fx_passes/mkldnn_fusion.py``). They are private to PyTorch and stand in this file alone; where one of
them is missing or computes something else, `can_pack` is false and the policy acts with its plain layers.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class _Operators(NamedTuple):
    """The operators of oneDNN in PyTorch."""

    supports_bfloat16: Callable[[], bool]
    reorder_convolution_weight: Callable[..., Tensor]
    convolution: Callable[..., Tensor]
    reorder_linear_weight: Callable[..., Tensor]
    linear: Callable[..., Tensor]


def _load_operators() -> _Operators | None:
    """The operators of this PyTorch; None if one is missing."""
    try:
        library = torch.ops.mkldnn
        return _Operators(
            supports_bfloat16=library._is_mkldnn_bf16_supported,
            reorder_convolution_weight=library._reorder_convolution_weight,
            convolution=library._convolution_pointwise,
            reorder_linear_weight=library._reorder_linear_weight,
            linear=library._linear_pointwise,
        )
    except AttributeError:
        return None


_OPERATORS = _load_operators()


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether packed layers in `dtype` compute the results of plain layers."""
    if _OPERATORS is None:
        return False
    try:
        if dtype == torch.bfloat16 and not _OPERATORS.supports_bfloat16():
            return False
        with torch.random.fork_rng(devices=[]):  # which the layers' first weights are drawn from
            layers = nn.Sequential(nn.Conv2d(2, 3, 2, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).to(dtype)
        with torch.inference_mode():
            images = torch.linspace(-1, 1, 64).view(2, 2, 4, 4).to(dtype)
            return torch.allclose(pack(layers, dtype)(images), layers(images), atol=torch.finfo(dtype).eps)
    except (RuntimeError, AttributeError, TypeError):
        return False


def pack(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of `module` for inference in `dtype`, with packed layers.

    It has the present weights: later changes do not reach it. `can_pack` must hold.
    """
    assert _OPERATORS is not None, "can_pack says whether there is anything to pack with"
    layers = {id(layer): layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    return _with_packed_layers(copy.deepcopy(module, layers), dtype, _OPERATORS)


def _with_packed_layers(module: nn.Module, dtype: torch.dtype, operators: _Operators) -> nn.Module:
    """Replace each layer within `module`, together with a following ReLU."""
    children = list(module.named_children())
    for (name, child), (next_name, follower) in itertools.pairwise([*children, ("", None)]):
        fused = isinstance(module, nn.Sequential) and isinstance(follower, nn.ReLU)
        activation = "relu" if fused else "none"
        match child:
            case nn.Conv2d():
                setattr(module, name, _PackedConvolution(child, dtype, activation, operators))
            case nn.Linear():
                setattr(module, name, _PackedLinear(child, dtype, activation, operators))
            case nn.Module():
                _with_packed_layers(child, dtype, operators)
                continue
        if fused:
            setattr(module, next_name, nn.Identity())
    return module


class _PackedLayer(nn.Module):
    """A layer, and after it a ReLU or nothing.

    The best layout of the weights depends on the shape of the input: the first input decides.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, dtype: torch.dtype, activation: str, operators: _Operators):
        super().__init__()
        self._dtype, self._activation, self._operators = dtype, activation, operators
        self._plain_weight = layer.weight.detach().to(dtype)
        self._bias = None if layer.bias is None else layer.bias.detach().to(dtype)
        self._packed_weight: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = inputs.to(self._dtype)
        if self._packed_weight is None:
            self._packed_weight = self._pack_weight(inputs)
        return self._compute(inputs, self._packed_weight)

    def _pack_weight(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def _compute(self, inputs: Tensor, weight: Tensor) -> Tensor:
        raise NotImplementedError


class _PackedConvolution(_PackedLayer):
    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype, activation: str, operators: _Operators) -> None:
        super().__init__(layer, dtype, activation, operators)
        self._geometry = layer.padding, layer.stride, layer.dilation, layer.groups

    def _pack_weight(self, inputs: Tensor) -> Tensor:
        shape = list(inputs.shape)
        return self._operators.reorder_convolution_weight(self._plain_weight, *self._geometry, shape)

    def _compute(self, inputs: Tensor, weight: Tensor) -> Tensor:
        return self._operators.convolution(inputs, weight, self._bias, *self._geometry, self._activation, [], "")


class _PackedLinear(_PackedLayer):
    def _pack_weight(self, inputs: Tensor) -> Tensor:
        return self._operators.reorder_linear_weight(self._plain_weight, inputs.shape[0])

    def _compute(self, inputs: Tensor, weight: Tensor) -> Tensor:
        return self._operators.linear(inputs, weight, self._bias, self._activation, [], "")
