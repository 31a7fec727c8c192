"""Every metric of a run has a card."""

from __future__ import annotations

import pytest

from ppo_tui import Trainer, load_preset
from ppo_tui.explanations import METRICS, absence
from ppo_tui.protocol import UpdateFinished
from tests.training.test_trainer import Recorder

SMALL = ("rollout.num_envs=4", "rollout.steps=64", "policy.hidden=[8]", "workers.count=1", "run.total_steps=512")


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        (
            "pendulum",
            ["ppo.surrogate=kl-adaptive", "ppo.entropy_coef_schedule=linear", "ppo.value_coef_schedule=linear"],
        ),
        ("cartpole", ["ppo.clip_range_upper=0.28", "optim.learning_rate_schedule=kl-adaptive"]),
    ],
)
def test_every_metric_that_a_run_writes_is_explained(preset: str, overrides: list[str]):
    recorder = Recorder()
    Trainer(load_preset(preset, overrides=[*SMALL, *overrides]), sinks=[recorder]).run()
    written = {key for event in recorder.of(UpdateFinished) for key in event.metrics}
    assert {"train/approx_kl", "train/grad_norm", "time/share_wait"} < written
    assert written <= set(METRICS)


def test_the_keys_of_evaluations_are_explained():
    keys = ("ep_rew_mean", "ep_rew_std", "ep_rew_low", "ep_rew_high", "ep_len_mean", "episodes", "limited_episodes")
    assert {f"eval/{key}" for key in (*keys, "total_timesteps")} <= set(METRICS)


def test_nothing_is_absent_before_a_run_has_begun():
    class Nothing:
        def configured(self, key):
            return None

        setting = configured

    assert not any(absence(key, Nothing()) for key in METRICS)
