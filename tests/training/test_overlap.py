"""A run whose collecting overlaps its learning is one update stale, repeats itself, and obeys like any other."""

from __future__ import annotations

import threading

import pytest
import torch

from ppo_tui import Trainer, load_preset
from ppo_tui.protocol import (
    CheckpointSaved,
    Event,
    Pause,
    Resume,
    RolloutProgress,
    RunState,
    SettingChanged,
    SetValue,
    StateChanged,
    Stop,
    UpdateFinished,
    UpdateProgress,
)
from tests.training.test_resume import check_exact, run, small, stop_at
from tests.training.test_trainer import Recorder, cartpole

OVERLAP = "run.overlap=true"


def overlapped(*overrides: str, react=lambda trainer, event: None, steps: int = 1024, **arguments):
    return run(lambda **kw: Trainer(cartpole(OVERLAP, *overrides, steps=steps), **kw, **arguments), react)


def test_each_rollout_after_the_first_was_collected_with_the_weights_of_one_update_before():
    """Replays the run in lockstep, with the weights that acted, and finds the very log-probabilities."""
    weights: list[dict[str, torch.Tensor]] = []
    rollouts = {}

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and event.t == 1 and event.update == 1:
            weights.append({name: tensor.clone() for name, tensor in trainer.policy.state_dict().items()})
        if isinstance(event, UpdateFinished):
            weights.append({name: tensor.clone() for name, tensor in trainer.policy.state_dict().items()})
            if trainer._rollouts.ahead is not None:
                rollouts[event.update + 1] = trainer._rollouts.ahead.clone()

    trainer, result, recorder = overlapped(react=react)
    assert (result.state, result.update, result.step) == (RunState.FINISHED, 4, 1024)
    assert sorted(rollouts) == [2, 3, 4]
    for update, rollout in rollouts.items():
        for age, same in ((2, True), (1, False)):  # after update − 2 and after update − 1
            trainer.policy.load_state_dict(weights[update - age])
            batch = rollout.minibatch(torch.arange(len(rollout)))
            distribution, _ = trainer.policy(batch.observations)
            close = torch.allclose(distribution.log_prob(batch.actions), batch.log_probs, atol=1e-5)
            assert close is same, (update, age)
    first, *others = (line["train/ratio_error_first"] for line in recorder.metrics)
    assert first < 1e-5, "the first rollout is the newest policy's own"
    assert all(1e-3 < error < 1.0 for error in others)


def test_the_same_seed_gives_the_same_run_whatever_the_workers():
    _, _, one = overlapped("workers.count=2", "workers.groups=1")
    _, _, other = overlapped("workers.count=4", "workers.groups=1")
    assert one.metrics == other.metrics
    assert len(one.metrics) == 4


def test_the_stream_of_events_tells_both_halves():
    _, _, recorder = overlapped()
    assert [event.step for event in recorder.of(UpdateFinished)] == [256, 512, 768, 1024]
    assert [event.step for event in recorder.of(RolloutProgress)] == list(range(8, 1025, 8)), "no rollout in vain"
    assert [event.update for event in recorder.of(UpdateProgress)] == [n for n in (1, 2, 3, 4) for _ in range(4)]
    halves = [event for event in recorder.events if isinstance(event, (RolloutProgress, UpdateFinished))]
    first_end = next(n for n, event in enumerate(halves) if isinstance(event, UpdateFinished))
    assert {event.update for event in halves[:first_end]} == {1, 2}, "the second was collected during the first update"
    for line in recorder.of(UpdateFinished):
        shares = [value for key, value in line.metrics.items() if key.startswith("time/share_")]
        assert sum(shares) == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cartpole_is_learnt_within_100k_steps(seed: int):
    result = Trainer(load_preset("cartpole", overrides=[f"run.seed={seed}", OVERLAP])).run()
    assert result.metrics["rollout/ep_rew_mean"] >= 475


@pytest.mark.parametrize(
    ("env_id", "overrides"),
    [
        ("CartPole-v1", []),
        ("Taxi-v4", ["ppo.surrogate=kl-adaptive", "optim.learning_rate_schedule=kl-adaptive"]),
        ("Pendulum-v1", ["policy.normalize_observations=true", "ppo.normalize_rewards=true"]),
        ("CartPole-v1", ["env.hide=[1, 3]", "policy.recurrent=lstm", "policy.recurrent_size=8", "ppo.minibatches=3"]),
        ("CartPole-v1", ["rollout.num_envs=1", "rollout.whole_episodes=true", "ppo.minibatches=1", "workers.count=1"]),
    ],
    ids=["plain", "adaptive", "normalised", "recurrent", "whole-episodes"],
)
def test_a_stop_while_both_are_under_way_costs_no_bit(env_id: str, overrides: list[str], tmp_path):
    """The rollout that was collected ahead is in the checkpoint."""
    after = check_exact(small(env_id, *overrides, OVERLAP), tmp_path, stop_at(4, 5))
    assert not [event for event in after.of(RolloutProgress) if event.update <= 4], "it is not collected again"


def test_breakout_goes_on_bit_for_bit(tmp_path):
    config = small("ALE/Breakout-v5", OVERLAP, "run.torch_threads=1", "ppo.epochs=1", updates=3)
    check_exact(config, tmp_path, stop_at(2, 20))


def test_a_stop_in_the_first_rollout_leaves_it_at_once(tmp_path):
    check_exact(small("CartPole-v1", OVERLAP), tmp_path, stop_at(1, 7))


def test_a_stop_that_does_not_save_abandons_the_update(tmp_path):
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and (event.update, event.t) == (3, 4):
            trainer.send(Stop(save=False, exit_code=143))

    _, result, recorder = overlapped(react=react, checkpoint_dir=tmp_path)
    assert (result.state, result.update, result.step) == (RunState.STOPPED, 1, 256)
    assert not recorder.of(CheckpointSaved)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("learner")]


def test_pause_holds_both_and_costs_no_bit():
    """Held in the middle of a rollout, the learner does no more than the minibatch that it is at."""
    seen: dict[str, object] = {}
    held = threading.Event()

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and (event.update, event.t) == (3, 2):
            trainer.send(Pause())
        if isinstance(event, StateChanged) and event.state is RunState.PAUSED:
            held.set()

    recorder = Recorder(lambda event: react(trainer, event))
    trainer = Trainer(cartpole(OVERLAP, "ppo.minibatches=64", "ppo.epochs=10"), sinks=[recorder])
    thread = threading.Thread(target=trainer.run)
    thread.start()
    assert held.wait(60)
    waiting = trainer._learning._may_go_on
    assert not waiting.is_set()
    seen["progress"] = len(recorder.events)
    trainer.send(SetValue(key="ppo.epochs", value=9))
    trainer.send(Resume())
    thread.join(60)
    assert [event.state for event in recorder.of(StateChanged)] == [
        RunState.TRAINING, RunState.PAUSED, RunState.TRAINING, RunState.FINISHED,
    ]  # fmt: skip
    assert [event.update for event in recorder.of(SettingChanged)] == [2], "at the boundary of the update under way"
