"""Numbers in the environments' infos are metrics, exact whatever happens to the run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ppo_tui import Trainer, load_preset
from ppo_tui.commands.evaluate import print_evaluation
from ppo_tui.config import Config
from ppo_tui.explanations import explain, is_metric
from ppo_tui.protocol import (
    Alarm,
    CheckpointSaved,
    EpisodeFinished,
    Event,
    Rewind,
    Rewound,
    RolloutProgress,
    RunState,
    SaveCheckpoint,
    Stop,
    UpdateFinished,
)
from ppo_tui.training import metrics
from ppo_tui.training.evaluation.background import evaluated_event
from ppo_tui.training.evaluation.evaluate import evaluate
from tests.faults.test_workers import at_step, kill
from tests.training.test_trainer import Recorder

NUMBERS = {"odd_red_name", "position/0", "position/1", "reward/ctrl", "reward/forward", "step", "now_and_then"}


def talkative(*overrides: str, updates: int = 4) -> Config:
    return load_preset(
        "cartpole",
        overrides=[
            "env.id=tests.training.talkative:Talkative-v0",
            "rollout.num_envs=4",
            "rollout.steps=32",
            "workers.count=2",
            "policy.hidden=[8]",
            "ppo.epochs=1",
            "ppo.minibatches=1",
            f"run.total_steps={updates * 4 * 32}",
            *overrides,
        ],
    )


def train(config: Config, react=lambda trainer, event: None, **arguments) -> tuple[Trainer, Recorder]:
    recorder = Recorder(lambda event: react(trainer, event))
    trainer = Trainer(config, sinks=[recorder], **arguments)
    result = trainer.run()
    assert result.state in (RunState.FINISHED, RunState.STOPPED), result.reason
    return trainer, recorder


def of_env(recorder: Recorder) -> list[dict[str, float]]:
    """The metrics of the environment in each update."""
    return [
        {key: value for key, value in metrics.items() if key.startswith("env/") or key == "rollout/success_rate"}
        for metrics in recorder.metrics
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Trainer, Recorder, Path]:
    """A run that nothing happens to, and its checkpoints."""
    directory = tmp_path_factory.mktemp("whole")
    return *train(talkative(), checkpoint_dir=directory), directory


def test_numbers_are_averaged_over_the_steps_of_each_rollout(whole):
    first, second, *_ = of_env(whole[1])
    assert {key.removeprefix("env/") for key in first if not key.startswith(("env/end/", "rollout/"))} == NUMBERS
    assert first["env/step"] == (3 * 55 + 1 + 2) / 32  # episodes of ten steps in a rollout of 32
    assert second["env/step"] == (52 + 2 * 55 + 10) / 32
    assert first["env/now_and_then"] == 6.0  # in steps 4 and 8 alone
    assert first["env/position/1"] == 2.0
    assert -1.0 < first["env/reward/ctrl"] < 0.0


def test_the_last_numbers_of_episodes_are_averaged_over_the_newest_hundred(whole):
    recorder = whole[1]
    episodes = recorder.of(EpisodeFinished)
    assert [episode.numbers["step"] for episode in episodes] == [10.0] * 48
    successes = [episode.numbers["is_success"] for episode in episodes]
    *_, last = of_env(recorder)
    assert 0 < sum(successes) < 48
    assert last["env/end/is_success"] == last["rollout/success_rate"] == sum(successes) / 48
    assert "env/is_success" not in last  # it never comes within an episode
    assert "env/end/now_and_then" not in last
    assert last["env/end/step"] == 10.0


def test_every_metric_of_an_environment_is_explained(whole):
    for key in of_env(whole[1])[-1]:
        assert is_metric(key)
        assert explain(key).text != explain("unknown/key").text
    assert explain("env/end/is_success").key == "env/end/is_success"
    assert not is_metric("environment")


@pytest.mark.parametrize("workers", [("workers.count=4", "workers.groups=1"), ("workers.count=1",)])
def test_the_split_into_workers_changes_no_bit(whole, workers: tuple[str, ...]):
    assert of_env(train(talkative(*workers))[1]) == of_env(whole[1])


def test_overlapping_changes_no_mean_of_a_step(whole):
    """With it, metrics are of the newest rollout, which the next update learns from."""
    overlapped = of_env(train(talkative("run.overlap=true"))[1])
    assert [update["env/step"] for update in overlapped[:-1]] == [update["env/step"] for update in of_env(whole[1])[1:]]
    assert overlapped[-1]["env/step"] == overlapped[-2]["env/step"]


@pytest.mark.parametrize("t", [11, pytest.param(32, marks=pytest.mark.slow)])
def test_a_replaced_worker_counts_no_step_twice(whole, t: int):
    recorder = train(talkative(), at_step(2, t, kill(1)))[1]
    assert [alarm for alarm in recorder.of(Alarm) if "restarted" in alarm.message]
    assert of_env(recorder) == of_env(whole[1])
    numbers = [episode.numbers for episode in recorder.of(EpisodeFinished)]
    assert numbers == [episode.numbers for episode in whole[1].of(EpisodeFinished)]


def test_a_number_that_a_new_worker_says_otherwise_begins_no_new_episode():
    """A clock, say: only what is learnt from has to repeat itself."""
    config = talkative("env.kwargs.clock=true", updates=2)
    recorder = train(config, at_step(2, 11, kill(0)))[1]
    assert not [alarm for alarm in recorder.of(Alarm) if "new episodes" in alarm.message]
    assert of_env(recorder)[-1]["env/clock"] > 0


def test_a_resumed_run_has_the_same_numbers(whole, tmp_path: Path, monkeypatch):
    """It stopped within a rollout, some of whose episodes had been published."""
    monkeypatch.setattr(metrics, "INTERIM_SECONDS", 0.0)

    def stop(trainer: Trainer, event: Event) -> None:
        if isinstance(event, RolloutProgress) and (event.update, event.t) == (3, 25):
            trainer.send(Stop(exit_code=143))

    train(talkative(), stop, checkpoint_dir=tmp_path)
    recorder = Recorder()
    resumed = Trainer.from_checkpoint(tmp_path / "latest", sinks=[recorder], allow_import=True)
    resumed.run()
    assert of_env(recorder) == of_env(whole[1])[2:]
    assert recorder.metrics == whole[1].metrics[2:]


def test_a_rewound_run_has_the_same_numbers(whole, tmp_path: Path):
    rewound: list[Event] = []

    def react(trainer: Trainer, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update == 2 and not rewound:
            trainer.send(SaveCheckpoint())
        elif isinstance(event, UpdateFinished) and event.update == 3 and not rewound:
            trainer.send(Rewind(path="step-000000000256"))
        elif isinstance(event, Rewound):
            rewound.append(event)

    recorder = train(talkative(), react, checkpoint_dir=tmp_path)[1]
    assert len(rewound) == 1
    assert of_env(recorder)[-2:] == of_env(whole[1])[-2:]


def test_more_numbers_than_there_is_room_for_are_said_once():
    recorder = train(talkative("env.kwargs.many=40", updates=2))[1]
    alarms = [alarm.message for alarm in recorder.of(Alarm)]
    assert len(alarms) == 1
    assert "more than 32 numbers" in alarms[0]
    names = {key.removeprefix("env/").removeprefix("end/") for key in of_env(recorder)[-1]}
    assert len({name for name in names if name != "rollout/success_rate"}) == 32
    assert all(math.isfinite(value) for value in of_env(recorder)[-1].values())


def test_a3c_has_the_numbers_too():
    config = load_preset(
        "a3c-cartpole",
        overrides=["env.id=tests.training.talkative:Talkative-v0", "rollout.num_envs=2", "run.total_steps=160"],
    )
    *_, last = of_env(train(config)[1])
    assert last["env/end/step"] == 10.0
    assert 1.0 < last["env/step"] < 10.0
    assert 0.0 <= last["rollout/success_rate"] <= 1.0


def test_an_evaluation_has_the_last_numbers_of_its_episodes(whole, capsys):
    evaluation = evaluate(whole[2] / "latest", episodes=3, cores=1, allow_import=True)
    assert (evaluation.numbers["step"].mean, evaluation.numbers["position/1"].mean) == (10.0, 2.0)
    saved = CheckpointSaved(path="", step=1, update=1, reason="", seconds=0.0)
    evaluated = evaluated_event(saved, evaluation, best=False).metrics
    assert evaluated["eval/env/end/is_success"] == evaluation.numbers["is_success"].mean
    assert is_metric("eval/env/end/is_success")
    print_evaluation("whole", evaluation, as_json=False)
    assert "is_success at the end  mean " in capsys.readouterr().out


def test_hostile_infos_harm_neither_the_run_nor_its_numbers():
    _, recorder = train(talkative("env.id=tests.training.hostile_infos:HostileInfo-v0", updates=2))
    assert not recorder.of(Alarm)
    assert {(episode.episode_return, episode.length) for episode in recorder.of(EpisodeFinished)} == {(5.0, 5)}
    newest = recorder.metrics[-1]
    assert (newest["rollout/ep_rew_mean"], newest["rollout/ep_len_mean"]) == (5.0, 5.0)
    assert (newest["env/whole"], newest["env/end/real"], newest["env/endless/1"]) == (3.0, 3.5, 2.0)
    assert all(key.isprintable() for key in newest)
