"""Several ranks train one run, started by torchrun."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from ppo_tui import Trainer, load_preset
from ppo_tui.distributed.torchrun import Place
from ppo_tui.errors import ConfigError, UsageError
from ppo_tui.protocol import (
    Alarm,
    CheckpointSaved,
    EpisodeFinished,
    Event,
    Pause,
    Resume,
    Rewound,
    RunFinished,
    RunResumed,
    RunStarted,
    SetValue,
    Stop,
    UpdateFinished,
    WeightsTaken,
    WorkersStatus,
    decode_event,
)
from ppo_tui.runs import RunDirectory
from ppo_tui.runs.client import ControlClient, steer
from ppo_tui.training import share_of_config
from tests.conftest import ROOT
from tests.training.test_env_metrics import talkative
from tests.training.test_trainer import Recorder, cartpole
from tests.waiting import still_running

RANKS = 2
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(RANKS))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def command(*arguments: str, torchrun: Sequence[str] = ()) -> list[str]:
    return [*TORCHRUN, *torchrun, "-m", "ppo_tui", "--preset", "cartpole", "--headless", *arguments]


@contextlib.contextmanager
def started(directory: Path, *arguments: str, torchrun: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Several ranks, training in `directory`; none survives the context."""
    process = subprocess.Popen(
        command(*arguments, "--log-format", "json", torchrun=torchrun),
        cwd=directory,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=(directory / "errors").open("w"),
        text=True,
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    children: list[psutil.Process] = []
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children(recursive=True)
        for one in (process, *children):
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                one.kill()
        process.wait()
        watchdog.cancel()


def until(process: subprocess.Popen[str], kind: type[Event]) -> Event:
    """The next printed event of this kind."""
    for line in process.stdout:
        if line.startswith("{") and isinstance(event := decode_event(line), kind):
            return event
    raise AssertionError(f"the run ended without {kind.__name__}")


def events_of(run: Path, kind: type[Event]) -> list:
    events = map(decode_event, (run / "events.jsonl").read_text("utf-8").splitlines())
    return [event for event in events if isinstance(event, kind)]


def pid_of_rank(rank: int, torchrun: int) -> int:
    for child in psutil.Process(torchrun).children():
        if child.environ().get("RANK") == str(rank):
            return child.pid
    raise AssertionError(f"there is no rank {rank}")


def test_two_ranks_learn_what_one_process_learns_and_one_of_them_writes(tmp_path):
    settings = ["ppo.epochs=4", "ppo.minibatches=4", "ppo.normalize_rewards=true", "policy.normalize_observations=true"]
    settings += ["ppo.recompute_advantages=true", "env.kwargs={max_episode_steps=30}"]
    overrides = [argument for setting in settings for argument in ("--set", setting)]
    with started(tmp_path, "--total-steps", "2048", "--name", "it", *overrides) as process:
        output, _ = process.communicate()
    assert process.returncode == 0, (tmp_path / "errors").read_text()

    run = tmp_path / "runs" / "it"
    assert output == (run / "events.jsonl").read_text("utf-8"), "one rank prints, and it prints what it records"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["it"]
    (begun,) = events_of(run, RunStarted)
    assert (begun.num_envs, begun.num_workers, begun.env_slices) == (8, 2, ((0, 4), (4, 8)))

    recorder = Recorder()
    alone = Trainer(cartpole(*settings, steps=2048), sinks=[recorder])
    alone.run()
    metrics = [event.metrics for event in events_of(run, UpdateFinished)]
    assert len(metrics) == len(recorder.metrics) == 8
    for ours, theirs in zip(recorder.metrics, metrics, strict=True):
        assert {key: theirs[key] for key in ours} == pytest.approx(ours, rel=1e-3, abs=1e-5)
    games = [(event.env, event.step, event.episode_return) for event in recorder.of(EpisodeFinished)]
    assert [(event.env, event.step, event.episode_return) for event in events_of(run, EpisodeFinished)] == games
    weights = load_file(run / "checkpoints" / "latest" / "policy.safetensors")
    for name, weight in alone.policy.state_dict().items():
        assert_close(weights[name], weight, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.slow
def test_numbers_of_the_environments_are_those_of_all_ranks(tmp_path):
    """The steps of episodes do not depend on the policy: they are equal, not close."""
    config = talkative("workers.count=2")
    settings = ["env.id=tests.training.talkative:Talkative-v0", "rollout.num_envs=4", "rollout.steps=32"]
    settings += ["ppo.minibatches=1", "ppo.epochs=1"]
    overrides = [argument for setting in settings for argument in ("--set", setting)]
    with started(tmp_path, "--total-steps", str(config.run.total_steps), "--name", "it", *overrides) as process:
        process.communicate()
    assert process.returncode == 0, (tmp_path / "errors").read_text()
    recorder = Recorder()
    Trainer(config, sinks=[recorder]).run()
    ranks = [event.metrics for event in events_of(tmp_path / "runs" / "it", UpdateFinished)]
    for ours, theirs in zip(recorder.metrics, ranks, strict=True):
        assert {key for key in theirs if key.startswith("env/")} == {key for key in ours if key.startswith("env/")}
        for key in ("env/step", "env/end/step", "env/now_and_then"):
            assert theirs[key] == ours[key]


@pytest.mark.slow
def test_two_ranks_begin_with_another_runs_weights_and_go_back_together(tmp_path, ppo_tui):
    settings = ["ppo.normalize_rewards=true", "policy.normalize_observations=true", "run.checkpoint_seconds=0.01"]
    overrides = [argument for setting in settings for argument in ("--set", setting)]
    source = ppo_tui("-p", "cartpole", "--total-steps", "512", "--name", "source", *overrides)
    assert source.returncode == 0, source.stderr
    warm = ["--total-steps", "1024", "--init-from", "source", *overrides]
    alone = ppo_tui("-p", "cartpole", "--name", "alone", *warm)
    assert alone.returncode == 0, alone.stderr
    with started(tmp_path, "--name", "it", *warm) as process:
        process.communicate()
    assert process.returncode == 0, (tmp_path / "errors").read_text()
    run = tmp_path / "runs" / "it"
    (taken,) = events_of(run, WeightsTaken)
    assert (taken.source, taken.step, taken.anew) == ("source", 512, 0)

    def weights(name: str) -> dict[str, torch.Tensor]:
        return load_file(tmp_path / "runs" / name / "checkpoints" / "latest" / "policy.safetensors")

    for name, weight in weights("alone").items():
        assert_close(weights("it")[name], weight, rtol=1e-5, atol=1e-5, msg=name)
    before, updates = weights("it"), events_of(run, UpdateFinished)
    earlier = min(event.step for event in events_of(run, CheckpointSaved))
    back = [*TORCHRUN, "-m", "ppo_tui", "resume", "it", "--checkpoint", str(earlier)]
    done = subprocess.run(back, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (rewound,) = events_of(run, Rewound)
    assert rewound.step == earlier
    assert len(events_of(run, UpdateFinished)) == len(updates) + (1024 - earlier) // 256
    assert all(tensor.equal(before[name]) for name, tensor in weights("it").items())


@pytest.mark.slow
def test_they_obey_together_show_all_workers_and_go_on_with_the_same_bits(tmp_path):
    """Stopped between two updates, and resumed: by as many processes, exactly."""
    run = tmp_path / "run"
    arguments = ("--run-dir", str(run), "--set", "ppo.epochs=2")
    with started(tmp_path, *arguments) as process:
        until(process, UpdateFinished)
        directory = RunDirectory(run)
        assert steer(directory, Pause()) == "paused"
        steer(directory, SetValue(key="optim.learning_rate", value=2e-3), wait=False)
        steer(directory, Resume())
        with ControlClient(directory) as client:
            client.subscribe(client="test", wish="script", history=False)
            status = next(message for message in client.messages() if isinstance(message, WorkersStatus))
        assert [worker.index for worker in status.workers] == [0, 1]
        assert len({worker.pid for worker in status.workers}) == 2
        assert "stopped by ctl" in steer(directory, Stop(reason="stopped by ctl"))
        process.communicate()
        assert process.returncode == 0, (tmp_path / "errors").read_text()
    stopped = events_of(run, RunFinished)[-1]

    total = stopped.step + 512
    with started(tmp_path, *arguments, "--resume", "auto", "--total-steps", str(total)) as process:
        resumed = until(process, RunResumed)
        process.communicate()
    assert process.returncode == 0, (tmp_path / "errors").read_text()
    assert (resumed.step, resumed.restarted_envs) == (stopped.step, ())
    assert "processes" not in "".join(resumed.differences), resumed
    assert events_of(run, RunFinished)[-1].step == total


@pytest.mark.slow
def test_a_rank_that_is_killed_costs_a_restart_from_the_newest_checkpoint(tmp_path):
    arguments = ("--total-steps", "40_000", "--set", "run.checkpoint_seconds=0.3", "--set", "ppo.epochs=2")
    with started(tmp_path, *arguments, torchrun=["--max-restarts", "3"]) as process:
        saved = until(process, CheckpointSaved)
        os.kill(pid_of_rank(1, process.pid), signal.SIGKILL)
        until(process, RunResumed)
        process.communicate()
    assert process.returncode == 0, (tmp_path / "errors").read_text()
    (run,) = (tmp_path / "runs").iterdir()
    resumed = events_of(run, RunResumed)[-1]
    assert resumed.update >= saved.update
    assert resumed.exact, resumed.differences
    messages = [event.message for event in events_of(run, Alarm)]
    assert f"restart 1/3 from update {resumed.update:,}" in messages
    updates = [json.loads(line)["time/iterations"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert updates == list(range(1, -(-40_000 // 256) + 1)), "none is missing, and none is there twice"


@pytest.mark.slow
def test_sigterm_to_torchrun_saves_and_one_process_can_go_on(tmp_path, ppo_tui):
    with started(tmp_path, "--name", "it") as process:
        until(process, UpdateFinished)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    facts = RunDirectory(tmp_path / "runs" / "it").read()
    assert (facts["status"], facts["exit_code"]) == ("stopped", 143)
    done = ppo_tui("resume", "it", "--headless", "--total-steps", str(facts["step"] + 256))
    assert done.returncode == 0, done.stderr
    assert "processes that learn together 2 → 1" in done.stdout


@pytest.mark.slow
def test_a_torchrun_that_is_killed_leaves_a_saved_run_and_no_process(tmp_path):
    with started(tmp_path, "--name", "it") as process:
        until(process, UpdateFinished)
        ranks = [psutil.Process(pid_of_rank(rank, process.pid)) for rank in range(RANKS)]
        everybody = [*ranks, *(child for rank in ranks for child in rank.children(recursive=True))]
        process.kill()
        assert not still_running(everybody, seconds=30)
    run = RunDirectory(tmp_path / "runs" / "it")
    assert (run.read()["status"], run.holder) == ("stopped", None)
    assert run.read()["step"] == events_of(run.path, CheckpointSaved)[-1].step


@pytest.mark.slow
def test_a_mistake_of_rank_0_ends_all_of_them_with_its_message(tmp_path):
    (tmp_path / "runs" / "it").mkdir(parents=True)
    (tmp_path / "runs" / "it" / "run.json").write_text("{}")
    done = subprocess.run(command("--name", "it"), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.count("already holds a run") == 1
    assert "lost the other ranks" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_ranks_solve_cartpole(seed: int, tmp_path):
    with started(tmp_path, "--seed", str(seed), "--name", "it") as process:
        process.communicate()
    last = events_of(tmp_path / "runs" / "it", UpdateFinished)[-1]
    assert last.metrics["rollout/ep_rew_mean"] >= 475


# ── Without starting anything ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["rollout.num_envs=7"], ("rollout.num_envs = 7", "3 processes", "--envs 6")),
        (["rollout.num_envs=6", "workers.count=4"], ("workers.count = 4", "--workers 3")),
        (["rollout.num_envs=6", "workers.count=3", "workers.groups=2"], ("workers.groups = 2", "--workers 6")),
        (["rollout.num_envs=6", "run.overlap=true"], ("run.overlap = true", "without torchrun")),
        (["rollout.num_envs=6", "run.compile=true"], ("run.compile = true", "without torchrun")),
    ],
)
def test_what_cannot_be_split_is_refused(overrides: list[str], words: Sequence[str]):
    with pytest.raises(ConfigError) as refusal:
        share_of_config(load_preset("cartpole", overrides=overrides), 3, 3)
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_a3c_is_refused():
    with pytest.raises(ConfigError, match="run.algorithm = a3c"):
        share_of_config(load_preset("a3c-cartpole"), 2, 2)


def test_the_refusal_comes_before_the_ranks_meet(ppo_tui, tmp_path):
    place = {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "3", "TORCHELASTIC_RUN_ID": "a"}
    done = ppo_tui("--preset", "cartpole", "--headless", **place)
    assert done.returncode == 2
    assert done.stderr.startswith("ppo-tui: rank 1: rollout.num_envs = 8: the environments of a run cannot be split")
    assert list(tmp_path.iterdir()) == []


def test_each_rank_hosts_its_share_and_workers_for_its_share_of_the_cores():
    share = share_of_config(load_preset("cartpole", overrides=["workers.count=4"]), 2, 2)
    assert (share.rollout.num_envs, share.workers.count) == (4, 2)
    many = share_of_config(load_preset("cartpole"), 8, 1000)
    assert (many.rollout.num_envs, many.workers.count) == (1, 1)


def test_where_a_process_stands_is_what_torchrun_says():
    environment = {
        "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "job-7",
        "TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_MAX_RESTARTS": "3",
    }  # fmt: skip
    assert Place.here(environment) == Place(3, 4, 1, 2, "job-7", 1, 3)
    assert not Place.here({"RANK": "3"}).by_torchrun
    for key, text in (("RANK", "x"), ("RANK", "4"), ("LOCAL_RANK", "-1")):
        with pytest.raises(UsageError, match=key):
            Place.here({**environment, key: text})


@pytest.mark.slow
def test_all_ranks_stop_after_the_same_update_by_a_rule(tmp_path):
    """Rank 0 decides, by its own clock too; no rank waits in vain for another."""
    rules = ["--until", "5", "--until", "1h", "--set", "stop.window=5", "--set", "stop.held=3"]
    with started(tmp_path, "--total-steps", "8192", "--name", "it", *rules) as process:
        process.communicate()
    assert process.returncode == 0, (tmp_path / "errors").read_text()
    (finished,) = events_of(tmp_path / "runs" / "it", RunFinished)
    assert (finished.exit_code, finished.update, finished.by) == (0, 3, "rule")
    assert events_of(tmp_path / "runs" / "it", CheckpointSaved)[-1].step == finished.step
