"""One update equals the one of Stable-Baselines3, parameter by parameter.

From the same weights and the same rollout.
"""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from ppo_tui.config import build_config
from ppo_tui.ppo import Hyperparameters, Learner, build_policy
from tests.ppo.test_learner import CPU, make_rollout

sb3 = pytest.importorskip("stable_baselines3", reason="the peers are not installed: pip install 'ppo-tui[bench]'")

VECTOR = spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACTIONS = {
    "Discrete": spaces.Discrete(4),
    "Box": spaces.Box(-9, 9, (2,), np.float32),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "MultiBinary": spaces.MultiBinary(3),
}
NAMES = {
    "actor_trunk.layers.": "mlp_extractor.policy_net.",
    "critic_trunk.layers.": "mlp_extractor.value_net.",
    "policy_head.": "action_net.",
    "value_head.": "value_net.",
}


class Spaces(gymnasium.Env):
    """No more than an observation and an action space."""

    observation_space = VECTOR

    def __init__(self, action_space: spaces.Space) -> None:
        self.action_space = action_space


def configured(*, ppo: dict, optim: dict):
    """The settings common to both vocabularies.

    Our ½ in the value loss is the factor 2 of `value_coef`.
    """
    return build_config(
        {
            "env": {"id": "None-v0"},
            "rollout": {"num_envs": 4, "steps": 16},
            "ppo": {"value_coef": 1.0} | ppo,
            "optim": optim,
        }
    )


def renamed(name: str) -> str:
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs) if name.startswith(ours) else name
    return name


def fill(model, policy, rollout) -> None:
    """Give `model` the policy's weights and the rollout's steps."""
    weights = {renamed(name): weight for name, weight in policy.state_dict().items()}
    assert not model.policy.load_state_dict(weights, strict=False).unexpected_keys
    buffer = model.rollout_buffer
    buffer.reset()
    buffer.observations[:] = rollout.frames[: rollout.num_steps].numpy()
    buffer.actions[:] = rollout.actions.numpy().reshape(buffer.actions.shape)
    for name in ("log_probs", "values", "advantages", "returns"):
        getattr(buffer, name)[:] = getattr(rollout, name).numpy()
    buffer.full = True
    # What `learn` would set up around `train`.
    model.set_logger(sb3.common.logger.Logger(None, []))


def compare(model, policy, rollout, config, monkeypatch) -> None:
    """Train both and compare every parameter."""
    rollout.compute_advantages(gamma=config.ppo.gamma, gae_lambda=config.ppo.gae_lambda)
    fill(model, policy, rollout)
    shuffling = torch.Generator().manual_seed(config.run.seed)

    def permutation(size: int) -> np.ndarray:
        """Indices in our order: t N + n for n T + t."""
        t, n = np.divmod(torch.randperm(size, generator=shuffling).numpy(), rollout.num_envs)
        return n * rollout.num_steps + t

    monkeypatch.setattr(np.random, "permutation", permutation)
    before = {name: parameter.clone() for name, parameter in policy.named_parameters()}
    model.train()
    Learner(policy, config, CPU).update(rollout, Hyperparameters.from_config(config))
    theirs = dict(model.policy.named_parameters())
    for name, parameter in policy.named_parameters():
        assert (parameter - before[name]).abs().max() > 5e-5, name
        torch.testing.assert_close(parameter, theirs[renamed(name)], rtol=0, atol=1e-5, msg=name)


@pytest.fixture
def policy_and_rollout():
    def make(config, action_space):
        torch.manual_seed(0)
        policy = build_policy(VECTOR, action_space, config.policy, frame_stack=1)
        return policy, make_rollout(policy, config)

    return make


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("normalize_advantage", [True, False])
def test_an_update_of_ppo(kind, normalize_advantage, policy_and_rollout, monkeypatch):
    """Four epochs of four minibatches, without value clipping.

    Theirs is another one: not the larger of both losses.
    """
    config = configured(
        ppo={"clip_value_loss": False, "clip_range": 0.05, "normalize_advantage": normalize_advantage},
        optim={"learning_rate": 3e-3},
    )
    policy, rollout = policy_and_rollout(config, ACTIONS[kind])
    env = sb3.common.vec_env.DummyVecEnv([lambda: Spaces(ACTIONS[kind])] * 4)
    model = sb3.PPO(
        "MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=4, learning_rate=3e-3, clip_range=0.05, ent_coef=0.01,
        normalize_advantage=normalize_advantage, device="cpu",
    )  # fmt: skip
    compare(model, policy, rollout, config, monkeypatch)


def test_a_step_of_ppo_with_value_clipping(policy_and_rollout, monkeypatch):
    """At the first step both kinds of value clipping agree.

    Nothing has moved yet.
    """
    config = configured(ppo={"clip_range": 0.1, "epochs": 1, "minibatches": 1}, optim={"learning_rate": 3e-3})
    policy, rollout = policy_and_rollout(config, ACTIONS["Discrete"])
    env = sb3.common.vec_env.DummyVecEnv([lambda: Spaces(ACTIONS["Discrete"])] * 4)
    model = sb3.PPO(
        "MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, learning_rate=3e-3, clip_range=0.1, clip_range_vf=0.1,
        ent_coef=0.01, device="cpu",
    )  # fmt: skip
    compare(model, policy, rollout, config, monkeypatch)


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize(("optimizer", "learning_rate"), [("rmsprop", 7e-4), ("rmsprop-tf", 1.0)])
def test_an_update_of_a2c(kind, optimizer, learning_rate, policy_and_rollout, monkeypatch):
    """TensorFlow's mean squares start at 1.

    That makes its first steps a thousand times as short.
    """
    a2c = {"surrogate": "none", "epochs": 1, "minibatches": 1, "normalize_advantage": False, "clip_value_loss": False}
    config = configured(ppo=a2c, optim={"name": optimizer, "learning_rate": learning_rate})
    policy, rollout = policy_and_rollout(config, ACTIONS[kind])
    env = sb3.common.vec_env.DummyVecEnv([lambda: Spaces(ACTIONS[kind])] * 4)
    from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

    tf_like = {"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": 1e-5}}
    model = sb3.A2C(
        "MlpPolicy", env, n_steps=16, learning_rate=learning_rate, ent_coef=0.01, gamma=0.99, gae_lambda=1.0,
        device="cpu", policy_kwargs=tf_like if optimizer == "rmsprop-tf" else None, use_rms_prop=optimizer == "rmsprop",
    )  # fmt: skip
    compare(model, policy, rollout, config, monkeypatch)
