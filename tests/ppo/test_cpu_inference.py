"""Acting with packed weights: the decisions of the plain layers.

Always with the present weights.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces

from ppo_tui.config import Config, load_preset
from ppo_tui.ppo import ActorCritic, cpu_inference
from ppo_tui.ppo.policy import build_policy
from ppo_tui.training.trainer import Trainer

TOLERANCE = {"float32": 1e-5, "bf16": 0.0}
"""A packed layer may add in another order; what autocast rounds, it rounds to the same bits."""


def atari_policy(precision: str, network: str, **overrides: str) -> ActorCritic:
    settings = [f"policy.precision={precision}", f"policy.network={network}"]
    config = load_preset("breakout", overrides=settings + [f"{key}={value}" for key, value in overrides.items()])
    space = spaces.Box(0, 255, (84, 84), np.uint8)
    policy = build_policy(space, spaces.Discrete(4), config.policy, frame_stack=4, seed=1)
    return policy.to(memory_format=torch.channels_last)


def frames(batch: int) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 4, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(batch))


def values(policy: ActorCritic) -> torch.Tensor:
    return policy.value(frames(3)).clone()


@pytest.fixture(autouse=True)
def _processor_that_packs() -> None:
    if not cpu_inference.can_pack(torch.float32):
        pytest.skip("this build of PyTorch has no oneDNN: nothing is packed")


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(
    ("network", "layer_norm"),
    [("nature-cnn", "false"), ("impala", "true"), ("a3c-cnn", "false"), ("nature-small", "true")],
)
def test_decisions_are_those_of_the_layers_themselves(
    network: str, layer_norm: str, precision: str, monkeypatch: pytest.MonkeyPatch
):
    """The first batch decides the layout; the others are as right."""
    if precision == "bf16" and not cpu_inference.can_pack(torch.bfloat16):
        pytest.skip("this processor has no arithmetic in bfloat16")
    policy = atari_policy(precision, network, **{"policy.layer_norm": layer_norm})
    computed: list[int] = []
    compute = cpu_inference._PackedConvolution._compute
    monkeypatch.setattr(
        cpu_inference._PackedConvolution,
        "_compute",
        lambda layer, inputs, weight: (computed.append(len(inputs)), compute(layer, inputs, weight))[1],
    )
    close = {"rtol": TOLERANCE[precision], "atol": TOLERANCE[precision]}
    with policy.unchanged():
        decisions = [policy.decide(frames(batch), noise=None) for batch in (4, 1, 7, 64)]
    assert set(computed) == {4, 1, 7, 64}
    for batch, decision in zip((4, 1, 7, 64), decisions, strict=True):
        plain = policy.decide(frames(batch), noise=None)
        torch.testing.assert_close(decision.values, plain.values, **close)
        torch.testing.assert_close(decision.log_probs, plain.log_probs, **close)


def test_separate_trunks_are_packed_both():
    policy = atari_policy("float32", "nature-cnn", **{"policy.shared": "false"})
    with policy.unchanged():
        decision = policy.decide(frames(2), noise=None)
    torch.testing.assert_close(decision.values, policy.decide(frames(2), noise=None).values, rtol=1e-5, atol=1e-5)


def test_what_is_learnt_holds_from_the_next_rollout_on():
    policy = atari_policy("float32", "nature-cnn")
    with policy.unchanged():
        before = values(policy)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.data.mul_(1.1)
    after = values(policy)
    assert not torch.allclose(after, before)
    with policy.unchanged():
        torch.testing.assert_close(values(policy), after, rtol=1e-5, atol=1e-5)


def test_gradients_flow_and_copies_are_made_while_weights_are_packed():
    policy = atari_policy("float32", "nature-cnn")
    with policy.unchanged():
        values(policy)
        _, learnt_from = policy(frames(2))
        learnt_from.sum().backward()
        twin = copy.deepcopy(policy)
    assert all(parameter.grad is not None for parameter in policy.actor_trunk.parameters())
    assert torch.equal(values(twin), values(policy))


def test_without_packing_a_run_learns_from_the_same_episodes(monkeypatch: pytest.MonkeyPatch):
    """Without packing, a run differs by rounding alone."""

    def train() -> tuple[list, dict]:
        trainer = Trainer(small_breakout())
        trainer.run()
        return trainer.engine.rollouts.buffer.actions.tolist(), trainer.policy.state_dict()

    actions, weights = train()
    monkeypatch.setattr("ppo_tui.ppo.policy.can_pack", lambda dtype: False)
    plain_actions, plain_weights = train()
    assert actions == plain_actions
    for name, weight in weights.items():
        torch.testing.assert_close(weight, plain_weights[name], rtol=1e-3, atol=1e-4)


def small_breakout() -> Config:
    overrides = ["rollout.num_envs=2", "rollout.steps=16", "ppo.epochs=1", "run.total_steps=64", "workers.count=1"]
    return load_preset("breakout", overrides=overrides)


def test_an_operator_that_is_missing_or_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch):
    for broken in (AttributeError, RuntimeError, NotImplementedError):
        cpu_inference.can_pack.cache_clear()

        def refuse(*arguments: object, error: type[Exception] = broken) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(cpu_inference._PackedLinear, "_compute", refuse)
            assert not cpu_inference.can_pack(torch.float32)
    cpu_inference.can_pack.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(cpu_inference._PackedLinear, "_compute", lambda self, inputs, weight: inputs[:, :2])
        assert not cpu_inference.can_pack(torch.float32)
    cpu_inference.can_pack.cache_clear()
    assert cpu_inference.can_pack(torch.float32)


PRIVATE_OPERATORS = (
    "_is_mkldnn_bf16_supported",
    "_reorder_convolution_weight",
    "_convolution_pointwise",
    "_reorder_linear_weight",
    "_linear_pointwise",
)


class OperatorsWithout:
    """`torch.ops.mkldnn` without one of its operators."""

    def __init__(self, missing: str) -> None:
        self._library, self._missing = torch.ops.mkldnn, missing

    def __getattr__(self, name: str) -> object:
        if name == self._missing:
            raise AttributeError(name)
        return getattr(self._library, name)


@pytest.mark.parametrize("missing", PRIVATE_OPERATORS)
def test_without_a_private_operator_the_policy_decides_the_same_by_its_plain_layers(
    missing: str, monkeypatch: pytest.MonkeyPatch
):
    policy = atari_policy("float32", "nature-cnn")
    with policy.unchanged():
        assert policy._packed
        expected = policy.decide(frames(4), noise=None)
    monkeypatch.setattr(torch.ops, "mkldnn", OperatorsWithout(missing))
    monkeypatch.setattr(cpu_inference, "_OPERATORS", cpu_inference._load_operators())
    cpu_inference.can_pack.cache_clear()
    try:
        with policy.unchanged():
            assert not policy._packed
            decision = policy.decide(frames(4), noise=None)
    finally:
        cpu_inference.can_pack.cache_clear()
    assert decision.actions.equal(expected.actions)
    torch.testing.assert_close(decision.log_probs, expected.log_probs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(decision.values, expected.values, rtol=1e-5, atol=1e-5)
