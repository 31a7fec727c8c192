"""Networks and policy: inputs, initial weights, actions."""

import hypothesis
import msgspec
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import strategies as st

from ppo_tui.config import PolicyConfig
from ppo_tui.errors import ConfigError
from ppo_tui.ppo import MLP, NatureCNN, build_policy

VECTOR = spaces.Box(-np.inf, np.inf, (3,), np.float32)
DISCRETE = spaces.Discrete(4)


def images(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


def build(observation_space=VECTOR, action_space=DISCRETE, *, frame_stack=1, seed=0, **policy):
    torch.manual_seed(seed)
    config = msgspec.convert(policy, PolicyConfig)
    return build_policy(observation_space, action_space, config, frame_stack=frame_stack)


# ── Which network ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("space", "frame_stack", "batch_shape", "trunk"),
    [
        (images(84, 84), 4, (5, 4, 84, 84), NatureCNN),
        (images(84, 84), 1, (5, 1, 84, 84), NatureCNN),
        (images(36, 36), 1, (5, 1, 36, 36), NatureCNN),
        (images(210, 160, 3), 1, (5, 210, 160, 3), NatureCNN),
        (images(96, 96, 3), 2, (5, 2, 96, 96, 3), NatureCNN),
        (images(3, 64, 48), 2, (5, 2, 3, 64, 48), NatureCNN),
        (images(35, 84), 4, (5, 4, 35, 84), MLP),
        (images(128), 1, (5, 128), MLP),
        (spaces.Box(0, 1, (84, 84), np.float32), 1, (5, 84, 84), MLP),
        (VECTOR, 1, (5, 3), MLP),
        (VECTOR, 4, (5, 4, 3), MLP),
        (spaces.Box(0, 1, (), np.float64), 1, (5,), MLP),
    ],
)
def test_auto_reads_images_with_a_shared_cnn_and_the_rest_with_two_mlps(space, frame_stack, batch_shape, trunk):
    policy = build(space, frame_stack=frame_stack)
    observations = torch.from_numpy(np.zeros(batch_shape, space.dtype))
    distribution, values = policy(observations)
    assert isinstance(policy.actor_trunk, trunk)
    assert (policy.critic_trunk is None) == (trunk is NatureCNN)
    assert distribution.log_probs.shape == (5, 4)
    assert values.shape == (5,)


def test_trunks_follow_the_configuration():
    assert build(images(84, 84), shared=False).critic_trunk is not None
    assert build(VECTOR, shared=True).critic_trunk is None
    assert isinstance(build(images(84, 84), network="mlp").actor_trunk, MLP)
    widths = [layer.out_features for layer in build(hidden=(7, 5)).actor_trunk.layers if hasattr(layer, "weight")]
    assert widths == [7, 5]
    assert build(hidden=()).actor_trunk.num_features == 3


def test_the_atari_network_has_the_size_of_the_nature_dqn_with_a_value_head():
    """Mnih et al., 2015, and a value head.

    8,224 + 32,832 + 36,928 + 1,606,144 weights, and 513 for each output.
    """
    policy = build(images(84, 84), frame_stack=4)
    assert sum(parameter.numel() for parameter in policy.parameters()) == 1_684_128 + 4 * 513 + 513


def test_the_small_network_is_that_of_deep_q_learnings_first_paper():
    """Mnih et al., 2013, section 4.1: 16 filters 8×8/4, 32 filters 4×4/2, 256 units, and a value head."""
    policy = build(images(84, 84), frame_stack=4, network="nature-small")
    trunk = policy.actor_trunk
    shapes = []
    for layer in trunk.modules():
        layer.register_forward_hook(lambda layer, _, output: shapes.append((type(layer).__name__, *output.shape[1:])))
    policy.value(torch.zeros(1, 4, 84, 84, dtype=torch.uint8))
    assert [shape for shape in shapes if shape[0] in ("Conv2d", "Linear")] == [
        ("Conv2d", 16, 20, 20),
        ("Conv2d", 32, 9, 9),
        ("Linear", 256),
    ]
    weights = {name: parameter.numel() for name, parameter in trunk.named_parameters() if name.endswith("weight")}
    assert list(weights.values()) == [16 * 8 * 8 * 4, 32 * 4 * 4 * 16, 256 * 9 * 9 * 32]
    assert sum(parameter.numel() for parameter in trunk.parameters()) == 4_112 + 8_224 + 663_808


@pytest.mark.parametrize("network", ["nature-cnn", "nature-small", "impala", "a3c-cnn"])
def test_every_trunk_reads_small_screens(network):
    for size in (42, 48, 64):
        policy = build(images(size, size), frame_stack=4, network=network)
        assert policy(torch.zeros(2, 4, size, size, dtype=torch.uint8))[1].shape == (2,)


@pytest.mark.parametrize("space", [VECTOR, images(35, 84), images(128), spaces.Box(0, 1, (84, 84), np.float32)])
def test_nature_cnn_refuses_what_is_no_image(space):
    with pytest.raises(ConfigError, match=r"at least 36×36.*shape") as refusal:
        build(space, network="nature-cnn")
    assert str(space.shape) in refusal.value.message
    assert "mlp" in refusal.value.hint


@pytest.mark.parametrize(
    ("observation_space", "action_space"),
    [
        (spaces.Discrete(16), DISCRETE),
        (spaces.Dict(a=VECTOR), DISCRETE),
        (VECTOR, spaces.Text(4)),
        (VECTOR, spaces.Box(0, 9, (2,), np.int64)),
    ],
)
def test_spaces_that_the_policy_cannot_handle_are_refused_by_name(observation_space, action_space):
    with pytest.raises(ConfigError) as refusal:
        build(observation_space, action_space)
    culprit = action_space if observation_space is VECTOR else observation_space
    assert str(culprit) in refusal.value.message
    assert refusal.value.hint


# ── How images are read ─────────────────────────────────────────────────────────────────────────────────────


def test_colour_images_mean_the_same_with_channels_first_and_last():
    """One picture in both layouts, with and without a stack axis."""
    for frame_stack, axes in ((1, ()), (2, (2,))):
        pixels = torch.randint(0, 256, (3, *axes, 64, 48, 3), dtype=torch.uint8)
        last = build(images(64, 48, 3), frame_stack=frame_stack)
        first = build(images(3, 64, 48), frame_stack=frame_stack)
        assert torch.equal(last(pixels)[1], first(pixels.movedim(-1, -3))[1])


BOARDS = [
    spaces.Box(0, 1, (4, 4), np.uint8),
    spaces.Box(0, 9, (2, 4, 4), np.uint8),
    spaces.Box(0, 1, (40, 40), np.uint8),
    spaces.Box(0, 254, (3, 40, 40), np.uint8),
    spaces.Box(1, 255, (3, 40, 40), np.uint8),
]


@pytest.mark.parametrize("space", BOARDS, ids=str)
def test_boards_are_seen_as_they_are(space):
    """The same weights, fed with floats, give the same numbers; divided ones do not."""
    observations = torch.from_numpy(np.stack([space.sample() for _ in range(3)]))
    observations = observations.unsqueeze(1) if len(space.shape) == 2 else observations
    policy = build(space, init="default")
    divided = build(space, init="default", normalize_images=True)
    assert torch.equal(policy(observations)[1], policy(observations.float())[1])
    assert torch.equal(divided(observations)[1], build(images(*space.shape), init="default")(observations)[1])
    assert not torch.allclose(policy(observations)[1], divided(observations)[1])


def test_a_setting_leaves_images_as_they_are():
    white = torch.full((1, 1, 36, 36), 255, dtype=torch.uint8)
    cnn = build(images(36, 36), normalize_images=False).actor_trunk
    torch.testing.assert_close(cnn(white), cnn.linear(cnn.convolutions(torch.full((1, 1, 36, 36), 255.0))))
    mlp = build(images(4, 4), normalize_images=False).actor_trunk
    bytes_ = torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    torch.testing.assert_close(mlp(bytes_), mlp(torch.full((1, 1, 4, 4), 255.0)))


@pytest.mark.parametrize(
    ("shape", "batch", "channels"),
    [
        ((8, 8, 12), (2, 8, 8, 12), 12),
        ((12, 8, 8), (2, 12, 8, 8), 12),
        ((8, 12, 8), (2, 8, 12, 8), 12),  # what `make_env` makes of [12, 8, 8]
        ((4, 10, 10), (2, 4, 10, 10), 4),
        ((3, 8, 16), (2, 3, 8, 16), 3),
    ],
)
def test_the_channels_of_a_square_board_are_beside_the_square(shape, batch, channels):
    policy = build(spaces.Box(0, 1, shape, np.uint8), network="impala", init="default")
    assert policy.actor_trunk.layout.channels == channels
    assert policy(torch.zeros(batch, dtype=torch.uint8))[1].shape == (2,)


def test_normalised_boards_are_possible_and_normalised_bytes_are_not():
    board = spaces.Box(0, 9, (4, 4), np.uint8)
    policy = build(board, normalize_observations=True)
    assert policy(torch.full((2, 1, 4, 4), 9, dtype=torch.uint8))[1].isfinite().all()
    assert build(images(36, 36), normalize_observations=True, normalize_images=False).normalizer is not None
    with pytest.raises(ConfigError, match="normalize_observations = true"):
        build(images(36, 36), normalize_observations=True)


def test_bytes_are_scaled_to_the_unit_interval():
    white = torch.full((1, 1, 36, 36), 255, dtype=torch.uint8)
    cnn = build(images(36, 36)).actor_trunk
    torch.testing.assert_close(cnn(white), cnn.linear(cnn.convolutions(torch.ones(1, 1, 36, 36))))
    mlp = build(images(128)).actor_trunk
    torch.testing.assert_close(mlp(torch.full((1, 128), 255, dtype=torch.uint8)), mlp(torch.ones(1, 128)))


# ── How the weights start ───────────────────────────────────────────────────────────────────────────────────


def assert_orthogonal(weight: torch.Tensor, gain: float) -> None:
    matrix = weight.detach().flatten(1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(gram, gain**2 * torch.eye(len(gram)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("space", [VECTOR, images(84, 84)])
def test_orthogonal_weights_have_the_gains_of_the_baselines(space):
    policy = build(space)
    for name, parameter in policy.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        else:
            gain = {"policy_head.weight": 0.01, "value_head.weight": 1.0}.get(name, 2**0.5)
            assert_orthogonal(parameter, gain)


def test_a_new_policy_is_almost_uniform():
    distribution, _ = build(images(84, 84))(torch.randint(0, 256, (8, 1, 84, 84), dtype=torch.uint8))
    torch.testing.assert_close(distribution.log_probs.exp(), torch.full((8, 4), 0.25), atol=0.01, rtol=0)


def test_default_initialisation_is_left_to_pytorch():
    policy = build(init="default")
    assert policy.policy_head.bias.any()
    assert policy.policy_head.weight.abs().max() > 0.05


def test_initial_weights_repeat_with_the_global_seed():
    same, again, other = (build(seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert not torch.equal(same["policy_head.weight"], other["policy_head.weight"])


# ── Acting ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("action_space", [DISCRETE, spaces.Box(-1, 1, (2,), np.float32)])
@hypothesis.given(split=st.integers(1, 7))
def test_actions_do_not_depend_on_how_the_batch_is_grouped(action_space, split):
    policy = build(action_space=action_space)
    observations = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    noise = policy.draw_noise(8, torch.Generator().manual_seed(2))
    whole = policy.decide(observations, noise=noise)
    for part in (slice(0, split), slice(split, 8)):
        decision = policy.decide(observations[part], noise=noise[part])
        torch.testing.assert_close(decision.actions, whole.actions[part])
        torch.testing.assert_close(decision.log_probs, whole.log_probs[part])
        torch.testing.assert_close(decision.values, whole.values[part])


@pytest.mark.parametrize("action_space", [DISCRETE, spaces.Box(-1, 1, (2, 3), np.float32)])
def test_a_decision_agrees_with_the_forward_pass(action_space):
    policy = build(action_space=action_space)
    observations = torch.randn(8, 3)
    actions, log_probs, values, *_ = policy.decide(observations, noise=policy.draw_noise(8, torch.Generator()))
    distribution, forward_values = policy(observations)
    assert actions.shape == (8, *policy.action_shape)
    assert actions.dtype == policy.action_dtype
    assert torch.equal(distribution.log_prob(actions.clone()), log_probs)
    assert torch.equal(forward_values, values)
    assert torch.equal(policy.value(observations), values)


def test_without_noise_the_most_probable_action_is_taken():
    policy = build(init="default")
    observations = torch.randn(8, 3)
    assert torch.equal(policy.decide(observations, noise=None).actions, policy(observations)[0].log_probs.argmax(-1))


def test_log_std_starts_where_it_is_set_and_is_trained():
    policy = build(action_space=spaces.Box(-1, 1, (2,), np.float32), log_std_init=-0.5)
    assert dict(policy.named_parameters())["log_std"].tolist() == [-0.5, -0.5]


def test_discrete_actions_count_from_the_start_of_their_space():
    space = spaces.Discrete(3, start=5)
    actions = build(action_space=space).env_actions(torch.tensor([0, 1, 2]))
    assert actions.tolist() == [5, 6, 7]
    assert all(action in space for action in actions)


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_continuous_actions_fit_their_space(shape, dtype):
    space = spaces.Box(-1, 0.3, shape, dtype)
    policy = build(action_space=space)
    actions = policy.env_actions(torch.full((4, *policy.action_shape), 7.0))
    assert actions.shape == (4, *shape)
    assert all(np.asarray(action) in space for action in actions)
