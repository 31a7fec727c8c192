"""Each algorithm, action space and network together: trained, or refused with reasons."""

import itertools

import hypothesis
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from ppo_tui.config import build_config
from ppo_tui.errors import ConfigError
from ppo_tui.ppo import MLP, Hyperparameters, ImpalaCNN, Learner, build_policy
from tests.ppo.test_learner import CPU, make_rollout, weights_of

ALGORITHMS = {
    "ppo": {},
    "ppo-kl": {"surrogate": "kl"},
    "ppo-kl-adaptive": {"surrogate": "kl-adaptive"},
    "ppo-dual-clip-huber": {"dual_clip": 3.0, "huber_delta": 1.0, "clip_range_upper": 0.3},
    "spo": {"surrogate": "spo"},
    "a2c": {"surrogate": "none", "epochs": 1, "minibatches": 1, "normalize_advantage": False},
}
ACTIONS = {
    "discrete": (spaces.Discrete(3, start=2), {}),
    "multi-discrete": (spaces.MultiDiscrete([2, 3]), {}),
    "multi-binary": (spaces.MultiBinary(3), {}),
    "box": (spaces.Box(-1, 2, (2,), np.float32), {}),
    "box-squashed": (spaces.Box(-1, 2, (2,), np.float32), {"squash_actions": True}),
}
VECTOR, IMAGE = spaces.Box(-1, 1, (3,), np.float32), spaces.Box(0, 255, (36, 36), np.uint8)
NETWORKS = {
    "mlp": (VECTOR, {"network": "mlp", "hidden": [8]}),
    "mlp-shared-normalized": (VECTOR, {"hidden": [8], "shared": True, "normalize_observations": True}),
    "nature-cnn": (IMAGE, {"network": "nature-cnn"}),
    "impala-normalized": (IMAGE, {"network": "impala", "layer_norm": True}),
    "custom": (VECTOR, {"network": "tests.ppo.test_combinations:Recorded", "shared": False}),
}


class Recorded(nn.Module):
    """A network of a user's own."""

    def __init__(self, observation_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.observation_shape = observation_shape
        self.num_features = 7
        self.layer = nn.Linear(int(np.prod(observation_shape)), 7)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.layer(observations.float().flatten(1)).tanh()


class Wrong(Recorded):
    """Promises more features than it gives."""

    def __init__(self, observation_shape: tuple[int, ...]) -> None:
        super().__init__(observation_shape)
        self.num_features = 8


def configured(algorithm: str, actions: str, network: str):
    small = {"epochs": 2, "minibatches": 2} | ALGORITHMS[algorithm]
    return build_config(
        {
            "env": {"id": "None-v0", "frame_stack": 2 if NETWORKS[network][0] is IMAGE else 1},
            "rollout": {"num_envs": 2, "steps": 4},
            "policy": NETWORKS[network][1] | ACTIONS[actions][1],
            "ppo": small,
            "optim": {"name": "rmsprop" if algorithm == "a2c" else "adam"},
        }
    )


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("algorithm", "actions"), itertools.product(ALGORITHMS, ACTIONS))
def test_it_trains(algorithm, actions, network):
    """Three updates: finite, from a first ratio of 1, moving the weights.

    The environment knows the actions.
    """
    config, space, action_space = configured(algorithm, actions, network), NETWORKS[network][0], ACTIONS[actions][0]
    stack = config.env.frame_stack
    torch.manual_seed(0)
    policy = build_policy(space, action_space, config.policy, frame_stack=stack)
    learner = Learner(policy, config, CPU)
    before = weights_of(policy)
    for seed in range(3):
        rollout = make_rollout(policy, config, space, frame_stack=stack, seed=seed)
        metrics = learner.update(rollout, Hyperparameters.from_config(config))
        assert metrics["train/nonfinite"] == 0
        assert metrics["train/ratio_error_first"] < 1e-4
        assert all(value == value for value in metrics.values())
    assert all((weight != before[name]).any() for name, weight in policy.named_parameters())
    assert all(action in action_space for action in policy.env_actions(rollout.actions[0]))


@hypothesis.given(u=hypothesis.strategies.lists(hypothesis.strategies.floats(-50, 50), min_size=2, max_size=2))
def test_squashed_actions_fill_their_bounds_and_stay_inside(u):
    space = spaces.Box(np.float32([-1, 0]), np.float32([2, 0.1]))
    policy = build_policy(VECTOR, space, configured("ppo", "box-squashed", "mlp").policy, frame_stack=1)
    (action,) = policy.env_actions(torch.tensor([u]))
    assert action in space
    np.testing.assert_allclose(action, space.low + (np.tanh(u) + 1) / 2 * (space.high - space.low), atol=1e-6)


def test_the_impala_network_has_fifteen_convolutions_on_images_of_any_shape():
    config = build_config({"env": {"id": "None-v0"}, "policy": {"network": "impala"}}).policy
    for shape in ((84, 84), (3, 64, 48), (33, 47, 3)):
        space = spaces.Box(0, 255, shape, np.uint8)
        policy = build_policy(space, spaces.Discrete(3), config, frame_stack=4)
        assert isinstance(policy.actor_trunk, ImpalaCNN)
        assert policy.critic_trunk is None
        assert sum(isinstance(module, nn.Conv2d) for module in policy.modules()) == 15
        pixels = torch.randint(0, 256, (2, 4, *shape), dtype=torch.uint8)
        assert policy(pixels)[1].shape == (2,)
    # Espeholt et al.'s network for four 84×84 frames: 11 × 11 × 32 numbers go into 256.
    policy = build_policy(spaces.Box(0, 255, (84, 84), np.uint8), spaces.Discrete(3), config, frame_stack=4)
    assert policy.actor_trunk.linear[0].in_features == 11 * 11 * 32


@pytest.mark.parametrize(
    ("activation", "layer"),
    [("tanh", nn.Tanh), ("relu", nn.ReLU), ("silu", nn.SiLU), ("elu", nn.ELU), ("gelu", nn.GELU)],
)
def test_activations_are_those_that_are_named(activation, layer):
    trunk = MLP(3, [4, 4], activation)
    assert sum(isinstance(module, layer) for module in trunk.layers) == 2


def test_a_network_of_ones_own_gets_the_shape_with_its_stack_and_is_shared_by_default():
    config = configured("ppo", "discrete", "custom").policy
    policy = build_policy(IMAGE, spaces.Discrete(3), config, frame_stack=4)
    assert type(policy.actor_trunk).__name__ == "Recorded"
    assert policy.actor_trunk.observation_shape == (4, 36, 36)
    assert policy.critic_trunk is not policy.actor_trunk


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("no_such_module:Net", ["no_such_module", "cannot be imported"]),
        ("tests.ppo.test_combinations:Nett", ["has no 'Nett'"]),
        ("tests.ppo.test_combinations:Wrong", ["(2, 7)", "(2, 8)"]),
        ("tests.ppo.test_combinations:configured", ["cannot be used", "missing 2 required"]),
        ("builtins:len", ["cannot be used"]),
    ],
)
def test_a_network_that_cannot_be_used_is_refused_with_the_contract(network, words):
    config = build_config({"env": {"id": "None-v0"}, "policy": {"network": network}}).policy
    with pytest.raises(ConfigError) as refusal:
        build_policy(VECTOR, spaces.Discrete(3), config, frame_stack=1)
    assert all(word in refusal.value.message for word in words)
    assert network in refusal.value.message


@pytest.mark.parametrize(
    ("observations", "actions", "policy", "words"),
    [
        (IMAGE, spaces.Discrete(3), {"normalize_observations": True}, "images"),
        (VECTOR, spaces.Discrete(3), {"squash_actions": True}, "no bounds"),
        (VECTOR, spaces.Box(-np.inf, np.inf, (2,)), {"squash_actions": True}, "no bounds"),
        (VECTOR, spaces.Discrete(3), {"network": "impala"}, "at least 8×8"),
        (spaces.Box(0, 255, (19, 84), np.uint8), spaces.Discrete(3), {"network": "nature-small"}, "at least 20×20"),
    ],
)
def test_what_does_not_go_together_is_refused(observations, actions, policy, words):
    config = build_config({"env": {"id": "None-v0"}, "policy": policy}).policy
    with pytest.raises(ConfigError, match=words) as refusal:
        build_policy(observations, actions, config, frame_stack=1)
    assert refusal.value.hint
