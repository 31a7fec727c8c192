"""A checkpoint is whole or it is not there: whatever happens to its files, a damaged one is never read."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_tui import load_preset
from ppo_tui.distributed.ranks import ALONE
from ppo_tui.errors import RunFailedError, UsageError
from ppo_tui.protocol import Alarm, CheckpointSaved, CommandRefused
from ppo_tui.training.checkpoint import files as checkpoint_files
from ppo_tui.training.checkpoint import writer
from ppo_tui.training.checkpoint.files import (
    MANIFEST_FILE,
    CheckpointState,
    OpenedCheckpoint,
    Origin,
    SavedSchedule,
    list_checkpoints,
    newest_checkpoint,
    read_manifest,
    write_checkpoint_files,
)
from ppo_tui.training.checkpoint.manager import CheckpointManager
from ppo_tui.training.checkpoint.snapshot import Snapshot, read_checkpoint, write_checkpoint
from ppo_tui.training.checkpoint.writer import CheckpointWriter
from ppo_tui.training.hub import EventHub, FunctionSink, RunContext, TrainingClock
from ppo_tui.training.inbox import Inbox
from tests.conftest import ROOT
from tests.memory import memory_below

ORIGIN = Origin(
    versions={"torch": "2"}, code="c", cpu="c", device="cpu", act_threads=1, learn_threads=2, groups=((0, 2),)
)


def snapshot(step: int = 7, *, size: int = 8) -> Snapshot:
    state = CheckpointState(
        step=step,
        update=step,
        seconds=1.5,
        config={"env": {"id": "CartPole-v1"}},
        settings={"ppo.clip_range": SavedSchedule(value=0.1 + 0.2, since=1 / 3)},
        learner={"epochs_done": 4, "adaptive": {"kl_coef": {"value": 0.3, "setting": None}}},
        episodes=3,
        best=None,
        metrics={"train/loss": 0.1, "rollout/ep_rew_mean": None},
        env_sizes=(3, 0, 2),
        origin=ORIGIN,
    )
    return Snapshot(
        state=state,
        policy={"w": torch.full((size,), float(step))},
        optimizer={"adam/w/step": torch.tensor(1.0)},
        rollout={"frames": torch.arange(5, dtype=torch.uint8)},
        envs=(b"\0\1\2", b"", b"ab"),
    )


def same(one: Snapshot, other: Snapshot) -> bool:
    return (
        (one.state, one.envs) == (other.state, other.envs)
        and all(torch.equal(value, other.policy[name]) for name, value in one.policy.items())
        and torch.equal(one.rollout["frames"], other.rollout["frames"])
    )


def test_what_is_written_is_read(tmp_path):
    write_checkpoint(tmp_path / "a", snapshot())
    assert same(read_checkpoint(tmp_path / "a"), snapshot())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"], "nothing else is left"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "whole"
    write_checkpoint(path, snapshot())
    return path


FILES = ["policy.safetensors", "optimizer.safetensors", "rollout.safetensors", "envs.bin", "state.json", MANIFEST_FILE]


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@settings(max_examples=60)
def test_a_flipped_bit_anywhere_is_noticed(written: Path, name: str, data):
    content = (written / name).read_bytes()
    position = data.draw(st.integers(0, 8 * len(content) - 1))
    check_refused(written, name, flipped(content, position))


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_single_bit_that_flips_is_noticed(written: Path, name: str):
    content = (written / name).read_bytes()
    for position in range(8 * len(content)):
        check_refused(written, name, flipped(content, position))


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@settings(max_examples=20)
def test_a_file_cut_short_is_noticed(written: Path, name: str, data):
    content = (written / name).read_bytes()
    check_refused(written, name, content[: data.draw(st.integers(0, len(content) - 1))])


@given(content=st.binary(max_size=300) | st.text().map(str.encode) | st.integers(1, 5000).map(lambda n: b"[" * n))
def test_any_other_manifest_is_refused(written: Path, content: bytes):
    check_refused(written, MANIFEST_FILE, content)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_noticed(written: Path, name: str, tmp_path):
    shutil.copytree(written, tmp_path / "copy")
    (tmp_path / "copy" / name).unlink()
    with pytest.raises(UsageError, match=name.replace(".", r"\.")):
        read_checkpoint(tmp_path / "copy")


def flipped(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


def check_refused(path: Path, name: str, content: bytes) -> None:
    """With this content the checkpoint is refused, in words; afterwards the file is as it was."""
    before = (path / name).read_bytes()
    try:
        (path / name).write_bytes(content)
        with pytest.raises(UsageError):
            read_checkpoint(path)
    finally:
        (path / name).write_bytes(before)


class Canary:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_pickle_in_a_files_place_is_refused_and_not_executed(name: str, tmp_path):
    """Even with a manifest that vouches for it."""
    write_checkpoint(tmp_path / "honest", snapshot())
    names = [file for file in FILES if file != MANIFEST_FILE]
    files = {file: (tmp_path / "honest" / file).read_bytes() for file in names}
    files[name] = pickle.dumps(Canary(tmp_path / "executed"))
    write_checkpoint_files(tmp_path / "forged", files, serial=1, step=7, update=7, reason="manual")
    with pytest.raises(UsageError, match=f"{name} has an unsupported format"):
        read_checkpoint(tmp_path / "forged")
    torch.save({"w": Canary(tmp_path / "executed")}, tmp_path / "forged" / name)
    with pytest.raises(UsageError, match="missing or damaged"):
        read_checkpoint(tmp_path / "forged")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("version", [1, 3, 99])
def test_another_versions_format_is_refused_by_name(version: int, written: Path, tmp_path):
    shutil.copytree(written, tmp_path / "copy")
    seal = json.loads((written / MANIFEST_FILE).read_bytes())
    seal["manifest"]["format"] = version
    seal["manifest"]["news"] = "of a later version"
    for content in (seal, {"format": version, "sha256": {}}):
        (tmp_path / "copy" / MANIFEST_FILE).write_text(json.dumps(content))
        with pytest.raises(UsageError, match=f"format {version}; this version reads format 2"):
            read_checkpoint(tmp_path / "copy")


# ── Replacing and finding ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("exchange", [True, False])
def test_a_checkpoint_is_replaced_without_a_moment_without_one(exchange: bool, tmp_path, monkeypatch):
    """Every system call that changes a name leaves a whole checkpoint behind, the old one or the new one.

    And nothing that looks like a damaged one, whenever the process is killed.
    """
    if not exchange:  # as on systems that cannot swap two names
        monkeypatch.setattr(checkpoint_files, "exchange_paths", lambda one, other: False)
    write_checkpoint(tmp_path / "step", snapshot(1), serial=1)
    steps: list[int] = []
    damaged: list[str] = []

    def watch(event: str, arguments: tuple) -> None:
        if watching and event in ("os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.mkdir", "open"):
            watching.clear()
            newest, problems = newest_checkpoint(tmp_path)
            steps.append(read_checkpoint(newest).state.step)
            damaged.extend(problems)
            watching.append(True)

    watching = [True]
    sys.addaudithook(watch)
    write_checkpoint(tmp_path / "step", snapshot(2), serial=2)
    watching.clear()
    assert not damaged
    assert set(steps) == {1, 2}
    assert steps == sorted(steps)
    assert [path.name for path in tmp_path.iterdir()] == ["step"]


def test_the_newest_is_the_one_saved_last_and_not_the_one_that_got_furthest(tmp_path):
    for serial, step in ((1, 10), (2, 100), (3, 20)):
        write_checkpoint(tmp_path / f"step-{step:012d}", snapshot(step), serial=serial)
    newest, problems = newest_checkpoint(tmp_path)
    assert (newest.path, problems) == (tmp_path / "step-000000000020", [])


def test_damaged_and_unfinished_ones_are_passed_over_aloud(tmp_path):
    for serial in (1, 2, 3):
        write_checkpoint(tmp_path / f"step-{serial}", snapshot(serial), serial=serial)
    (tmp_path / "step-3" / "envs.bin").write_bytes(b"")
    (tmp_path / "step-2" / MANIFEST_FILE).write_bytes(b"{")
    shutil.copytree(tmp_path / "step-1", tmp_path / ".step-9.1-a.tmp")
    (tmp_path / "step-8").mkdir()
    newest, problems = newest_checkpoint(tmp_path)
    assert newest.path == tmp_path / "step-1"
    assert len(problems) == 3
    assert any("step-3: envs.bin" in problem for problem in problems)
    (tmp_path / "step-1" / "state.json").unlink()
    with pytest.raises(RunFailedError, match=r"(?s)no whole checkpoint.*step-1: state\.json"):
        newest_checkpoint(tmp_path)


def killed_while_saving(directory: Path, delay: float) -> None:
    """Kill a process that saves one checkpoint after the other, `delay` seconds after its first one stands."""
    script = (
        "import sys; from pathlib import Path; from tests.training.checkpoint.test_files import *\n"
        "for step in range(1, 10**6):\n"
        "    write_checkpoint(Path(sys.argv[1]) / f'step-{step % 3}', snapshot(step, size=20_000), serial=step)\n"
        "    print(step, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(directory)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "1\n"
    time.sleep(delay)
    process.kill()
    told = process.stdout.read().split()
    process.wait()
    newest = read_checkpoint(newest_checkpoint(directory)[0]).state.step
    assert newest >= int(told[-1] if told else 1), "what was said to be saved is there"
    found, problems = list_checkpoints(directory)
    assert not problems
    assert all(read_checkpoint(path) for path, _ in found)


def test_kill_minus_9_during_a_save_leaves_whole_checkpoints(tmp_path):
    for index in range(2):
        killed_while_saving(tmp_path / str(index), random.Random(index).uniform(0.0, 0.1))


@pytest.mark.slow
def test_kill_minus_9_at_a_hundred_moments_of_a_save():
    """In a process without threads, which can fork the victims: each would take seconds to start."""
    command = [sys.executable, "-m", "tests.faults.figures", "kills", "--count", "100"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("100 kills while saving"), done.stderr


# ── Keeping ─────────────────────────────────────────────────────────────────────────────────────────────────


class Kept:
    """A writer of checkpoints, and what came of them."""

    def __init__(self, directory: Path, *, seconds: float = 1000.0, keep: int = 2) -> None:
        self.events: list = []
        overrides = [f"run.checkpoint_seconds={seconds}", f"run.keep_checkpoints={keep}"]
        settings = load_preset("cartpole", overrides=overrides).run
        self.writer = CheckpointWriter(directory, settings, Inbox(), lambda: None)

    def save(self, step: int, reason: str = "periodic", score: float | None = None) -> None:
        self.writer.write(snapshot(step), reason, score=score, waited=0.0)
        self.writer.wait()
        self.events += self.writer.take_outcomes()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_newest_few_the_best_and_those_saved_by_hand_are_kept(tmp_path):
    kept = Kept(tmp_path)
    kept.save(1, "manual")
    kept.save(2, "best", score=9.0)
    for step in (3, 4, 5, 6):
        kept.save(step, score=1.0)
    steps = [f"step-{step:012d}" for step in (1, 2, 5, 6)]
    assert names(tmp_path) == ["best", "latest", *steps]
    assert (tmp_path / "latest").resolve().name == steps[-1]
    assert (tmp_path / "best").resolve().name == steps[1]
    assert [event.reason for event in kept.events] == ["manual", "best", *["periodic"] * 4]
    assert Kept(tmp_path).writer.due(None) is None


def test_a_checkpoint_knows_the_best_score_its_own_included(tmp_path):
    """A run resumed from it would otherwise take a worse policy for the best."""
    kept = Kept(tmp_path, keep=9)
    for step, score in ((1, 3.0), (2, 9.0), (3, 5.0), (4, None)):
        kept.save(step, score=score)
    states = [OpenedCheckpoint.open(tmp_path / f"step-{step:012d}").state for step in (1, 2, 3, 4)]
    assert [state.best for state in states] == [3.0, 9.0, 9.0, 9.0]
    assert (tmp_path / "best").resolve().name == "step-000000000002"


def test_what_is_due_is_the_first_score_a_better_one_and_an_old_checkpoint(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])
    kept = Kept(tmp_path, seconds=1e-9)
    now[0] += 1.0
    assert kept.writer.due(None) == "periodic"
    assert kept.writer.due(3.0) == "best"
    kept.save(1, "best", score=3.0)
    now[0] += 1000.0  # better policies are saved only so often
    assert kept.writer.due(3.0) == "periodic"
    assert kept.writer.due(3.1) == "best"
    patient = Kept(tmp_path)
    assert patient.writer.due(None) is None


def test_a_checkpoint_is_saved_before_an_update_that_would_make_the_last_one_too_old(tmp_path, monkeypatch):
    """Saved every 60 s at most, with updates of 7 s: at 56 s, as at 63 s it would be too late."""
    now = [0.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])
    kept = Kept(tmp_path, seconds=60.0)
    reasons = []
    for now[0] in range(7, 130, 7):
        if reason := kept.writer.due(None):
            kept.save(now[0], reason)
            reasons.append(now[0])
    assert reasons == [56, 112]


def test_a_full_disk_is_an_alarm_that_names_what_is_kept_and_it_is_tried_again(tmp_path, monkeypatch):
    """The limit on file sizes is a real one: the system refuses the write as it does on a full disk."""
    monkeypatch.setattr(writer, "FIRST_RETRY_SECONDS", 0.05)
    kept = Kept(tmp_path, seconds=0.01)
    kept.save(1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        kept.save(2)
        assert kept.writer.due(None) is None, "it waits before it tries again"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    saved, alarm = kept.events
    assert isinstance(saved, CheckpointSaved)
    assert isinstance(alarm, Alarm)
    free = f"{shutil.disk_usage(tmp_path).free:,}"[:3]
    assert "checkpoint of step 2 failed: File too large" in alarm.message
    assert f", {free}" in alarm.message
    assert "kept step 1" in alarm.message
    assert newest_checkpoint(tmp_path)[0].path.name == "step-000000000001"
    assert names(tmp_path) == ["latest", "step-000000000001"], "nothing half-written is left"
    time.sleep(0.06)
    assert kept.writer.due(None) == "periodic"
    kept.save(3)
    assert newest_checkpoint(tmp_path)[0].path.name == "step-000000000003"


def test_what_a_killed_process_left_behind_is_cleared_away(tmp_path):
    write_checkpoint(tmp_path / "step-1", snapshot(1), serial=41)
    (tmp_path / ".step-2.123-abc.tmp").mkdir()
    kept = Kept(tmp_path)
    assert names(tmp_path) == ["step-1"]
    kept.save(2)
    assert list_checkpoints(tmp_path)[0][0][1].serial == 42, "later than everything before"
    assert os.readlink(tmp_path / "latest") == "step-000000000002"


# ── Files of strangers ──────────────────────────────────────────────────────────────────────────────────────


def forge(path: Path, names: dict[str, bytes]) -> None:
    """Write a checkpoint whose manifest names these files, too, with the right checksums."""
    write_checkpoint(path, snapshot())
    manifest = read_manifest(path)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in names.items()}
    forged = msgspec.structs.replace(manifest, files=manifest.files | sums)
    body = msgspec.json.encode(forged)
    seal = {"manifest": json.loads(body), "sha256": hashlib.sha256(body).hexdigest()}
    (path / MANIFEST_FILE).write_text(json.dumps(seal, indent=1))


@pytest.mark.parametrize("name", ["/dev/zero", "../fifo", "..", ".", "", "a/b", "../../secret"])
def test_a_manifest_with_other_names_than_of_its_own_files_is_damaged(tmp_path: Path, name: str):
    os.mkfifo(tmp_path / "fifo")
    forge(tmp_path / "step-1", {name: b""})
    for read in (OpenedCheckpoint.open, read_manifest):
        with pytest.raises(UsageError, match=r"manifest\.json is missing or damaged"):
            read(tmp_path / "step-1")
    assert list_checkpoints(tmp_path)[0] == []


@pytest.mark.parametrize("kind", ["FIFO", "device", "directory", "link"])
@pytest.mark.parametrize("name", [MANIFEST_FILE, "envs.bin"])
def test_a_special_file_in_a_checkpoint_is_refused_and_never_waited_for(tmp_path: Path, kind: str, name: str):
    file = tmp_path / "step-1" / name
    write_checkpoint(tmp_path / "step-1", snapshot())
    (tmp_path / "content").write_bytes(file.read_bytes())
    file.unlink()
    if kind == "FIFO":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if kind == "device" else tmp_path / "content")
    with pytest.raises(UsageError):
        OpenedCheckpoint.open(tmp_path / "step-1")
    with pytest.raises(RunFailedError, match="no whole checkpoint"):
        newest_checkpoint(tmp_path)


def test_files_larger_than_the_memory_are_refused_unread(tmp_path: Path):
    write_checkpoint(tmp_path / "step-1", snapshot())
    os.truncate(tmp_path / "step-1" / "envs.bin", 2**42)  # a hole: it takes no room on the disk
    with pytest.raises(UsageError, match="larger than half of the memory"):
        OpenedCheckpoint.open(tmp_path / "step-1")


def test_a_large_file_is_hashed_before_it_is_taken_into_memory(tmp_path: Path):
    write_checkpoint(tmp_path / "step-1", snapshot())
    os.truncate(tmp_path / "step-1" / "envs.bin", 2**28 + 1)
    with memory_below(2**25), pytest.raises(UsageError, match=r"envs\.bin is missing or damaged"):
        OpenedCheckpoint.open(tmp_path / "step-1")


def test_rewinding_to_a_strangers_checkpoint_is_refused(tmp_path: Path):
    events: list = []
    clock = TrainingClock()
    context = RunContext(load_preset("cartpole"), clock, EventHub([FunctionSink(events.append)], clock), ALONE)
    manager = CheckpointManager(context, None, Inbox(), tmp_path)  # no part of a run is touched
    (tmp_path / "fifo").mkdir()
    os.mkfifo(tmp_path / "fifo" / MANIFEST_FILE)
    (tmp_path / "out").symlink_to("/")
    for text in ("fifo", str(tmp_path / "fifo"), "out", "/dev/zero", "nul\0", "n" * 5_000, "", "nowhere"):
        assert manager.rewind(text) is None
    assert [type(event) for event in events] == [CommandRefused] * 8


def test_no_others_directory_is_cleared_away(tmp_path: Path):
    (tmp_path / ".important.tmp").mkdir()
    Kept(tmp_path)
    assert names(tmp_path) == [".important.tmp"]
