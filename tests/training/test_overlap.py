"""A run whose collecting overlaps its learning is one update stale, repeats itself, and obeys like any other."""

from __future__ import annotations

import threading

import pytest
import torch

from ppo_tui import Trainer, load_preset
from ppo_tui.errors import ConfigError
from ppo_tui.protocol import (
    CheckpointSaved,
    Event,
    Pause,
    Resume,
    Rewind,
    Rewound,
    RolloutProgress,
    RunState,
    SaveCheckpoint,
    SettingChanged,
    SetValue,
    StateChanged,
    StepUpdates,
    Stop,
    UpdateFinished,
    UpdateProgress,
)
from tests.faults.conftest import faulty
from tests.faults.test_workers import at_step, check_same, kill
from tests.training.checkpoint.test_resume import check_exact, run, small, stop_at
from tests.training.test_trainer import Recorder, cartpole

OVERLAP = "run.overlap=true"


def overlapped(*overrides: str, react=lambda trainer, event: None, **arguments):
    return run(lambda **kw: Trainer(cartpole(OVERLAP, *overrides), **kw, **arguments), react)


def test_each_rollout_after_the_first_was_collected_with_the_weights_of_one_update_before():
    """Replays the run in lockstep, with the weights that acted, and finds the very log-probabilities."""
    weights: list[dict[str, torch.Tensor]] = []
    rollouts = {}

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and event.t == 1 and event.update == 1:
            weights.append({name: tensor.clone() for name, tensor in trainer.policy.state_dict().items()})
        if isinstance(event, UpdateFinished):
            weights.append({name: tensor.clone() for name, tensor in trainer.policy.state_dict().items()})
            if trainer.engine.rollouts.ahead is not None:
                rollouts[event.update + 1] = trainer.engine.rollouts.ahead.clone()

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
        (
            "Pendulum-v1",
            ["policy.normalize_observations=true", "ppo.normalize_rewards=true", "ppo.normalize_values=true"],
        ),
        ("CartPole-v1", ["env.hide=[1, 3]", "policy.recurrent=lstm", "policy.recurrent_size=8", "ppo.minibatches=3"]),
        ("CartPole-v1", ["rollout.num_envs=1", "rollout.whole_episodes=true", "ppo.minibatches=1", "workers.count=1"]),
    ],
    ids=["plain", "adaptive", "normalised", "recurrent", "whole-episodes"],
)
def test_a_stop_while_both_are_under_way_costs_no_bit(env_id: str, overrides: list[str], tmp_path):
    """The rollout that was collected ahead is in the checkpoint."""
    after = check_exact(small(env_id, *overrides, OVERLAP), tmp_path, stop_at(4, 5))
    assert not [event for event in after.of(RolloutProgress) if event.update <= 4], "it is not collected again"


@pytest.mark.slow
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


def test_pause_holds_both_halves_and_an_edit_waits_for_the_boundary():
    held = threading.Event()

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and (event.update, event.t) == (3, 2):
            trainer.send(Pause())
        if isinstance(event, StateChanged) and event.state is RunState.PAUSED:
            held.set()

    recorder = Recorder(lambda event: react(trainer, event))
    trainer = Trainer(cartpole(OVERLAP), sinks=[recorder])
    thread = threading.Thread(target=trainer.run)
    thread.start()
    assert held.wait(60)
    assert not recorder.of(UpdateFinished)[1:], "the second update is held too"
    trainer.send(SetValue(key="ppo.epochs", value=2))
    trainer.send(Resume())
    thread.join(60)
    states = [event.state for event in recorder.of(StateChanged)]
    assert states == [RunState.TRAINING, RunState.PAUSED, RunState.TRAINING]
    assert [event.update for event in recorder.of(SettingChanged)] == [2], "at the boundary of the update under way"
    _, _, unpaused = overlapped()
    assert recorder.metrics[:2] == unpaused.metrics[:2]


def test_stepping_pauses_at_a_boundary_with_nothing_under_way():
    pauses = []

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and (event.update, event.t) == (1, 1):
            trainer.send(StepUpdates(updates=2))
        if isinstance(event, StateChanged) and event.state is RunState.PAUSED:
            pauses.append((trainer.update, trainer.engine._learning.under_way))
            trainer.send(Resume())

    overlapped(react=react)
    assert pauses == [(2, False)]


def test_going_back_takes_the_rollout_ahead_along(tmp_path):
    """After a rewind the same updates follow as did the first time; commands wait for the next boundary but one."""

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update == 1:
            trainer.send(SaveCheckpoint())
        if isinstance(event, UpdateFinished) and event.update == 3 and not recorder.of(Rewound):
            trainer.send(Rewind(path="step-000000000512"))

    recorder = Recorder(lambda event: react(trainer, event))
    trainer = Trainer(cartpole(OVERLAP), sinks=[recorder], checkpoint_dir=tmp_path)
    assert trainer.run().state is RunState.FINISHED
    assert [event.update for event in recorder.of(UpdateFinished)] == [1, 2, 3, 4, 3, 4]
    assert recorder.metrics[4:] == recorder.metrics[2:4]


@pytest.mark.parametrize("update", [1, 3])
def test_a_killed_worker_costs_no_bit(update: int):
    check_same(faulty(OVERLAP), at_step(update, 9, kill(1)))


def test_a_failure_in_one_half_ends_the_other(tmp_path):
    def react(trainer: Trainer, event: Event) -> None:
        at_step(3, 5, kill(0))(trainer, event)

    _, result, recorder = overlapped("workers.max_restarts=0", react=react, checkpoint_dir=tmp_path)
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert "killed by SIGKILL" in result.reason
    assert [event.reason for event in recorder.of(CheckpointSaved)] == ["failure"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("learner")]


def test_a_learner_that_fails_in_its_thread_fails_the_run():
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and (event.update, event.t) == (1, 1):
            trainer.engine.learner.policy.register_forward_hook(explode)

    def explode(*arguments: object) -> None:
        if threading.current_thread().name.startswith("learner"):
            raise ValueError("out of luck")

    _, result, recorder = overlapped(react=react)
    assert (result.state, result.exit_code, result.update) == (RunState.FAILED, 3, 0)
    assert "out of luck" in result.reason
    assert "explode" in recorder.events[-1].details


def test_a3c_whose_workers_always_do_so_refuses_it():
    with pytest.raises(ConfigError, match="run.overlap = true"):
        load_preset("a3c-cartpole", overrides=[OVERLAP])
