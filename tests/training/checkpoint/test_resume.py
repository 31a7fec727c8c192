"""A resumed run ends with the bits of an uninterrupted one."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ppo_tui import Trainer, load_policy, load_preset
from ppo_tui.config import Config, build_config, to_tables
from ppo_tui.errors import UsageError
from ppo_tui.launch import prepare_resume
from ppo_tui.protocol import (
    Alarm,
    CheckpointSaved,
    Command,
    CommandRefused,
    EpisodeFinished,
    Event,
    Pause,
    Resume,
    Rewind,
    Rewound,
    RolloutProgress,
    RunResumed,
    RunState,
    SaveCheckpoint,
    SettingChanged,
    SetValue,
    StateChanged,
    Stop,
    UpdateFinished,
    UpdateProgress,
)
from ppo_tui.runs import RunDirectory
from ppo_tui.system.processor import cpu_model
from ppo_tui.training import metrics
from ppo_tui.training.checkpoint.resume import ResumePoint, versions
from ppo_tui.training.checkpoint.snapshot import read_checkpoint
from ppo_tui.training.inbox import Inbox
from tests.training.test_trainer import Recorder

BEFORE_THE_REBUILD = Path(__file__).parent / "before_the_rebuild"
"""A run that the version before the rebuild stopped at step 96, and the last checkpoint of the same run there."""

SMALL = ["rollout.num_envs=3", "rollout.steps=48", "ppo.minibatches=2", "ppo.epochs=2", "workers.count=2"]


def small(env_id: str, *overrides: str, updates: int = 6) -> Config:
    preset = "breakout" if env_id.startswith("ALE/") else "cartpole"
    fixed = [f"env.id={env_id}", *SMALL, f"run.total_steps={updates * 3 * 48}"]
    return load_preset(preset, overrides=[*fixed, *overrides])


def run(trainer_of: Callable[..., Trainer], react: Callable[[Trainer, Event], None] = lambda trainer, event: None):
    """Run the trainer of `trainer_of(sinks=…)`, with reactions to its events."""
    recorder = Recorder(lambda event: react(trainer, event))
    trainer = trainer_of(sinks=[recorder])
    return trainer, trainer.run(), recorder


def stop_at(update: int, t: int) -> Callable[[Trainer, Event], None]:
    """Stop at step `t` of the rollout of this update."""

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and (event.update, event.t) == (update, t):
            trainer.send(Stop(exit_code=143))

    return react


def same_state(one: Trainer, other: Trainer) -> None:
    """Weights, optimiser and generators are equal, bit for bit."""
    for ours, theirs in (
        (one.policy.state_dict(), other.policy.state_dict()),
        (one.engine.learner.state_dict(), other.engine.learner.state_dict()),
    ):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(value, theirs[key], rtol=0, atol=0, msg=key)
            else:
                assert value == theirs[key], key


def check_exact(config: Config, directory: Path, react: Callable[[Trainer, Event], None]) -> Recorder:
    """Stop by `react`, resume, and compare with an uninterrupted run."""
    whole, finished, whole_record = run(lambda **kw: Trainer(config, **kw))
    assert finished.state is RunState.FINISHED, finished.reason
    _, stopped, before = run(lambda **kw: Trainer(config, checkpoint_dir=directory, **kw), react)
    assert stopped.state is RunState.STOPPED
    point = ResumePoint.newest(directory)
    resumed, result, after = run(lambda **kw: Trainer.from_checkpoint(point.path, allow_import=True, **kw))
    assert result.state is RunState.FINISHED
    (event,) = after.of(RunResumed)
    assert (event.step, event.update, event.exact) == (stopped.step, stopped.update, True), event
    assert before.metrics + after.metrics == whole_record.metrics
    episodes = [(e.env, e.step, e.episode_return, e.length) for e in whole_record.of(EpisodeFinished)]
    told, again = (
        [(e.env, e.step, e.episode_return, e.length) for e in record.of(EpisodeFinished)] for record in (before, after)
    )
    # A long rollout tells its episodes before its end: those of one that the stop dropped come again.
    dropped = {episode for episode in told if episode[1] > stopped.step}.intersection(again)
    assert [episode for episode in told if episode not in dropped] + again == episodes
    same_state(resumed, whole)
    return after


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "LunarLander-v3"])
def test_a_stop_anywhere_in_a_rollout_costs_no_bit(env_id: str, tmp_path, monkeypatch):
    """Every rollout counts as long, as on a busy machine."""
    monkeypatch.setattr(metrics, "INTERIM_SECONDS", 0.0)
    update, t = random.Random(env_id).choice([(1, 1), (3, 17), (4, 48)])
    check_exact(small(env_id), tmp_path, stop_at(update, t))


def test_an_environment_that_draws_from_global_generators_goes_on_after_a_stop_and_a_crash(tmp_path):
    """Its worker is killed, and its run stopped and resumed: the numbers are those of a run without either."""
    stop = stop_at(3, 17)

    def kill_then_stop(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and (event.update, event.t) == (2, 20):
            trainer.engine.pool.workers[0].process.kill()
        stop(trainer, event)

    check_exact(small("tests.envs.hidden:DrawsFromGlobals-v0", updates=4), tmp_path, kill_then_stop)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(8))
def test_bipedal_walker_goes_on_bit_for_bit(index: int, tmp_path):
    update, t = random.Random(index).randint(3, 6), random.Random(index).randint(1, 200)
    config = small("BipedalWalker-v3", "rollout.steps=200", "run.total_steps=3600")
    check_exact(config, tmp_path, stop_at(update, t))


@pytest.mark.parametrize(
    ("env_id", "overrides"),
    [
        ("Taxi-v4", ["ppo.surrogate=kl-adaptive", "optim.learning_rate_schedule=kl-adaptive"]),
        ("Pendulum-v1", ["policy.normalize_observations=true", "ppo.normalize_rewards=true", "optim.name=rmsprop"]),
        ("CartPole-v1", ["ppo.surrogate=none", "ppo.epochs=1", "ppo.minibatches=1", "optim.name=rmsprop-tf"]),
    ],
)
def test_every_algorithm_goes_on_bit_for_bit(env_id: str, overrides: list[str], tmp_path):
    """With masks, adaptive settings, running statistics and each optimiser."""
    check_exact(small(env_id, *overrides), tmp_path, stop_at(3, 17))


@pytest.mark.parametrize(
    "overrides",
    [
        [
            "name=adamw",
            "critic_learning_rate=3e-3",
            "learning_rate_schedule=kl-adaptive",
            "kl_adaptive_every=minibatch",
        ],
        ["name=radam", "adam_beta1=0.8", "critic_learning_rate=2e-4", "learning_rate_schedule=linear"],
        ["name=muon", "weight_decay=0.1", "critic_learning_rate=2e-3", "learning_rate_schedule=linear"],
    ],
    ids=["adamw, rate by minibatch", "radam", "muon"],
)
def test_every_optimiser_and_its_rates_go_on_bit_for_bit(overrides: list[str], tmp_path):
    """In the midst of an annealing, or of an adaptation."""
    check_exact(small("CartPole-v1", *(f"optim.{one}" for one in overrides), updates=4), tmp_path, stop_at(3, 17))


@pytest.mark.parametrize(
    ("sticky", "life_loss"),
    [
        (0.25, "terminal"),
        pytest.param(0.0, "terminal", marks=pytest.mark.slow),
        pytest.param(0.25, "none", marks=pytest.mark.slow),
        pytest.param(0.0, "reset", marks=pytest.mark.slow),
    ],
)
def test_breakout_goes_on_bit_for_bit(sticky: float, life_loss: str, tmp_path):
    overrides = [f"env.atari.sticky_actions={sticky}", f"env.atari.life_loss={life_loss}"]
    config = small("ALE/Breakout-v5", *overrides, "run.torch_threads=1", "ppo.epochs=1", updates=3)
    check_exact(config, tmp_path, stop_at(3, random.Random(sticky).randint(1, 48)))


@pytest.mark.parametrize("recurrent", ["lstm", "gru"])
def test_what_a_policy_remembers_is_not_forgotten(recurrent: str, tmp_path):
    overrides = ["env.hide=[1, 3]", f"policy.recurrent={recurrent}", "policy.recurrent_size=8", "ppo.minibatches=3"]
    check_exact(small("CartPole-v1", *overrides, "workers.groups=2"), tmp_path, stop_at(4, 20))


def test_what_random_layers_draw_goes_on_bit_for_bit(tmp_path):
    network = ["policy.network=tests.training.diagnostics.ill:Dropout", "policy.shared=true"]
    check_exact(small("CartPole-v1", *network), tmp_path, stop_at(3, 17))


def test_a_stop_between_whole_episodes_costs_no_bit(tmp_path):
    config = load_preset("cartpole-tutorial", overrides=["run.max_episodes=8"])
    check_exact(config, tmp_path, stop_at(5, 6))


@pytest.mark.parametrize(
    "overrides",
    [
        [
            *("policy.normalize_observations=true", "ppo.normalize_rewards=true", "ppo.normalize_values=true"),
            "policy.squash_actions=true",
        ],
        ["ppo.surrogate=kl-adaptive", "optim.learning_rate_schedule=kl-adaptive"],
        ["ppo.surrogate=none", "ppo.normalize_advantage=false", "optim.name=rmsprop-tf"],
    ],
    ids=["normalised", "adaptive", "a2c"],
)
def test_every_algorithms_own_state_is_part_of_it(overrides: list[str], tmp_path):
    check_exact(small("Pendulum-v1", *overrides), tmp_path, stop_at(4, 11))


def test_another_way_of_annealing_holds_from_there_on(tmp_path):
    run(lambda **kw: Trainer(small("CartPole-v1"), checkpoint_dir=tmp_path, **kw), stop_at(4, 3))
    point = ResumePoint.newest(tmp_path)
    config = point.config(overrides=["optim.learning_rate_schedule=constant"])
    _, _, record = run(lambda **kw: Trainer(config, resume_from=point.path, **kw))
    assert [line["train/learning_rate"] for line in record.metrics] == [1e-3, 1e-3, 1e-3]


def test_a_stop_while_learning_costs_no_bit(tmp_path):
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateProgress) and (event.update, event.epoch) == (3, 1):
            trainer.send(Stop())

    check_exact(small("CartPole-v1", "workers.groups=2"), tmp_path, react)


def test_edited_settings_and_their_annealing_are_part_of_it(tmp_path):
    def edit(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update == 2:
            trainer.send(SetValue(key="optim.learning_rate", value=4e-4))
            trainer.send(SetValue(key="ppo.target_kl", value=0.5))

    def edit_and_stop(trainer: Trainer, event: Event) -> None:
        edit(trainer, event)
        stop_at(5, 3)(trainer, event)

    config = small("CartPole-v1")
    _, _, whole = run(lambda **kw: Trainer(config, **kw), edit)
    _, _, before = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), edit_and_stop)
    _, _, after = run(lambda **kw: Trainer.from_checkpoint(ResumePoint.newest(tmp_path).path, allow_import=True, **kw))
    assert before.metrics + after.metrics == whole.metrics
    assert not after.of(SettingChanged)


SCHEDULED = [
    'optim.learning_rate_schedule={kind="cosine", final=1e-5, warmup_steps=100}',
    'ppo.clip_range_schedule={kind="exponential", final=0.01}',
    'ppo.entropy_coef_schedule={kind="cosine", final=1e-3, steps=720}',
    "ppo.value_coef_schedule=linear",
]


def test_a_run_stopped_in_the_middle_of_schedules_with_edits_costs_no_bit(tmp_path):
    """Each kind of schedule, one of them over fewer steps than the run."""

    def edit(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update == 2:
            for key, value in (("optim.learning_rate", 4e-4), ("ppo.entropy_coef", 0.02), ("ppo.clip_range", 0.3)):
                trainer.send(SetValue(key=key, value=value))
            trainer.send(SetValue(key="ppo.clip_range", value=0.1))  # the newest holds

    def edit_and_stop(trainer: Trainer, event: Event) -> None:
        edit(trainer, event)
        stop_at(5, 3)(trainer, event)

    config = small("CartPole-v1", *SCHEDULED)
    one, _, whole = run(lambda **kw: Trainer(config, **kw), edit)
    _, _, before = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), edit_and_stop)
    point = ResumePoint.newest(tmp_path)
    other, _, after = run(lambda **kw: Trainer.from_checkpoint(point.path, allow_import=True, **kw))
    same_state(one, other)
    assert before.metrics + after.metrics == whole.metrics
    rates, clips, entropies, values = (
        [line[f"train/{name}"] for line in whole.metrics]
        for name in ("learning_rate", "clip_range", "entropy_coef", "value_coef")
    )
    assert rates[0] == 0.0, "the warm-up begins there"
    assert (rates[3], clips[3], entropies[3]) == (4e-4, 0.1, 0.02)
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert clips[3:] == pytest.approx([0.1 * (0.01 / 0.1) ** (share / 3) for share in (0, 1, 2)])
    assert entropies[4] < 0.02
    assert entropies[5] == 1e-3
    assert values == pytest.approx([1 - update / 6 for update in range(6)])
    courses = {change.key: change.course.text for change in before.of(SettingChanged) if change.course}
    assert courses == {
        "optim.learning_rate": "cosine to 1e-05 at step 864",
        "ppo.clip_range": "exponential to 0.01 at step 864",
        "ppo.entropy_coef": "cosine to 0.001 at step 720",
    }


def test_only_a_schedule_over_the_run_follows_its_new_length(tmp_path):
    """A schedule over given steps goes on bit for bit."""
    fixed = ["optim.learning_rate_schedule={steps=432}", "ppo.clip_range_schedule=constant"]
    long, short = small("CartPole-v1", *fixed, updates=4), small("CartPole-v1", *fixed, updates=2)
    _, _, whole = run(lambda **kw: Trainer(long, **kw))
    _, _, before = run(lambda **kw: Trainer(short, checkpoint_dir=tmp_path, **kw))
    point = ResumePoint.newest(tmp_path)
    extended = point.config(overrides=[f"run.total_steps={long.run.total_steps}"])
    _, _, after = run(lambda **kw: Trainer(extended, resume_from=point.path, **kw))
    assert before.metrics + after.metrics == whole.metrics
    assert after.of(RunResumed)[0].exact
    assert [line["train/learning_rate"] for line in whole.metrics] == pytest.approx([1e-3, 2e-3 / 3, 1e-3 / 3, 0.0])


def test_twice_resumed_is_resumed_too(tmp_path):
    config = small("CartPole-v1")
    _, _, whole = run(lambda **kw: Trainer(config, **kw))
    _, _, first = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), stop_at(2, 5))
    records = [first]
    for stop in (stop_at(4, 30), lambda trainer, event: None):
        path = ResumePoint.newest(tmp_path).path
        _, _, record = run(
            lambda path=path, **kw: Trainer.from_checkpoint(path, checkpoint_dir=tmp_path, allow_import=True, **kw),
            stop,
        )
        records.append(record)
    assert [line for record in records for line in record.metrics] == whole.metrics
    elapsed = [event.elapsed for record in records for event in record.of(UpdateFinished)]
    assert elapsed == sorted(elapsed), "the run's clock goes on"


def test_extending_a_finished_run_anneals_towards_the_new_end(tmp_path):
    config = small("CartPole-v1", updates=3)
    run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw))
    point = ResumePoint.newest(tmp_path)
    with pytest.raises(UsageError, match=r"has done 432 steps of 432.*\n.*--total-steps"):
        point.config()
    extended = point.config(overrides=["run.total_steps=864"])
    _, result, record = run(lambda **kw: Trainer(extended, resume_from=point.path, **kw))
    assert (result.state, result.step) == (RunState.FINISHED, 864)
    assert [line["train/learning_rate"] for line in record.metrics] == pytest.approx([5e-4, 1e-3 / 3, 1e-3 / 6])
    (resumed,) = record.of(RunResumed)
    assert not resumed.exact
    assert resumed.differences == ("run.total_steps 432 → 864: annealing now ends there",)


def test_settings_changed_on_the_way_hold_from_there_on(tmp_path):
    run(lambda **kw: Trainer(small("CartPole-v1"), checkpoint_dir=tmp_path, **kw), stop_at(4, 3))
    point = ResumePoint.newest(tmp_path)
    config = point.config(overrides=["optim.learning_rate=2e-4", "optim.adam_eps=1e-6"])
    _, _, record = run(lambda **kw: Trainer(config, resume_from=point.path, **kw))
    assert record.metrics[0]["train/learning_rate"] == pytest.approx(2e-4)
    (change,) = record.of(SettingChanged)
    assert (change.key, change.new, change.by, change.update) == ("optim.learning_rate", 2e-4, "resume", 3)
    (resumed,) = record.of(RunResumed)
    assert "optim.adam_eps 1e-05 → 1e-06" in resumed.differences


@pytest.mark.parametrize(
    "override", ["env.id=Acrobot-v1", "rollout.num_envs=4", "policy.hidden=[8]", "optim.name=rmsprop"]
)
def test_what_a_checkpoint_fixes_cannot_be_changed(override: str, tmp_path):
    config = small("CartPole-v1")
    run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), stop_at(2, 3))
    point = ResumePoint.newest(tmp_path)
    with pytest.raises(UsageError, match=f"{override.partition('=')[0]} = .*keeps its"):
        point.config(overrides=[override])


def test_other_threads_are_named_and_the_saved_ones_used_again(tmp_path):
    config = small("CartPole-v1", "run.torch_threads=2")
    run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), stop_at(2, 3))
    point = ResumePoint.newest(tmp_path)
    one = point.config(overrides=["run.torch_threads=1"])
    _, _, record = run(lambda **kw: Trainer(one, resume_from=point.path, **kw))
    assert record.of(RunResumed)[0].differences == ("threads while learning 2 → 1",)
    auto = build_config({**to_tables(config), "run": {**to_tables(config)["run"], "torch_threads": "auto"}})
    _, _, record = run(lambda **kw: Trainer(auto, resume_from=point.path, **kw))
    assert record.of(RunResumed)[0].exact


def test_an_environment_that_cannot_be_restored_restarts_and_the_run_says_which(tmp_path):
    config = small("tests.training.unrepeatable:Unrepeatable-v0")
    run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), stop_at(3, 3))
    _, result, record = run(
        lambda **kw: Trainer.from_checkpoint(ResumePoint.newest(tmp_path).path, allow_import=True, **kw)
    )
    assert result.state is RunState.FINISHED
    (resumed,) = record.of(RunResumed)
    assert (resumed.restarted_envs, resumed.exact) == ((0, 1, 2), False)
    assert "environments 0, 1, 2 could not be restored" in record.of(Alarm)[0].message
    lengths = [event.length for event in record.of(EpisodeFinished)]
    assert set(lengths) == {20}, "no episode is longer for its lost beginning"


def rewound(tmp_path: Path, target: str = "step-000000000288") -> tuple[Trainer, Recorder]:
    """A run saved after update 2 and rewound after update 4."""
    asked: list[int] = []

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update in (1, 3) and event.update not in asked:
            asked.append(event.update)
            trainer.send(SaveCheckpoint() if event.update == 1 else Rewind(path=target))

    config = small("CartPole-v1")
    trainer, result, record = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), react)
    assert result.state is RunState.FINISHED
    return trainer, record


def test_rewinding_trains_the_same_updates_again(tmp_path):
    """After a rewind the same updates repeat bit for bit."""
    trainer, record = rewound(tmp_path)
    (event,) = record.of(Rewound)
    assert (event.update, event.step) == (2, 288)
    assert [event.update for event in record.of(UpdateFinished)] == [1, 2, 3, 4, 3, 4, 5, 6]
    assert record.metrics[2:4] == record.metrics[4:6]
    whole, _, whole_record = run(lambda **kw: Trainer(small("CartPole-v1"), **kw))
    assert record.metrics[4:] == whole_record.metrics[2:]
    same_state(trainer, whole)
    times = [event.elapsed for event in record.events]
    assert times == sorted(times)


def test_a_checkpoint_can_be_named_by_its_path(tmp_path):
    _, record = rewound(tmp_path, str(tmp_path / "step-000000000288"))
    assert record.of(Rewound)


def test_after_rewinding_a_crash_resumes_on_the_new_branch(tmp_path):
    """The abandoned branch got further, but the chosen branch is the newest."""
    saved: list[CheckpointSaved] = []

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update in (1, 3):
            trainer.send(SaveCheckpoint())
        if isinstance(event, CheckpointSaved) and event.reason == "manual":
            saved.append(event)
            if event.update == 4:
                trainer.send(Rewind(path=saved[0].path))
        if isinstance(event, Rewound):
            trainer.send(Stop(save=False))

    config = small("CartPole-v1", updates=40)
    _, result, _ = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), react)
    assert result.state is RunState.STOPPED
    assert [event.update for event in saved] == [2, 4, 2]
    assert ResumePoint.newest(tmp_path).state.update == 2


def test_a_paused_run_saves_and_rewinds_at_once_and_stays_paused(tmp_path):
    """The update in progress ends first; no bit changes."""
    wanted: list[Command] = [SaveCheckpoint(), SaveCheckpoint(), Rewind(path="step-000000000288")]
    obeyed: list[Event] = []

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateProgress) and event.update == 2 and not obeyed:
            trainer.send(Pause())
            obeyed.append(event)
        first_pause = isinstance(event, StateChanged) and event.state is RunState.PAUSED and len(obeyed) == 1
        done = isinstance(event, CheckpointSaved) and event.reason == "manual"
        if first_pause or done:
            obeyed.append(event)
            trainer.send(wanted.pop(0) if wanted else Resume())

    rescue: list[threading.Timer] = []

    def make(**arguments) -> Trainer:
        trainer = Trainer(small("CartPole-v1", updates=3), checkpoint_dir=tmp_path, **arguments)
        rescue.append(threading.Timer(60, lambda: trainer.send(Stop(save=False))))
        rescue[0].start()
        return trainer

    _, result, record = run(make, react)
    rescue[0].cancel()
    assert result.state is RunState.FINISHED
    states = [event.state for event in record.of(StateChanged) if event.state is not RunState.SAVING]
    training, paused = RunState.TRAINING, RunState.PAUSED
    assert states == [training, paused, training, paused, training], "paused again after update 2, until the end"
    assert [event.step for event in record.of(CheckpointSaved) if event.reason == "manual"] == [288, 288, 288]
    assert [event.step for event in record.of(Rewound)] == [288]
    _, _, whole = run(lambda **kw: Trainer(small("CartPole-v1", updates=3), **kw))
    assert record.metrics == whole.metrics


@pytest.mark.parametrize("path", ["nowhere", "step-000000000144/state.json", "/"])
def test_rewinding_to_no_checkpoint_is_refused_and_changes_nothing(path: str, tmp_path):
    _, record = rewound(tmp_path, path)
    assert not record.of(Rewound)
    assert "checkpoint" in record.of(CommandRefused)[0].message
    assert len(record.of(UpdateFinished)) == 6


def test_another_runs_checkpoint_is_refused(tmp_path):
    run(lambda **kw: Trainer(small("Pendulum-v1", updates=1), checkpoint_dir=tmp_path / "other", **kw))
    other = ResumePoint.newest(tmp_path / "other").path
    _, record = rewound(tmp_path / "own", str(other))
    assert "env.id = 'Pendulum-v1'" in record.of(CommandRefused)[0].message
    assert len(record.of(UpdateFinished)) == 6


def test_a_failing_environment_leaves_a_checkpoint_of_the_last_whole_update(tmp_path):
    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and (event.update, event.t) == (4, 20):
            trainer.engine.pool.workers[0].process.kill()

    config = small("CartPole-v1", "workers.max_restarts=0")
    _, result, before = run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path, **kw), react)
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert before.of(CheckpointSaved)[-1].reason == "failure"
    _, _, after = run(lambda **kw: Trainer.from_checkpoint(ResumePoint.newest(tmp_path).path, allow_import=True, **kw))
    _, _, whole = run(lambda **kw: Trainer(config, **kw))
    assert before.metrics + after.metrics == whole.metrics


def test_the_policy_of_a_run_is_that_of_its_newest_whole_checkpoint(tmp_path):
    config = small("CartPole-v1", "run.keep_checkpoints=9")
    run(lambda **kw: Trainer(config, checkpoint_dir=tmp_path / "checkpoints", **kw), stop_at(3, 1))
    older = ResumePoint.newest(tmp_path / "checkpoints").path
    run(
        lambda **kw: Trainer.from_checkpoint(older, checkpoint_dir=tmp_path / "checkpoints", allow_import=True, **kw),
    )
    newest = ResumePoint.newest(tmp_path / "checkpoints").path
    assert newest != older
    (newest / "policy.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match=f"skipped: {newest}: policy.safetensors is missing or damaged"):
        policy = load_policy(tmp_path)
    saved = read_checkpoint(ResumePoint.newest(tmp_path / "checkpoints").path).policy
    assert all(torch.equal(value, saved[name]) for name, value in policy.state_dict().items())


def resume_from_before_the_rebuild(tmp_path: Path) -> tuple[RunDirectory, Recorder]:
    """Resume a copy of that run without force, to its end."""
    directory = RunDirectory(tmp_path / "run")
    shutil.copytree(BEFORE_THE_REBUILD / "run", directory.path)
    record = Recorder(lambda event: None)
    prepared = prepare_resume(directory)
    try:
        result = prepared.trainer([record], Inbox()).run()
    finally:
        prepared.close()
        directory.release()
    assert (result.state, result.step) == (RunState.FINISHED, 256), result.reason
    return directory, record


def test_a_run_of_the_version_before_resumes_and_ends_with_the_same_weights(tmp_path):
    directory, record = resume_from_before_the_rebuild(tmp_path)
    ours = read_checkpoint(ResumePoint.newest(directory.checkpoints).path)
    theirs = read_checkpoint(BEFORE_THE_REBUILD / "later" / "step-000000000256")
    (resumed,) = record.of(RunResumed)
    assert not [words for words in resumed.differences if words.startswith("code")]
    same_machine = (cpu_model(), versions()) == (theirs.state.origin.cpu, theirs.state.origin.versions)
    assert resumed.exact == same_machine, resumed.differences
    tolerance = 0.0 if same_machine else 1e-5
    for name, tensors in (("policy", theirs.policy), ("optimizer", theirs.optimizer)):
        for key, value in tensors.items():
            torch.testing.assert_close(getattr(ours, name)[key], value, rtol=tolerance, atol=tolerance, msg=key)
    assert ours.state.config["run"]["diagnostics"], "once called run.doctor"


def test_the_command_line_resumes_a_run_of_the_version_before(tmp_path):
    shutil.copytree(BEFORE_THE_REBUILD / "run", tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-m", "ppo_tui", "resume", str(tmp_path / "run"), "--headless", "--set", "run.doctor=false"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "diagnostics = false" in (tmp_path / "run" / "config.toml").read_text("utf-8")
