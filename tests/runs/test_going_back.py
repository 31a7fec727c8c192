"""Runs that begin with another's weights, and runs that go back to an earlier checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ppo_tui.config import Config, load_preset, replace_value
from ppo_tui.errors import ConfigError, UsageError
from ppo_tui.launch import PreparedRun, TrainRequest, prepare, prepare_or_resume, prepare_resume
from ppo_tui.protocol import Event, Rewound, RunResumed, RunStarted, Stop, UpdateFinished, WeightsTaken
from ppo_tui.runs import RunDirectory, summarise
from ppo_tui.runs.history import recorded_events, recorded_metrics
from ppo_tui.runs.select import find_checkpoint
from ppo_tui.training.checkpoint.files import newest_checkpoint
from ppo_tui.training.checkpoint.snapshot import Snapshot, read_checkpoint
from ppo_tui.training.inbox import Inbox

STEPS = 3 * 48
"""Of one update."""

UPDATES = 5


class StopAfter:
    """Stop a run after this update, with a checkpoint."""

    def __init__(self, update: int) -> None:
        self.inbox, self._update = Inbox(), update

    def emit(self, event: Event) -> None:
        if isinstance(event, UpdateFinished) and event.update == self._update:
            self.inbox.send(Stop())


def small(*overrides: str, updates: int = UPDATES) -> Config:
    fixed = ["rollout.num_envs=3", "rollout.steps=48", "ppo.minibatches=2", "ppo.epochs=2", "workers.count=1"]
    fixed += [f"run.total_steps={updates * STEPS}", "run.keep_checkpoints=100", "tracking.tensorboard=false"]
    return load_preset("cartpole", overrides=[*fixed, *overrides])


def trained(prepared: PreparedRun | None, *, stop_after: int = 0) -> RunDirectory:
    """Train a prepared run, headless and in this process."""
    assert prepared is not None
    stop = StopAfter(stop_after)
    with prepared.directory.opened():
        try:
            result = prepared.trainer([stop], stop.inbox).run()
            result.raise_if_failed()
        finally:
            prepared.close()
    prepared.directory.release()
    return prepared.directory


def new(path: Path, *overrides: str, updates: int = UPDATES, stop_after: int = 0) -> RunDirectory:
    config = small(*overrides, updates=updates)
    return trained(prepare(TrainRequest(config=config, label="cartpole", run_dir=path)), stop_after=stop_after)


def snapshot(run: RunDirectory) -> Snapshot:
    return read_checkpoint(newest_checkpoint(run.checkpoints)[0])


def numbers(run: RunDirectory) -> list[dict]:
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]


def same(one: Snapshot, other: Snapshot) -> None:
    for ours, theirs in ((one.policy, other.policy), (one.optimizer, other.optimizer)):
        assert ours.keys() == theirs.keys()
        assert all(tensor.equal(theirs[name]) for name, tensor in ours.items())


def of(run: RunDirectory, kind: type[Event]) -> list:
    return [event for event in recorded_events(run) if isinstance(event, kind)]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> RunDirectory:
    """A run stopped after two updates, and finished after a resume: with checkpoints at both."""
    path = tmp_path_factory.mktemp("source") / "source"
    new(path, stop_after=2)
    return trained(prepare_resume(RunDirectory(path)))


@pytest.fixture
def run(source: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy of that run, to go back in."""
    return RunDirectory(shutil.copytree(source.path, tmp_path / "source", symlinks=True))


# ── Other weights ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_begins_with_another_ones_weights_and_statistics_and_from_its_own_first_step(
    run: RunDirectory, tmp_path: Path
):
    asked = f"run.init_from='{run.path}@{2 * STEPS}'"
    warm = new(tmp_path / "warm", asked, updates=2, stop_after=1)
    (taken,) = of(warm, WeightsTaken)
    assert (taken.anew, taken.misfits, taken.unused) == (0, (), ())
    assert (taken.source, taken.step) == (run.name, 2 * STEPS)
    assert [event.step for event in of(warm, UpdateFinished)] == [STEPS]
    assert warm.read()["init_from"] == f"{run.name}, step {2 * STEPS}"
    assert summarise(warm).init_from == f"{run.name}, step {2 * STEPS}"
    first = numbers(warm)[0]
    assert first["train/n_updates"] == 2
    assert first["train/learning_rate"] == small().optim.learning_rate
    # The source may be gone: a resumed run has begun already, also by the same command.
    twice = new(tmp_path / "twice", asked, updates=2)
    shutil.rmtree(run.path)
    config = small(asked, updates=2)
    request = TrainRequest(config=config, label="cartpole", overrides=(asked,), run_dir=warm.path, resume=True)
    trained(prepare_or_resume(request))
    assert len(of(warm, WeightsTaken)) == 1
    same(snapshot(warm), snapshot(twice))
    assert numbers(warm) == numbers(twice)
    with pytest.raises(ConfigError, match=r"run\.init_from: there is no run"):
        new(tmp_path / "third", asked)
    assert not (tmp_path / "third").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("a3c-cartpole", ["rollout.num_envs=2"]),
        ("cartpole", ["policy.recurrent=lstm", "policy.recurrent_size=8", "ppo.minibatches=2"]),
        ("cartpole", ["run.overlap=true"]),
    ],
)
def test_every_algorithm_begins_with_other_weights(preset: str, overrides: list[str], tmp_path: Path):
    config = load_preset(preset, overrides=[*overrides, "run.total_steps=512", "tracking.tensorboard=false"])
    first = trained(prepare(TrainRequest(config=config, label=preset, run_dir=tmp_path / "first")))
    config = replace_value(config, "run.init_from", str(first.path))
    prepared = prepare(TrainRequest(config=config, label=preset, run_dir=tmp_path / "second"))
    trainer = prepared.trainer([], Inbox())
    theirs = snapshot(first).policy
    assert all(tensor.equal(theirs[name]) for name, tensor in trainer.policy.state_dict().items())
    trainer.run().raise_if_failed()
    prepared.close()
    assert of(prepared.directory, WeightsTaken)[0].anew == 0


def test_best_and_latest_are_pinned_to_a_step(source: RunDirectory, tmp_path: Path):
    warm = new(tmp_path / "warm", f"run.init_from={source.path}@latest", updates=1)
    assert warm.read_config()["run"]["init_from"] == f"{source.path}@{UPDATES * STEPS}"
    assert warm.read()["init_from"] == f"{source.name}, latest, step {UPDATES * STEPS}"
    with pytest.raises(UsageError, match=r"run\.init_from = 'other': a resumed run keeps its"):
        prepare_resume(warm, overrides=["run.init_from=other", "run.total_steps=9999"])


def test_a_step_that_is_not_there_names_the_nearest(source: RunDirectory):
    assert find_checkpoint(f"{source.path}@{2 * STEPS}").checkpoint.state.update == 2
    for text, hint in (
        (f"{source.path}@300", "the nearest steps are .*288"),
        (f"{source.path}@lates", "did you mean 'latest'"),
    ):
        with pytest.raises(UsageError, match=f"(?s)has no such checkpoint.*({hint})"):
            find_checkpoint(text)
    with pytest.raises(UsageError, match="which of the two"):
        find_checkpoint(f"{source.path}@latest", "best")


# ── Earlier checkpoints ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_that_goes_back_trains_the_same_updates_again_and_keeps_what_came_after(run: RunDirectory):
    before, lines = snapshot(run), run.metrics.read_text()
    trained(prepare_resume(run, checkpoint=str(2 * STEPS)), stop_after=3)
    assert run.metrics.read_text().startswith(lines)
    (rewound,) = of(run, Rewound)
    assert (rewound.step, rewound.exact) == (2 * STEPS, True)
    assert of(run, RunResumed)[-1].exact
    assert len(of(run, RunStarted)) == 3
    # An ordinary resume, as after a crash, continues on the new branch.
    trained(prepare_resume(run))
    same(snapshot(run), before)
    assert numbers(run)[UPDATES:] == numbers(run)[2:UPDATES]
    returns = recorded_metrics(run)["train/loss"]
    assert returns.steps.tolist() == [STEPS * update for update in range(1, UPDATES + 1)]
    assert len(returns.branches) == 1
    elapsed = [event.elapsed for event in recorded_events(run) if isinstance(event, UpdateFinished | Rewound)]
    assert elapsed == sorted(elapsed)


def test_a_crash_right_after_going_back_loses_neither_branch(run: RunDirectory):
    """The position is saved at once: a resume continues there and at no later checkpoint."""
    trained(prepare_resume(run, checkpoint=f"step-{2 * STEPS:012d}"), stop_after=3)
    shutil.rmtree(newest_checkpoint(run.checkpoints)[0].path)
    trained(prepare_resume(run))
    assert of(run, RunResumed)[-1].step == 2 * STEPS
    assert len(of(run, Rewound)) == 1
    assert [event.update for event in of(run, UpdateFinished)] == [1, 2, 3, 4, 5, 3, 4, 5]


def test_the_best_of_an_abandoned_branch_stays_the_best(run: RunDirectory):
    best = snapshot(run).state.best
    trained(prepare_resume(run, checkpoint=str(2 * STEPS)), stop_after=3)
    assert snapshot(run).state.best == best


def test_the_newest_checkpoint_by_another_name_is_no_way_back(run: RunDirectory):
    for name in ("latest", str(UPDATES * STEPS)):
        with pytest.raises(UsageError, match="has done 720 steps of 720"):
            prepare_resume(run, checkpoint=name)
    assert not of(run, Rewound)


def test_an_unknown_step_changes_nothing(run: RunDirectory):
    files = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="the nearest steps are 288"):
        prepare_resume(run, checkpoint="289")
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == files
