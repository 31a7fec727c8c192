"""Values of a rollout by the present weights, on rollouts of real environments."""

from __future__ import annotations

import contextlib

import pytest
import torch

from ppo_tui import Trainer, load_preset
from ppo_tui.errors import ConfigError
from ppo_tui.ppo.revaluation import revalued
from tests.training.checkpoint.test_resume import check_exact, small, stop_at

AGAIN = "ppo.recompute_advantages=true"
SHORT = "env.kwargs={max_episode_steps=7}"
"""Episodes of CartPole that nearly all end by truncation."""


@pytest.mark.parametrize(
    ("env_id", "overrides"),
    [
        ("CartPole-v1", [SHORT, "env.frame_stack=3", "policy.normalize_observations=true"]),
        ("CartPole-v1", [SHORT, "policy.recurrent=lstm", "policy.recurrent_size=8", "ppo.minibatches=3"]),
        ("CartPole-v1", [SHORT, "policy.recurrent=gru", "policy.shared=true", "ppo.minibatches=3"]),
        (
            "CartPole-v1",
            ["rollout.num_envs=1", "rollout.whole_episodes=true", "ppo.minibatches=1", "workers.count=1", SHORT],
        ),
        ("ALE/Breakout-v5", ["env.atari.max_frames=60", "env.atari.noop_max=8", "rollout.steps=20"]),
    ],
    ids=["stacked", "lstm", "gru-shared", "whole-episodes", "breakout"],
)
def test_the_weights_that_acted_give_the_values_of_acting(env_id: str, overrides: list[str]):
    """In the second rollout, whose first frames and states are left from another one."""
    config = small(env_id, *overrides, AGAIN)
    with contextlib.closing(Trainer(config)) as trainer:
        rollouts = trainer.engine.rollouts
        rollouts.reset()
        rollouts.next(0, 1, lambda: None).carry_over()
        rollout = rollouts.next(0, 2, lambda: None)
    truncated = rollout.truncations & ~rollout.terminations
    assert truncated.any()
    assert len(rollout.kept_final_steps()) == truncated.sum()
    present = revalued(rollout, trainer.policy, parts=config.ppo.minibatches)
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(present.values, rollout.values, **close)
    torch.testing.assert_close(present.last_values, rollout.last_values, **close)
    torch.testing.assert_close(present.final_values, rollout.final_values, **close)
    assert rollout.final_values[truncated].abs().min() > 0

    with torch.no_grad():
        trainer.policy.value_head.bias += 1.0
    moved = revalued(rollout, trainer.policy, parts=1)
    torch.testing.assert_close(moved.values, rollout.values + 1.0, **close)
    torch.testing.assert_close(moved.last_values, rollout.last_values + 1.0, **close)
    torch.testing.assert_close(moved.final_values, rollout.final_values + truncated.float(), **close)

    # The rollout ahead of a checkpoint comes back whole, and without frames it keeps its values.
    again = rollout.with_experience({name: tensor.clone() for name, tensor in rollout.experience_dict().items()})
    torch.testing.assert_close(revalued(again, trainer.policy, parts=1), moved, rtol=0, atol=0)
    again.final_frames = {}
    torch.testing.assert_close(revalued(again, trainer.policy, parts=1).final_values, rollout.final_values)
    rollout.carry_over()
    assert not len(rollout.kept_final_steps())


@pytest.mark.parametrize(
    "overrides",
    [
        ["run.overlap=true"],
        pytest.param(["policy.recurrent=lstm", "policy.recurrent_size=8", "ppo.minibatches=3"], marks=pytest.mark.slow),
    ],
    ids=["ahead", "recurrent"],
)
def test_a_stop_costs_no_bit(overrides: list[str], tmp_path):
    """The final frames of a rollout ahead are in the checkpoint."""
    check_exact(small("CartPole-v1", SHORT, AGAIN, *overrides), tmp_path, stop_at(4, 5))


def test_nothing_is_kept_by_default_and_one_epoch_is_refused():
    with contextlib.closing(Trainer(small("CartPole-v1", SHORT))) as trainer:
        assert trainer.engine.rollouts.buffer.final_frames is None
    for preset in ("a2c-cartpole", "a3c-cartpole"):
        with pytest.raises(ConfigError, match=r"ppo\.recompute_advantages = true: ppo\.epochs = 1"):
            load_preset(preset, overrides=[AGAIN])
