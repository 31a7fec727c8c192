"""Algorithms, masks and normalisation through the whole engine: workers, rollout, learner, checkpoint."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from ppo_tui import Trainer, load_policy, load_preset
from ppo_tui.config import Config, build_config, list_presets
from ppo_tui.protocol import Event, UpdateFinished


class Metrics:
    """Keeps those of each update that no clock decides."""

    def __init__(self) -> None:
        self.lines: list[dict] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, UpdateFinished):
            self.lines.append({key: value for key, value in event.metrics.items() if not key.startswith("time/")})


def small(env_id: str, **sections: dict) -> Config:
    base = {"env": {"id": env_id}, "rollout": {"num_envs": 6, "steps": 32}, "run": {"total_steps": 3 * 192}}
    return build_config(base | sections)


def trained(config: Config) -> tuple[Trainer, list[dict]]:
    metrics = Metrics()
    trainer = Trainer(config, sinks=[metrics])
    trainer.run().raise_if_failed()
    return trainer, metrics.lines


def test_taxi_never_takes_an_action_that_it_masks():
    """Gymnasium's Taxi says in its info which actions would do something."""
    trainer, metrics = trained(small("Taxi-v4"))
    rollout = trainer.rollout
    # `carry_over` has moved the last rows to the front; those of the steps are where they were, but for the first.
    masks, actions = rollout.masks[1:-1], rollout.actions[1:]
    assert not masks.all()
    assert masks.gather(-1, actions.unsqueeze(-1)).all()
    assert all(line["train/ratio_error_first"] < 1e-4 for line in metrics)
    states = rollout.frames[1:-1].argmax(-1)
    taxi = gymnasium.make("Taxi-v4").unwrapped
    for state, mask in zip(states.flatten().tolist(), masks.flatten(0, 1).numpy(), strict=True):
        np.testing.assert_array_equal(mask, taxi.action_mask(state))


@pytest.mark.parametrize(
    ("env_id", "sections"),
    [
        ("Taxi-v4", {}),
        ("Pendulum-v1", {"policy": {"normalize_observations": True}, "ppo": {"normalize_rewards": True}}),
        ("CartPole-v1", {"ppo": {"surrogate": "kl-adaptive"}}),
    ],
)
def test_the_same_seed_gives_the_same_run_whatever_the_workers(env_id, sections):
    one, two = ({"workers": {"count": count, "groups": groups}} for count, groups in ((1, 1), (3, 1)))
    assert trained(small(env_id, **sections, **one))[1] == trained(small(env_id, **sections, **two))[1]


def test_a_saved_policy_normalises_as_it_did_when_it_was_trained(tmp_path):
    trainer, _ = trained(small("Pendulum-v1", policy={"normalize_observations": True}))
    policy = load_policy(trainer.save(tmp_path / "policy"))
    observations = trainer.rollout.step_frames()[:5]
    assert policy.normalizer.count == 3 * 192
    assert torch.equal(policy.value(observations), trainer.policy.value(observations))
    assert not torch.equal(policy.normalizer(observations), observations)


def test_normalised_rewards_are_reported_raw():
    """A pendulum cannot do better than 0 or worse than −16.3 a step; normalised, 200 steps come to far less."""
    _, metrics = trained(
        small("Pendulum-v1", ppo={"normalize_rewards": True}, run={"total_steps": 2 * 6 * 128}, rollout={"num_envs": 6})
    )
    assert -3300 < metrics[-1]["rollout/ep_rew_mean"] < -300


def test_a_run_can_end_with_its_episodes():
    """After the update in which the tenth one ended."""
    config = small("CartPole-v1", run={"total_steps": 100_000, "max_episodes": 10})
    trainer, metrics = trained(config)
    assert trainer.update == len(metrics) < 20
    assert trainer._episodes.total >= 10


@pytest.mark.parametrize("preset", [name for name in list_presets() if load_preset(name).env.atari])
def test_every_atari_preset_names_its_protocol(preset):
    """Sticky actions, lives and clipping decide what a score means: they are written down and not left to defaults."""
    from ppo_tui.config import preset_path, read_preset

    named = read_preset(preset_path(preset))["env"]["atari"]
    assert {"sticky_actions", "life_loss", "clip_reward", "noop_max", "fire_reset", "frame_skip"} <= named.keys()
