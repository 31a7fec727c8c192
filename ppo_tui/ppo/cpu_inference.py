"""Trunks for acting: their weights lie as oneDNN reads them, and are not laid out anew for every step.

PyTorch's own layers do that at each call. For the 256 observations of a minibatch it costs nothing; for the few of one
step it is a third of the time. The operators are those that PyTorch's compiler puts in the place of these layers
(``torch/_inductor/fx_passes/mkldnn_fusion.py``). They are no public interface, hence the trial in `can_pack`.
"""

from __future__ import annotations

import copy
import functools
import itertools

import torch
from torch import Tensor, nn


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this PyTorch and this processor compute packed layers in `dtype`, and as the layers themselves do."""
    try:
        if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        layers = nn.Sequential(nn.Conv2d(2, 3, 2, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).to(dtype)
        with torch.inference_mode():
            images = torch.linspace(-1, 1, 64).view(2, 2, 4, 4).to(dtype)
            return torch.allclose(pack(layers, dtype)(images), layers(images), atol=torch.finfo(dtype).eps)
    except (RuntimeError, AttributeError, TypeError):
        return False


def pack(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of `module` that computes in `dtype` with the present weights of its convolutions and linear layers.

    For inference alone. Later changes of the weights do not reach it.
    """
    layers = {id(layer): layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    return _packed_within(copy.deepcopy(module, layers), dtype)


def _packed_within(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """`module` with each layer replaced, and with it the ReLU that follows it in a sequence."""
    children = list(module.named_children())
    for (name, child), (next_name, follower) in itertools.pairwise([*children, ("", None)]):
        if not isinstance(child, nn.Conv2d | nn.Linear):
            _packed_within(child, dtype)
            continue
        fused = isinstance(module, nn.Sequential) and isinstance(follower, nn.ReLU)
        kind = _Convolution if isinstance(child, nn.Conv2d) else _Linear
        setattr(module, name, kind(child, dtype, "relu" if fused else "none"))
        if fused:
            setattr(module, next_name, nn.Identity())
    return module


class _Packed(nn.Module):
    """A layer, and `after` it a ReLU or nothing.

    How its weights lie best depends on the shape of what they meet: the first input decides.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, dtype: torch.dtype, after: str) -> None:
        super().__init__()
        self._dtype, self._after = dtype, after
        self._plain = layer.weight.detach().to(dtype)
        self._bias = None if layer.bias is None else layer.bias.detach().to(dtype)
        self._weight: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = inputs.to(self._dtype)
        if self._weight is None:
            self._weight = self._lay_out(inputs)
        return self._compute(inputs)

    def _lay_out(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def _compute(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError


class _Convolution(_Packed):
    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype, after: str) -> None:
        super().__init__(layer, dtype, after)
        self._geometry = layer.padding, layer.stride, layer.dilation, layer.groups

    def _lay_out(self, inputs: Tensor) -> Tensor:
        return torch.ops.mkldnn._reorder_convolution_weight(self._plain, *self._geometry, list(inputs.shape))

    def _compute(self, inputs: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(
            inputs, self._weight, self._bias, *self._geometry, self._after, [], ""
        )


class _Linear(_Packed):
    def _lay_out(self, inputs: Tensor) -> Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(self._plain, inputs.shape[0])

    def _compute(self, inputs: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(inputs, self._weight, self._bias, self._after, [], "")
