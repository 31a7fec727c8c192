"""Saliency is the gradient of an output, and leaves the policy alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from ppo_tui.config import load_preset
from ppo_tui.ppo import Minibatch, build_policy
from ppo_tui.ppo.recurrent import RecurrentContext
from ppo_tui.protocol import Gaze
from ppo_tui.training.saliency import Saliency


def minibatch(observations: torch.Tensor, actions: torch.Tensor, context: RecurrentContext | None = None) -> Minibatch:
    nothing = torch.zeros(len(observations))
    return Minibatch(
        observations=observations,
        actions=actions,
        log_probs=nothing,
        values=nothing,
        advantages=nothing,
        returns=nothing,
        context=context,
    )


@pytest.mark.parametrize("recurrent", ["none", "lstm"])
@pytest.mark.parametrize("gaze", [Gaze.ACTION, Gaze.VALUE])
def test_gradients_of_numbers_are_those_of_small_differences(gaze, recurrent):
    config = load_preset("cartpole", overrides=[f"policy.recurrent={recurrent}", "policy.recurrent_size=8"]).policy
    box = spaces.Box(-1, 1, (4,), np.float32)
    policy = build_policy(box, spaces.Discrete(2), config, frame_stack=1, seed=3)
    observations, actions = torch.randn(5, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 1, 0, 1])
    states = policy.initial_states(5)
    context = None if states is None else RecurrentContext(states)

    def output(numbers: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            distribution, values = policy(numbers, None, context)
        return distribution.log_prob(actions) if gaze is Gaze.ACTION else values

    found = Saliency(policy).of(minibatch(observations, actions, context), gaze, 4)
    assert found.maps is None
    for number in range(4):
        step = torch.zeros(4)
        step[number] = 1e-2
        expected = (output(observations + step) - output(observations - step)) / 2e-2
        assert found.numbers[:, number].numpy() == pytest.approx(expected.numpy(), abs=2e-3)
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_a_map_is_bright_where_a_pixel_counts():
    config = load_preset("breakout").policy
    screen = spaces.Box(0, 255, (84, 84), np.uint8)
    policy = build_policy(screen, spaces.Discrete(4), config, frame_stack=4, seed=1)
    rng = np.random.default_rng(0)
    observations = torch.from_numpy(rng.integers(0, 256, (3, 4, 84, 84), dtype=np.uint8))
    found = Saliency(policy).of(minibatch(observations, torch.tensor([0, 1, 2])), Gaze.VALUE, 84 * 84)
    assert found.numbers is None
    assert found.maps.shape == (3, 21, 21)
    assert found.maps.amax(dim=(1, 2)).tolist() == [255] * 3
    assert all(parameter.grad is None for parameter in policy.parameters())
