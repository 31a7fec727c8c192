"""Layer normalisation in trunks, against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from ppo_tui.config import build_config
from ppo_tui.errors import ConfigError
from ppo_tui.ppo import ActorCritic, build_policy
from ppo_tui.ppo.units import DeadUnits

SCREEN, VECTOR = spaces.Box(0, 255, (42, 42), np.uint8), spaces.Box(-1, 1, (5,), np.float32)
NONLINEARITIES = (nn.ReLU, nn.Tanh, nn.SiLU, nn.ELU, nn.GELU)
CNNS = ("nature-cnn", "nature-small", "impala", "a3c-cnn")


def build(space: spaces.Box, **policy) -> ActorCritic:
    config = build_config({"env": {"id": "None-v0"}, "policy": {"layer_norm": True, **policy}}).policy
    built = build_policy(space, spaces.Discrete(3), config, frame_stack=4, seed=1)
    return built.to(memory_format=torch.channels_last)


def screens() -> torch.Tensor:
    return torch.randint(0, 256, (6, 4, 42, 42), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalized(x: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Equations 3 and 4 of Ba et al., 2016, sample by sample; scale and offset on axis 1."""
    flat = x.flatten(1)
    mean = flat.mean(1, keepdim=True)
    deviation = ((flat - mean) ** 2).mean(1, keepdim=True).add(1e-5).sqrt()
    shape = (1, -1, *[1] * (x.ndim - 2))
    return ((flat - mean) / deviation).view_as(x) * scale.view(shape) + offset.view(shape)


@pytest.mark.parametrize(("network", "strides"), [("nature-cnn", (4, 2, 1)), ("nature-small", (4, 2))])
def test_a_convolutional_trunk_computes_the_papers_formula(network, strides):
    """Convolution, mean and variance over channels and positions, scale and offset by channel, ReLU."""
    trunk = build(SCREEN, network=network).actor_trunk
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
        weights = [parameter.double() for parameter in trunk.parameters()]
        x = screens().double() / 255
        for stride in strides:
            weight, bias, scale, offset, *weights = weights
            x = normalized(functional.conv2d(x, weight, bias, stride), scale, offset).relu()
        weight, bias, scale, offset = weights
        x = normalized(functional.linear(x.flatten(1), weight, bias), scale, offset).relu()
        torch.testing.assert_close(trunk(screens()).double(), x, rtol=1e-4, atol=1e-4)


def test_an_mlp_computes_the_papers_formula():
    trunk = build(VECTOR, hidden=[7, 6], activation="tanh").actor_trunk
    x = torch.randn(9, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = x.double()
        first, second = (list(trunk.parameters())[4 * n : 4 * n + 4] for n in range(2))
        for weight, bias, scale, offset in (first, second):
            linear = functional.linear(expected, weight.double(), bias.double())
            expected = normalized(linear, scale.double(), offset.double()).tanh()
        torch.testing.assert_close(trunk(x).double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("space", "policy"),
    [(SCREEN, {"network": name}) for name in CNNS]
    + [(VECTOR, {"hidden": [16, 16], "activation": name}) for name in ("tanh", "gelu")],
)
def test_every_nonlinearity_is_given_mean_0_and_variance_1(space, policy):
    trunk = build(space, **policy).actor_trunk
    inputs: list[torch.Tensor] = []
    for layer in trunk.modules():
        if isinstance(layer, NONLINEARITIES):
            layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0].clone()))
    trunk(screens() if space is SCREEN else torch.randn(6, 4, 5))
    layers = sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in trunk.modules())
    assert len(inputs) == layers - (2 if policy.get("network") == "impala" else 0)
    for given in inputs:
        flat = given.flatten(1)
        torch.testing.assert_close(flat.mean(1), torch.zeros(6), atol=1e-4, rtol=0)
        torch.testing.assert_close(flat.var(1, correction=0), torch.ones(6), atol=0.02, rtol=0)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("network", CNNS)
def test_images_stay_channels_last(network, precision):
    """Normalised in another format, the next convolution would convert them back, in either direction."""
    policy = build(SCREEN, network=network, precision=precision)
    formats: list[bool] = []
    for layer in policy.modules():
        if isinstance(layer, nn.GroupNorm):
            layer.register_forward_hook(
                lambda _, given, output: formats.append(output.is_contiguous(memory_format=torch.channels_last))
            )
    _, values = policy(screens())
    values.sum().backward()
    assert formats
    assert all(formats)
    assert all(parameter.grad.isfinite().all() for parameter in policy.actor_trunk.parameters())


def test_a_unit_that_its_offset_switches_off_is_dead():
    policy = build(VECTOR, hidden=[4], activation="relu", shared=True)
    with torch.no_grad():
        norm = policy.actor_trunk.layers[1]
        norm.weight[0], norm.bias[0] = 0.0, -1.0
    units = DeadUnits(policy)
    with units.counted():
        policy(torch.randn(64, 4, 5))
    assert units.share == 0.25


def test_a_network_of_ones_own_has_its_own_layers():
    with pytest.raises(ConfigError, match=r"policy.layer_norm = true: .*'mine:Net' brings its own") as refusal:
        build(VECTOR, network="mine:Net")
    assert "nn.LayerNorm" in refusal.value.hint


def test_without_it_the_networks_have_no_such_layers():
    for space, network in ((SCREEN, "nature-cnn"), (SCREEN, "impala"), (VECTOR, "mlp")):
        policy = build(space, network=network, layer_norm=False)
        assert not any(isinstance(layer, nn.GroupNorm | nn.LayerNorm) for layer in policy.modules())
