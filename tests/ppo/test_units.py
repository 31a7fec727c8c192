"""Dead units are counted without a change of the network's results."""

from __future__ import annotations

import torch
from torch import nn

from ppo_tui.ppo.units import DeadUnits


def share_of(network: nn.Module, batch: torch.Tensor) -> float | None:
    units = DeadUnits(network)
    with units.counted():
        network(batch)
    return units.share


def test_a_relu_is_dead_that_is_zero_on_the_whole_batch():
    network = nn.Sequential(nn.Linear(1, 4, bias=False), nn.ReLU())
    network[0].weight.data = torch.tensor([[1.0], [-1.0], [-2.0], [0.0]])
    assert share_of(network, torch.tensor([[1.0], [2.0]])) == 0.75, "three of them say nothing of positive numbers"
    assert share_of(network, torch.tensor([[1.0], [-2.0]])) == 0.25, "one example wakes a unit"


def test_a_channel_is_dead_that_is_zero_everywhere():
    network = nn.Sequential(nn.Conv2d(1, 2, kernel_size=1), nn.ReLU())
    network[0].weight.data = torch.tensor([1.0, 1.0]).reshape(2, 1, 1, 1)
    network[0].bias.data = torch.tensor([0.0, -10.0])
    image = torch.zeros(3, 1, 4, 4)
    image[2, 0, 3, 3] = 5.0
    assert share_of(network, image) == 0.5, "one pixel of one image is enough"


def test_a_tanh_is_dead_that_is_saturated_on_the_whole_batch():
    network = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Tanh())
    network[0].weight.data = torch.tensor([[100.0], [0.1]])
    assert share_of(network, torch.tensor([[1.0], [-1.0]])) == 0.5, "whichever its sign"
    assert share_of(network, torch.tensor([[1.0], [0.0]])) == 0.0


def test_other_nonlinearities_are_not_counted():
    assert share_of(nn.Sequential(nn.Linear(1, 2), nn.SiLU()), torch.ones(1, 1)) is None


def test_counting_leaves_no_trace():
    network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    batch = torch.randn(5, 3)
    expected = network(batch)
    units = DeadUnits(network)
    with units.counted():
        assert torch.equal(network(batch), expected)
    assert not network[1]._forward_hooks
    with units.counted(False):
        network(torch.full((5, 3), -1e9))
    assert units.share is not None, "what is not wanted is not counted, and the last count stays"
