"""The trainer obeys commands, repeats itself bit for bit, and says everything in events."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ppo_tui import Trainer, load_policy, load_preset
from ppo_tui.protocol import (
    Alarm,
    CheckpointSaved,
    CommandRefused,
    EpisodeFinished,
    Event,
    Pause,
    Resume,
    RolloutProgress,
    RunFinished,
    RunStarted,
    RunState,
    SaveCheckpoint,
    SettingChanged,
    SetValue,
    StateChanged,
    StepUpdates,
    Stop,
    UpdateFinished,
    UpdateProgress,
    WorkersStatus,
)


class Recorder:
    """Keeps every event and lets a test react to them, on the training thread."""

    def __init__(self, react: Callable[[Event], None] = lambda event: None) -> None:
        self.events: list[Event] = []
        self.react = react

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self.react(event)

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def metrics(self) -> list[dict]:
        """Metrics of each update without those that a clock decides."""
        return [
            {key: value for key, value in event.metrics.items() if not key.startswith("time/")}
            for event in self.of(UpdateFinished)
        ]


def cartpole(*overrides: str, steps: int = 1024):
    return load_preset("cartpole", overrides=[f"run.total_steps={steps}", "ppo.epochs=4", *overrides])


def trained(*overrides: str, steps: int = 1024) -> Recorder:
    recorder = Recorder()
    Trainer(cartpole(*overrides, steps=steps), sinks=[recorder]).run()
    return recorder


@pytest.fixture
def steered():
    """Run a trainer whose recorder reacts to events by sending it commands."""

    def run(react: Callable[[Trainer, Event], None], *overrides: str, steps: int = 1024, **kwargs):
        recorder = Recorder(lambda event: react(trainer, event))
        trainer = Trainer(cartpole(*overrides, steps=steps), sinks=[recorder], **kwargs)
        return trainer.run(), recorder

    return run


def test_the_same_seed_gives_the_same_run_whatever_the_workers():
    """Bit for bit: every metric of every update is equal, not close."""
    first = trained("workers.count=2", "workers.groups=1")
    assert len(first.metrics) == 4
    assert trained("workers.count=2", "workers.groups=1").metrics == first.metrics
    assert trained("workers.count=5", "workers.groups=1").metrics == first.metrics
    assert trained("workers.count=2", "workers.groups=1", "run.seed=2").metrics != first.metrics


def test_two_groups_repeat_themselves_too():
    assert trained("workers.count=2", "workers.groups=2").metrics == trained("workers.count=2").metrics


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cartpole_is_learnt_within_100k_steps(seed: int):
    result = Trainer(load_preset("cartpole", overrides=[f"run.seed={seed}"])).run()
    assert result.state is RunState.FINISHED
    assert result.metrics["rollout/ep_rew_mean"] >= 475


def test_continuous_actions_learn_too():
    recorder = Recorder()
    config = load_preset(
        "cartpole", overrides=["env.id=Pendulum-v1", "run.total_steps=2048", "rollout.num_envs=4", "rollout.steps=256"]
    )
    assert Trainer(config, sinks=[recorder]).run().state is RunState.FINISHED
    assert recorder.metrics[-1]["rollout/ep_len_mean"] == 200
    assert -2000 < recorder.metrics[-1]["rollout/ep_rew_mean"] < 0


def test_the_stream_of_events_tells_the_whole_run():
    recorder = trained()
    started, finished = recorder.events[0], recorder.events[-1]
    assert isinstance(started, RunStarted)
    assert started.reward_threshold == 475
    assert isinstance(finished, RunFinished)
    assert (finished.state, finished.exit_code, finished.step, finished.update) == (RunState.FINISHED, 0, 1024, 4)
    assert [event.state for event in recorder.of(StateChanged)] == [RunState.TRAINING]
    assert [event.step for event in recorder.of(UpdateFinished)] == [256, 512, 768, 1024]
    assert [event.step for event in recorder.of(RolloutProgress)] == list(range(8, 1025, 8))
    assert len(recorder.of(UpdateProgress)) == 4 * 4
    states = [event.workers[0].state for event in recorder.of(WorkersStatus)]  # on a busy machine more than these
    assert [state for state, _ in itertools.groupby(states)] == ["stepping", "waiting"] * 4
    episodes = recorder.of(EpisodeFinished)
    assert sum(worker.episodes for worker in recorder.of(WorkersStatus)[-1].workers) == len(episodes)
    for event in episodes:
        assert event.episode_return == event.length, "CartPole pays one point a step"
    mean = np.mean([event.episode_return for event in episodes][-100:])
    assert recorder.metrics[-1]["rollout/ep_rew_mean"] == pytest.approx(mean)
    times = [event.elapsed for event in recorder.events]
    assert times == sorted(times)


def test_learning_rate_and_clip_range_are_annealed_from_their_full_value():
    metrics = trained().metrics
    assert [line["train/learning_rate"] for line in metrics] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])
    assert [line["train/clip_range"] for line in metrics] == pytest.approx([0.2, 0.15, 0.1, 0.05])


def test_the_upper_bound_is_annealed_in_proportion_and_edited_as_any_other(steered):
    """Both bounds go to 0; without one of its own it is off, and nothing reports it."""
    asked = {2: 0.3, 3: None}

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and event.t == 5 and event.update in asked:
            trainer.send(SetValue(key="ppo.clip_range_upper", value=asked[event.update]))

    _, recorder = steered(react, "ppo.clip_range_upper=0.4")
    assert [line["train/clip_range"] for line in recorder.metrics] == pytest.approx([0.2, 0.15, 0.1, 0.05])
    upper = [line.get("train/clip_range_upper") for line in recorder.metrics]
    assert upper == [pytest.approx(0.4), pytest.approx(0.3), 0.3, None]
    assert [(change.old, change.new) for change in recorder.of(SettingChanged)] == [
        (pytest.approx(0.2), 0.3),
        (0.15, None),
    ]


def test_an_edit_applies_exactly_at_the_next_update_and_is_annealed_from_there(steered):
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and event.update == 2 and event.t == 5:
            trainer.send(SetValue(key="optim.learning_rate", value=4e-4, by="test"))
            trainer.send(SetValue(key="ppo.entropy_coef", value=0.5))
            trainer.send(SetValue(key="ppo.epochs", value=1))

    _, recorder = steered(react)
    assert [line["train/learning_rate"] for line in recorder.metrics] == pytest.approx([1e-3, 7.5e-4, 4e-4, 2e-4])
    assert [line["train/n_updates"] for line in recorder.metrics] == [4, 8, 9, 10]
    change = recorder.of(SettingChanged)[0]
    assert (change.key, change.new, change.by, change.step, change.update) == (
        "optim.learning_rate", 4e-4, "test", 512, 2,
    )  # fmt: skip
    assert change.old == pytest.approx(5e-4), "what it would have been from then on"


def test_an_exponential_schedule_refuses_an_edit_to_zero():
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update == 1:
            trainer.send(SetValue(key="ppo.entropy_coef", value=0.0))

    schedule = 'ppo.entropy_coef_schedule={kind="exponential", final=1e-4}'
    small = ["rollout.num_envs=2", "rollout.steps=32", "ppo.minibatches=1", "run.total_steps=128", "workers.count=1"]
    recorder = Recorder(lambda event: react(trainer, event))
    trainer = Trainer(load_preset("cartpole", overrides=[schedule, "ppo.entropy_coef=0.01", *small]), sinks=[recorder])
    assert trainer.run().state is RunState.FINISHED
    assert "ppo.entropy_coef = 0: an exponential schedule" in recorder.of(CommandRefused)[0].message
    assert [line["train/entropy_coef"] for line in recorder.metrics] == pytest.approx([0.01, 1e-3])
    assert "train/value_coef" not in recorder.metrics[0], "without a schedule the setting says it"


def test_an_impossible_edit_is_refused_and_changes_nothing(steered):
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update == 1:
            trainer.send(SetValue(key="ppo.clip_range", value=-1))
            trainer.send(SetValue(key="rollout.steps", value=3))

    result, recorder = steered(react)
    assert result.state is RunState.FINISHED
    first, second = (event.message for event in recorder.of(CommandRefused))
    assert "ppo.clip_range = -1" in first
    assert "rollout.steps cannot be changed" in second
    assert not recorder.of(SettingChanged)


def test_pause_holds_the_run_where_it_is_and_resume_goes_on():
    paused = threading.Event()
    recorder = Recorder(
        lambda event: (
            trainer.send(Pause())
            if isinstance(event, RolloutProgress) and event.step == 264
            else paused.set()
            if isinstance(event, StateChanged) and event.state is RunState.PAUSED
            else None
        )
    )
    trainer = Trainer(cartpole(), sinks=[recorder])
    thread = threading.Thread(target=trainer.run)
    thread.start()
    assert paused.wait(60)
    held = len(recorder.events)
    assert recorder.of(RolloutProgress)[-1].step == 264
    trainer.send(SetValue(key="ppo.epochs", value=2))
    trainer.send(Resume())
    thread.join(60)
    assert len(recorder.events) > held
    states = [event.state for event in recorder.of(StateChanged)]
    assert states == [RunState.TRAINING, RunState.PAUSED, RunState.TRAINING]
    assert recorder.metrics[:1] == trained().metrics[:1]


def test_a_pause_costs_no_training_time(steered):
    """The clock of the run stands while it is paused: rates and shares count training only."""
    clock = {}

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update == 1:
            trainer.send(Pause())
        if isinstance(event, StateChanged) and event.state is RunState.PAUSED:
            clock["paused"] = event.elapsed
            threading.Timer(0.5, trainer.send, [Resume()]).start()
        if isinstance(event, StateChanged) and event.state is RunState.TRAINING and "paused" in clock:
            clock.setdefault("resumed", event.elapsed)

    steered(react)
    assert clock["resumed"] - clock["paused"] < 0.25


def test_stepping_runs_that_many_updates_and_pauses_again(steered):
    pauses = []

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RunStarted):
            trainer.send(Pause())
        if isinstance(event, StateChanged) and event.state is RunState.PAUSED:
            pauses.append(trainer.update)
            trainer.send(StepUpdates(updates=2) if len(pauses) == 1 else Resume())

    result, _ = steered(react)
    assert pauses == [0, 2]
    assert result.update == 4


def test_a_stop_that_saves_finishes_the_update_and_one_that_does_not_leaves_at_once(steered, tmp_path):
    def stop_mid_update(save: bool):
        def react(trainer: Trainer, event: Event) -> None:
            if isinstance(event, UpdateProgress) and (event.update, event.epoch) == (2, 1):
                trainer.send(Stop(save=save, exit_code=143, reason="enough", by="SIGTERM"))

        return react

    result, recorder = steered(stop_mid_update(True), checkpoint_dir=tmp_path)
    assert (result.state, result.exit_code, result.reason) == (RunState.STOPPED, 143, "enough")
    assert (result.update, result.step) == (2, 512)
    assert recorder.of(RunFinished)[-1].by == "SIGTERM"
    assert [event.reason for event in recorder.of(CheckpointSaved)] == ["signal"]
    result, recorder = steered(stop_mid_update(False), checkpoint_dir=tmp_path / "other")
    assert (result.update, result.step) == (1, 256)
    assert not recorder.of(CheckpointSaved)


def test_a_checkpoint_on_request_restores_the_same_policy(steered, tmp_path):
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update == 2:
            trainer.send(SaveCheckpoint())

    _, recorder = steered(react, checkpoint_dir=tmp_path)
    manual, final = recorder.of(CheckpointSaved)
    assert (manual.reason, manual.step, final.reason, final.step) == ("manual", 768, "final", 1024)
    assert load_policy(manual.path).state_dict().keys() == load_policy(final.path).state_dict().keys()


def test_a_saved_policy_acts_as_the_trained_one(tmp_path):
    trainer = Trainer(cartpole())
    trainer.run()
    path = trainer.save(tmp_path / "mine")
    observations = torch.randn(64, 4)
    loaded = load_policy(path)
    with torch.inference_mode():
        ours, theirs = trainer.policy(observations), loaded(observations)
    torch.testing.assert_close(ours[0].mode(), theirs[0].mode(), rtol=0, atol=0)
    torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=0)


def test_a_sink_that_fails_is_detached_and_reported(steered):
    class Broken:
        calls = 0

        def emit(self, event: Event) -> None:
            self.calls += 1
            raise OSError("disk full")

    broken, recorder = Broken(), Recorder()
    result = Trainer(cartpole(steps=256), sinks=[broken, recorder]).run()
    assert result.state is RunState.FINISHED
    assert broken.calls == 1
    assert "Broken failed and was detached: disk full" in recorder.of(Alarm)[0].message


def test_a_checkpoint_that_cannot_be_written_is_an_alarm_and_not_the_end(steered, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result, recorder = steered(lambda trainer, event: None, checkpoint_dir=tmp_path / "file")
    assert result.state is RunState.FINISHED
    assert "failed: Not a directory" in recorder.of(Alarm)[0].message


def test_a_failure_is_a_result_and_the_last_event_with_its_traceback(steered):
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished):
            trainer.engine.pool.workers[0].process.kill()

    result, recorder = steered(react, "workers.max_restarts=0")
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert "killed by SIGKILL" in result.reason
    assert "Traceback" in recorder.events[-1].details


def test_a_network_that_calls_exit_is_a_failure_of_the_run(steered):
    result, recorder = steered(lambda trainer, event: None, "policy.network=tests.training.diagnostics.ill:Leaving")
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    raised = "the network tests.training.diagnostics.ill:Leaving has failed: its forward raised SystemExit: 0"
    assert result.reason.splitlines()[0] == raised
    assert isinstance(recorder.events[-1], RunFinished)


def test_a_diverging_run_ends_with_code_4(steered):
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update == 1:
            with torch.no_grad():
                next(trainer.policy.parameters()).fill_(float("nan"))

    result, _ = steered(react)
    assert (result.state, result.exit_code) == (RunState.FAILED, 4)
    assert "lower optim.learning_rate" in result.reason
