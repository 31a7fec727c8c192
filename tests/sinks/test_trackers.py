"""TensorBoard, Weights & Biases and MLflow get what `metrics.jsonl` gets, read back by their own readers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ppo_tui.config import load_preset
from ppo_tui.errors import ConfigError
from ppo_tui.protocol import (
    Alarm,
    Evaluated,
    Rewound,
    RunFinished,
    RunResumed,
    RunStarted,
    RunState,
    SettingChanged,
    UpdateFinished,
)
from ppo_tui.runs import RunDirectory
from ppo_tui.sinks.tracker import check_tracking, tracking_sinks
from ppo_tui.training.hub import EventHub, FunctionSink, TrainingClock


def started(config) -> RunStarted:
    from ppo_tui.config import to_tables

    return RunStarted(
        run="pole", config=to_tables(config), seed=1, total_steps=1000, num_envs=8, num_workers=2,
        rollout_steps=32, env_slices=((0, 4), (4, 8)), device="cpu", parameters=9155, versions={},
    )  # fmt: skip


def update(number: int, value: float) -> UpdateFinished:
    metrics = {"rollout/ep_rew_mean": value, "train/value_loss": None, "train/approx_kl": float("nan")}
    return UpdateFinished(update=number, step=256 * number, metrics=metrics | {"time/total_timesteps": 256 * number})


END = RunFinished(state=RunState.FINISHED, exit_code=0, reason="done", step=768, update=3)
EDIT = SettingChanged(key="ppo.clip_range", old=0.1, new=0.2, by="ada", step=256, update=1)


@pytest.fixture
def story(tmp_path):
    """Publish the events of a run to the trackers of these settings; returns the alarms about them."""

    def publish(*overrides: str, events=None) -> tuple[RunDirectory, list[Alarm]]:
        config = load_preset("cartpole", overrides=overrides)
        path = tmp_path / "pole"
        run = RunDirectory(path) if path.exists() else RunDirectory.create(config, label="cartpole", path=path)
        alarms: list[Alarm] = []
        keep = FunctionSink(lambda event: alarms.append(event) if isinstance(event, Alarm) else None)
        hub = EventHub([*tracking_sinks(config, run), keep], TrainingClock())
        for event in (started(config), *(events or (update(1, 10.0), EDIT, update(2, 20.0), END))):
            hub.publish(event)
        return run, alarms

    return publish


def scalars(run: RunDirectory, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(run.tensorboard))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def test_tensorboard_has_the_metrics_under_their_names(story):
    pytest.importorskip("tensorboard")
    late = Evaluated(
        path="x",
        step=256,
        update=1,
        metrics={"eval/ep_rew_mean": 12.0, "eval/ep_rew_std": None},
        best=True,
        seconds=1.0,
    )
    run, alarms = story(events=(update(1, 10.0), update(2, 20.0), late, END))
    assert scalars(run, "rollout/ep_rew_mean") == [(256, 10.0), (512, 20.0)]
    assert scalars(run, "eval/ep_rew_mean") == [(256, 12.0)]
    assert scalars(run, "time/total_timesteps") == [(256, 256.0), (512, 512.0)]
    assert alarms == []


def test_tensorboard_gets_one_event_for_an_update(story):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    run, _ = story(events=(update(1, 10.0), update(2, 20.0), END))
    (file,) = run.tensorboard.iterdir()
    tags = [[value.tag for value in event.summary.value] for event in EventFileLoader(str(file)).Load() if event.step]
    assert tags == [["rollout/ep_rew_mean", "time/total_timesteps"]] * 2


def test_tensorboard_gets_each_update_its_own_metrics(story):
    pytest.importorskip("tensorboard")
    metrics = [{"a": 1.0, "b": 2.0}, {"b": 3.0}, {"a": 4.0, "b": 5.0}, {"b": 6.0, "a": 7.0}]
    events = [UpdateFinished(update=n, step=256 * n, metrics=found) for n, found in enumerate(metrics, 1)]
    run, _ = story(events=[*events, END])
    assert scalars(run, "a") == [(256, 1.0), (768, 4.0), (1024, 7.0)]
    assert scalars(run, "b") == [(256, 2.0), (512, 3.0), (768, 5.0), (1024, 6.0)]


def test_tensorboard_gets_updates_with_ever_other_metrics(story):
    pytest.importorskip("tensorboard")
    numbers = [*range(1, 30), *range(1, 30)]
    events = [UpdateFinished(update=n, step=n, metrics={f"m{k}": float(n)}) for n, k in enumerate(numbers, 1)]
    run, _ = story(events=[*events, END])
    assert [scalars(run, f"m{k}") for k in range(1, 30)] == [[(k, k), (k + 29, k + 29)] for k in range(1, 30)]


def test_tensorboard_takes_no_free_memory_from_the_training(tmp_path):
    """Protobuf gives all of it back to the system whenever it has freed 10,000 blocks."""
    pytest.importorskip("tensorboard")
    program = """
import sys
from pathlib import Path
from psutil import Process
from ppo_tui.config import load_preset
from ppo_tui.runs import RunDirectory
from ppo_tui.sinks.tensorboard import TensorBoard

tensorboard = TensorBoard(RunDirectory.create(load_preset("cartpole"), label="pole", path=Path(sys.argv[1])))
metrics = {f"train/{number}": 0.5 for number in range(40)}
tensorboard.log(metrics, 1, 1.0)
room = [bytes(10_000) for _ in range(5_000)]
above = bytes(10_000)
del room
before = Process().memory_info().rss
for step in range(10_000):
    tensorboard.log(metrics, step, float(step))
print(before - Process().memory_info().rss)
tensorboard.end(0)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "pole"], capture_output=True, text=True, timeout=100
    )
    assert int(ended.stdout) < 5_000_000, ended.stderr


def test_tensorboard_has_settings_and_their_changes(story):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run, _ = story("notify.webhook=http://localhost:1/secret")
    accumulator = EventAccumulator(str(run.tensorboard))
    accumulator.Reload()
    plugin_data = accumulator.SummaryMetadata("_hparams_/session_start_info").plugin_data
    content = HParamsPluginData.FromString(plugin_data.content).session_start_info
    assert content.hparams["optim.learning_rate"].number_value == pytest.approx(1e-3)
    assert content.hparams["env.id"].string_value == "CartPole-v1"
    assert not any(key.startswith("notify") for key in content.hparams)
    (tensor,) = accumulator.Tensors("settings/text_summary")
    assert tensor.tensor_proto.string_val[0] == "ppo.clip_range 0.1 → 0.2 (by ada) at step 256".encode()


def test_tensorboard_forgets_what_a_rewind_or_a_crash_made_void(story):
    pytest.importorskip("tensorboard")
    rewound = Rewound(path="x", step=256, update=1)
    run, _ = story(events=(update(1, 1.0), update(2, 2.0), update(3, 3.0), rewound, update(2, 22.0), END))
    resumed = RunResumed(path="x", step=256, update=1)
    assert scalars(run, "rollout/ep_rew_mean") == [(256, 1.0), (512, 22.0)]
    story(events=(resumed, update(2, 222.0), END))
    assert scalars(run, "rollout/ep_rew_mean") == [(256, 1.0), (512, 222.0)]


def test_tensorboard_is_written_where_it_is_installed_and_can_be_turned_off(story):
    pytest.importorskip("tensorboard")
    run, _ = story("tracking.tensorboard=false")
    assert not run.tensorboard.exists()


def test_mlflow_has_metrics_parameters_and_the_end(story, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    uri = tmp_path / "mlflow"
    _, alarms = story(f"tracking.mlflow={uri}", "tracking.tensorboard=false")
    assert alarms == []
    client = mlflow.MlflowClient(tracking_uri=str(uri))
    (kept,) = client.search_runs([client.get_experiment_by_name("ppo-tui").experiment_id])
    assert (kept.info.run_name, kept.info.status) == ("pole", "FINISHED")
    assert kept.data.params["optim.learning_rate"] == "0.001"
    assert curve(client, kept) == [(256, 10.0), (512, 20.0)]
    # A resumed run goes on with the same one.
    story(f"tracking.mlflow={uri}", "tracking.tensorboard=false", events=(update(3, 30.0), END))
    (kept,) = client.search_runs([kept.info.experiment_id])
    assert kept.data.metrics["rollout/ep_rew_mean"] == 30.0


def curve(client, run) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "rollout/ep_rew_mean")]


def test_mlflow_has_a_curve_in_its_order(story, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    uri = tmp_path / "mlflow"
    numbers = range(1, 41)
    story(f"tracking.mlflow={uri}", "tracking.tensorboard=false", events=[*(update(n, float(n)) for n in numbers), END])
    client = mlflow.MlflowClient(tracking_uri=str(uri))
    (kept,) = client.search_runs([client.get_experiment_by_name("ppo-tui").experiment_id])
    assert curve(client, kept) == [(256 * n, float(n)) for n in numbers]


def test_mlflow_is_let_go_with_the_exception_of_a_failed_call(story, tmp_path):
    pytest.importorskip("mlflow")
    uri = tmp_path / "mlflow"
    uri.write_text("in its place")
    _, (alarm,) = story(f"tracking.mlflow={uri}", "tracking.tensorboard=false")
    assert "MLflow failed and was detached: " in alarm.message
    assert str(uri) in alarm.message


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and never replies."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_an_mlflow_server_that_does_not_answer_holds_up_nothing_but_the_end_and_that_not_for_long(
    story, silent_server, monkeypatch
):
    pytest.importorskip("mlflow")
    monkeypatch.setattr("ppo_tui.sinks.tracker.END_SECONDS", 0.2)
    _, (alarm,) = story(f"tracking.mlflow={silent_server}", "tracking.tensorboard=false")
    assert alarm.message == "MLflow failed and was detached: no answer within 0.2 s"


def wandb_records(path: Path) -> Iterator[Any]:
    """What Weights & Biases wrote: protocol buffers in LevelDB's log format, blocks of 32 KiB after a short header."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, offset, parts = path.read_bytes(), 7, b""
    while offset + 7 <= len(content):
        if 32768 - offset % 32768 < 7:
            offset += 32768 - offset % 32768
            continue
        length, kind = int.from_bytes(content[offset + 4 : offset + 6], "little"), content[offset + 6]
        parts += content[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def test_wandb_keeps_a_run_offline(story):
    wandb = pytest.importorskip("wandb")
    run, alarms = story("tracking.wandb=offline", "tracking.tensorboard=false")
    assert alarms == []
    wandb.teardown()  # as at the end of a process: its service writes the last rows after the run has been finished
    (file,) = run.path.glob("wandb/offline-run-*/*.wandb")
    records = list(wandb_records(file))
    rows = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    assert [(row["time/total_timesteps"], row["rollout/ep_rew_mean"]) for row in rows] == [(256, 10.0), (512, 20.0)]
    (begun,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert begun.display_name == "pole"
    config = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in begun.config.update}
    assert config["env.id"] == "CartPole-v1"


def test_a_tracker_that_fails_is_let_go_with_a_word_and_the_others_go_on(story, tmp_path):
    pytest.importorskip("tensorboard")
    RunDirectory.create(load_preset("cartpole"), label="cartpole", path=tmp_path / "pole").release()
    (tmp_path / "pole" / "tensorboard").write_text("in the way")
    _, alarms = story()
    (alarm,) = alarms
    assert "TensorBoard failed and was detached" in alarm.message


@pytest.mark.parametrize("name", ["tensorboard=true", "wandb=online", "mlflow=here"])
def test_what_is_not_installed_is_refused_before_the_run(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match="is not installed\n  pip install 'ppo-tui") as caught:
        check_tracking(load_preset("cartpole", overrides=[f"tracking.{name}"]))
    assert f"tracking.{name.partition('=')[0]}" in str(caught.value)
