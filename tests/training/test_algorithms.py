"""Algorithms, masks and normalisation through the whole engine: workers, rollout, learner, checkpoint."""

from __future__ import annotations

import copy

import gymnasium
import numpy as np
import pytest
import torch

from ppo_tui import Trainer, load_policy, load_preset
from ppo_tui.config import Config, build_config, list_presets
from ppo_tui.errors import ConfigError
from ppo_tui.protocol import EpisodeFinished, Event, RolloutProgress, UpdateFinished
from ppo_tui.training.hub import FunctionSink


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
    rollout = trainer.engine.rollouts.buffer
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


@pytest.mark.parametrize("groups", [1, 2])
def test_a_truncated_step_is_valued_with_what_was_remembered_then(groups):
    """CartPole cut off after five steps: V(final observation), after the memory of all five."""
    config = small(
        "CartPole-v1",
        env={"id": "CartPole-v1", "kwargs": {"max_episode_steps": 5}},
        rollout={"num_envs": 2, "steps": 8},
        workers={"count": 2, "groups": groups},
        policy={"recurrent": "lstm", "shared": False},
        ppo={"epochs": 1, "minibatches": 1},
        run={"total_steps": 16},
    )

    class Look:
        def emit(self, event: Event) -> None:
            if isinstance(event, RolloutProgress) and event.t == 8:
                self.states = trainer.engine.rollouts.buffer.states.clone()
                self.last = trainer.engine.pool.shared.final_observations.copy()
            if isinstance(event, UpdateFinished):
                self.metrics = event.metrics

    look = Look()
    trainer = Trainer(config, sinks=[look])
    policy, rollout = copy.deepcopy(trainer.policy), trainer.engine.rollouts.buffer
    final_values = rollout.final_values
    kept: list[torch.Tensor] = []
    rollout.compute_advantages = lambda **kw: (
        kept.append(final_values.clone()),
        type(rollout).compute_advantages(rollout, **kw),
    )
    trainer.run().raise_if_failed()
    after = policy.decide(rollout.frames[4], noise=None, states=look.states[4]).states
    assert look.states[5].abs().max() == 0, "the next episode remembers nothing"
    torch.testing.assert_close(kept[0][4], policy.value(torch.from_numpy(look.last), after))
    assert kept[0].count_nonzero() == 2


@pytest.mark.slow
def test_a_pole_whose_velocity_is_hidden_is_balanced_by_those_who_remember():
    def last_return(*overrides: str) -> float:
        trainer = Trainer(load_preset("cartpole-masked", overrides=["run.total_steps=40_000", *overrides]))
        return trainer.run().metrics["rollout/ep_rew_mean"]

    assert last_return() > 2 * last_return("policy.recurrent=none")


def test_a_saved_policy_normalises_as_it_did_when_it_was_trained(tmp_path):
    """Its values are those that were learnt, in the units of the rewards."""
    normalized = {"policy": {"normalize_observations": True}, "ppo": {"normalize_values": True}}
    trainer, _ = trained(small("Pendulum-v1", **normalized))
    policy = load_policy(trainer.save(tmp_path / "policy"))
    observations = trainer.engine.rollouts.buffer.step_frames()[:5]
    assert policy.normalizer.count == 3 * 192
    assert torch.equal(policy.value(observations), trainer.policy.value(observations))
    assert policy.value_normalizer.mean < -5, "a pendulum that hangs costs about 10 a step"
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
    assert trainer.engine.metrics.episodes.total >= 10


class TestWholeEpisodes:
    def test_every_update_learns_from_exactly_one_episode(self):
        kept: dict[type, list] = {EpisodeFinished: [], UpdateFinished: []}
        config = load_preset("cartpole-tutorial", overrides=["run.max_episodes=12"])
        trainer = Trainer(config, sinks=[FunctionSink(lambda event: kept.get(type(event), []).append(event))])
        result = trainer.run()
        assert result.reason == f"{trainer.step:,} steps done"
        episodes, updates = kept.values()
        lengths = [episode.length for episode in episodes]
        assert len(lengths) == 12
        assert len(set(lengths)) > 3
        assert [event.step for event in updates] == np.cumsum(lengths).tolist()
        assert [event.step for event in episodes] == np.cumsum(lengths).tolist()
        assert all(event.metrics["train/ratio_error_first"] < 1e-4 for event in updates)

    def test_an_episode_longer_than_a_rollout_goes_on_in_the_next_one(self):
        config = small(
            "Pendulum-v1",  # 200 steps an episode
            rollout={"num_envs": 1, "steps": 80, "whole_episodes": True},
            ppo={"minibatches": 1},
            run={"total_steps": 600},
        )
        _, metrics = trained(config)
        assert [line["train/n_updates"] // 4 for line in metrics] == list(range(1, 10))
        assert "rollout/ep_len_mean" not in metrics[1]
        assert [line.get("rollout/ep_len_mean") for line in metrics[2:]] == [200.0] * 7

    @pytest.mark.parametrize(("key", "value"), [("num_envs", 2), ("minibatches", 4)])
    def test_what_it_cannot_be_combined_with_is_refused(self, key, value):
        with pytest.raises(ConfigError, match=f"whole_episodes = true.*{key} = {value}") as refusal:
            small(
                "CartPole-v1",
                rollout={"num_envs": value if key == "num_envs" else 1, "steps": 8, "whole_episodes": True},
                ppo={"minibatches": value if key == "minibatches" else 1},
            )
        assert f"{key} = 1" in refusal.value.hint


@pytest.mark.parametrize("preset", [name for name in list_presets() if load_preset(name).env.atari])
def test_every_atari_preset_names_its_protocol(preset):
    """Sticky actions, lives and clipping decide what a score means: they are written down and not left to defaults."""
    from ppo_tui.config import preset_path, read_preset

    named = read_preset(preset_path(preset))["env"]["atari"]
    assert {"sticky_actions", "life_loss", "clip_reward", "noop_max", "fire_reset", "frame_skip"} <= named.keys()
