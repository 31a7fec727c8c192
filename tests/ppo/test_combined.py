"""The policy's network for images among other parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from ppo_tui.config import PolicyConfig
from ppo_tui.envs.packing import Numbers, PackedBox, Picture
from ppo_tui.errors import ConfigError
from ppo_tui.ppo import MLP, ImpalaCNN, NatureCNN, RolloutBuffer, build_policy, check_spaces_of_policy
from ppo_tui.ppo.combined import unpack

SPACE = PackedBox(
    [Numbers("observation['gear']", 2, False), Numbers("observation['speed']", 3, True)],
    [Picture("observation['far']", (36, 40)), Picture("observation['near']", (3, 36, 36))],
)
ACTIONS = spaces.Discrete(4)


def build(space: PackedBox = SPACE, *, frame_stack: int = 1, **policy):
    return build_policy(space, ACTIONS, PolicyConfig(**policy), frame_stack=frame_stack, seed=3)


def packed(*lead: int) -> torch.Tensor:
    """Random observations `[*lead, P]`."""
    random = np.random.default_rng(0)
    rows = [
        SPACE.pack(
            np.concatenate([np.eye(2)[random.integers(2)], random.normal(5, 3, 3)]).astype(np.float32),
            [random.integers(0, 256, picture.shape, np.uint8) for picture in SPACE.pictures],
        )
        for _ in range(int(np.prod(lead)))
    ]
    return torch.from_numpy(np.stack(rows).reshape(*lead, -1))


@pytest.mark.parametrize(("network", "encoder"), [("auto", NatureCNN), ("impala", ImpalaCNN), ("mlp", MLP)])
def test_each_image_has_an_encoder_and_all_parts_meet_in_hidden_layers(network, encoder):
    policy = build(network=network, hidden=(16, 8))
    trunk = policy.actor_trunk
    assert [type(each) for each in trunk.encoders] == [encoder, encoder]
    seen = sum(each.num_features for each in trunk.encoders) + 5
    assert [layer.in_features for layer in trunk.mixer.modules() if isinstance(layer, torch.nn.Linear)] == [seen, 16]
    assert trunk.num_features == 8
    assert (policy.critic_trunk is None) == (network != "mlp")


def test_features_are_those_of_the_parts_alone():
    policy, observations = build(), packed(6)
    trunk, (numbers, pictures) = policy.actor_trunk, unpack(SPACE, observations)
    alone = [encoder(picture) for encoder, picture in zip(trunk.encoders, pictures, strict=True)]
    expected = trunk.mixer(torch.cat([*alone, numbers], dim=-1))
    assert torch.equal(trunk(observations), expected)


def test_every_part_is_stacked_as_a_rollout_gathers_it():
    """The stack lies innermost in the memory of its frames, so that the bytes of a number lie apart."""
    frames = packed(6, 2).numpy()
    flags = np.zeros((4, 2), bool)
    rollout = RolloutBuffer(
        frames, np.zeros((4, 2)), flags, flags, frame_stack=2, action_shape=(), action_dtype=torch.int64
    )
    observations = rollout.observation(3)
    parts, older, newer = (unpack(SPACE, torch.as_tensor(each)) for each in (observations, frames[3], frames[4]))
    assert torch.equal(parts.numbers, torch.stack([older.numbers, newer.numbers], dim=1))
    for stacked, first, second in zip(parts.pictures, older.pictures, newer.pictures, strict=True):
        assert torch.equal(stacked, torch.stack([first, second], dim=1))
    policy = build(frame_stack=2)
    decision = policy.decide(observations, noise=None)
    assert torch.equal(decision.values, policy.decide(observations.contiguous(), noise=None).values)
    with policy.unchanged():
        torch.testing.assert_close(policy.decide(observations, noise=None).values, decision.values)


def test_statistics_normalise_vectors_and_neither_one_hots_nor_images():
    policy, samples = build(normalize_observations=True), packed(500)
    policy.normalizer.merge(samples)
    before, after = unpack(SPACE, samples), policy.normalizer(samples)
    assert torch.equal(after.numbers[:, :2], before.numbers[:, :2])
    torch.testing.assert_close(after.numbers[:, 2:].mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(after.numbers[:, 2:].std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)
    for one, other in zip(before.pictures, after.pictures, strict=True):
        assert torch.equal(one, other)
    assert set(policy.normalizer.state_dict()) == {"count", "mean", "variance"}


@pytest.mark.parametrize("divided", ["auto", True, False])
def test_images_are_divided_where_the_setting_allows(divided):
    trunk = build(normalize_images=divided).actor_trunk
    assert [encoder.layout.divided for encoder in trunk.encoders] == [divided is not False] * 2


@pytest.mark.parametrize(
    ("space", "policy", "words"),
    [
        (
            PackedBox([], [Picture("observation['eye']", (100, 36))]),
            {"normalize_observations": True},
            r"no vector to normalise, only observation\['eye'\]",
        ),
        (
            PackedBox([], [Picture("observation[0]", (3, 36, 36)), Picture("observation[1]", (36, 3, 36))]),
            {"network": "math:pi"},
            r"'math:pi': a network of your own reads a single array.*observation\[0\], observation\[1\]",
        ),
    ],
)
def test_what_does_not_fit_the_parts_is_refused(space, policy, words):
    with pytest.raises(ConfigError, match=words):
        check_spaces_of_policy(space, ACTIONS, PolicyConfig(**policy), 1)


@pytest.mark.parametrize("recurrent", ["none", "lstm"])
def test_gradients_reach_every_part(recurrent):
    policy, observations = build(recurrent=recurrent, recurrent_size=8), packed(3)
    policy.evaluate(observations, policy_context(policy, 3)).values.sum().backward()
    assert all(encoder.convolutions[0].weight.grad.abs().sum() > 0 for encoder in policy.actor_trunk.encoders)
    assert (policy.actor_trunk.mixer.layers[0].weight.grad[:, -5:].abs().sum(0) > 0).sum() >= 4


def policy_context(policy, count):
    from ppo_tui.ppo.recurrent import RecurrentContext

    states = policy.initial_states(count)
    return None if states is None else RecurrentContext(states)
