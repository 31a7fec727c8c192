"""The learner's share of this processor's arithmetic.

Its layers, beside a plain product of matrices.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.effort import Effort
from benchmarks.limit import Parts
from benchmarks.work import breakout

PRODUCT = 2048
"""Rows and columns of the matrices: large enough for the best rate of the library."""

REPEATS = 12


def arithmetic(effort: Effort) -> dict[str, float]:
    """Rates of one thread in 10⁹ floating-point operations a second.

    A multiplication and an addition count as two.

    Each layer of the trunk runs alone, forwards and backwards, on a minibatch; the first needs no gradient of its
    input. The seconds are those of all minibatches of an update, in the layers alone and in the whole learner.
    """
    config = breakout(num_updates=effort.updates, overrides=("workers.count=1", "run.torch_threads=1"))
    with contextlib.closing(Parts(config)) as parts:
        parts.measure()
        learning = statistics.median(parts.measure()["learning"] for _ in range(effort.updates))
        inputs = torch.randint(0, 256, (config.minibatch_size, config.env.frame_stack, 84, 84), dtype=torch.uint8)
        found = layers_of(parts.policy.actor_trunk, inputs)
        layers = [LayerPass(layer, given, first=number == 0) for number, (layer, given) in enumerate(found)]
        seconds = [_best_cpu_seconds(layer) for layer in layers]
    matrix = torch.randn(PRODUCT, PRODUCT)
    rates = {"matrix_product": 2 * PRODUCT**3 / _best_cpu_seconds(lambda: matrix @ matrix)}
    rates |= {
        f"layer_{number}": layer.operations / spent
        for number, (layer, spent) in enumerate(zip(layers, seconds, strict=True), start=1)
    }
    return {f"{name}_gflops": rate / 1e9 for name, rate in rates.items()} | {
        "layers_cpu_seconds_per_update": sum(seconds) * config.ppo.minibatches * config.ppo.epochs,
        "learning_cpu_seconds_per_update": learning,
    }


class LayerPass:
    """One layer, forwards and backwards, on a minibatch.

    Its input is the output of the layers before it.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, given: Tensor, *, first: bool) -> None:
        self._layer, self._given = layer, given.detach().requires_grad_(not first)
        output = layer(self._given)
        self._gradient = torch.randn_like(output)
        products = 2 if first else 3
        self.operations = products * 2 * output.numel() * layer.weight[0].numel()

    def __call__(self) -> None:
        self._layer(self._given).backward(self._gradient)
        self._given.grad = None
        self._layer.zero_grad(set_to_none=True)


def layers_of(trunk: nn.Module, inputs: Tensor) -> list[tuple[nn.Conv2d | nn.Linear, Tensor]]:
    """The trunk's layers with weights, in order, and their inputs."""
    found: list[tuple[nn.Conv2d | nn.Linear, Tensor]] = []

    def record(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        found.append((layer, inputs[0].clone()))

    hooks = [
        module.register_forward_pre_hook(record)
        for module in trunk.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        trunk(inputs)
    for hook in hooks:
        hook.remove()
    return found


def _best_cpu_seconds(work: Callable[[], object]) -> float:
    work()
    spent = []
    for _ in range(REPEATS):
        began = time.thread_time()
        work()
        spent.append(time.thread_time() - began)
    return min(spent)
