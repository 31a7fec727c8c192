"""A run directory made by somebody else harms no file, and a damaged one harms no other."""

from __future__ import annotations

import errno
import json
import os
import queue
import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ppo_tui.commands.output import whole_runs
from ppo_tui.comparison.groups import read_run
from ppo_tui.directories import Directory, opened
from ppo_tui.errors import DamagedRunError, UsageError
from ppo_tui.files import RefusedFileError
from ppo_tui.launch import TrainRequest, prepare, prepare_or_resume, prepare_resume
from ppo_tui.reporting.record import read_record
from ppo_tui.runs import RunDirectory, find_run, list_runs, registry, run_directories
from ppo_tui.runs.background import start_detached
from ppo_tui.runs.creation import git_commit
from ppo_tui.runs.history import recorded_events, recorded_metrics, set_aside_after
from ppo_tui.runs.registry import RunSummary
from ppo_tui.sinks import EventLog
from ppo_tui.training import Trainer
from ppo_tui.training.inbox import Inbox
from tests.conftest import linux_alone

PRECIOUS = "precious = 1\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The directory of a run with one checkpoint."""
    path = tmp_path_factory.mktemp("trained") / "run"
    config = small()
    run = RunDirectory.create(config, label="cartpole", path=path)
    log = EventLog(run)
    trainer = Trainer(config, sinks=[log], run_dir=path, checkpoint_dir=run.held / "checkpoints")
    assert trainer.run().exit_code == 0
    log.close()
    run.update(status="stopped")
    run.release()
    return path


def small():
    from ppo_tui import load_preset

    overrides = ["run.total_steps=256", "rollout.num_envs=2", "rollout.steps=64", "ppo.minibatches=1", "ppo.epochs=1"]
    return load_preset("cartpole", overrides=[*overrides, "workers.count=1", "tracking.tensorboard=false"])


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, for damage."""
    shutil.copytree(trained, tmp_path / "runs" / "run", symlinks=True)
    return tmp_path / "runs" / "run"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "victim"
    file.write_text(PRECIOUS)
    return file


def resume(path: Path) -> RunDirectory:
    """Prepare to resume, as the command does, and end at once."""
    directory = RunDirectory(path)
    prepared = prepare_resume(directory, overrides=["run.total_steps=1024"])
    prepared.close()
    directory.release()
    return directory


def request(path: Path, **options) -> TrainRequest:
    return TrainRequest(config=small(), label="cartpole", run_dir=path, **options)


def tree(path: Path) -> dict[str, bytes | None]:
    """Every entry below a directory with its content."""
    return {
        str(entry.relative_to(path)): entry.read_bytes() if entry.is_file() else None
        for entry in sorted(path.rglob("*"))
    }


# ── Links ───────────────────────────────────────────────────────────────────────────────────────────────────

CHANGED = [
    "run.lock",
    "events.jsonl",
    "metrics.jsonl",
    "run.log",
    "workers.log",
    "events.abandoned.jsonl",
    "metrics.abandoned.jsonl",
]


@pytest.mark.parametrize("name", [*CHANGED, "run.json", "config.toml"])
def test_a_link_in_a_files_place_is_refused_before_anything_is_written(run: Path, victim: Path, name: str):
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim)
    before = tree(run)
    with pytest.raises(RefusedFileError, match=f"{name} is a symbolic link"):
        resume(run)
    with pytest.raises(UsageError):
        prepare_or_resume(request(run, resume=True, overrides=("run.total_steps=1024",)))
    assert (victim.read_text(), tree(run)) == (PRECIOUS, before)


@pytest.mark.parametrize("name", CHANGED)
def test_a_second_name_of_another_file_is_refused(run: Path, victim: Path, name: str):
    (run / name).unlink(missing_ok=True)
    (run / name).hardlink_to(victim)
    with pytest.raises(RefusedFileError, match="hard link"):
        resume(run)
    assert victim.read_text() == PRECIOUS


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard", "wandb"])
def test_a_link_in_a_directorys_place_is_refused(run: Path, tmp_path: Path, name: str):
    elsewhere = tmp_path / "elsewhere"
    if (run / name).exists():
        (run / name).rename(elsewhere)
    (elsewhere / ".step-1.x.tmp").mkdir(parents=True)
    (run / name).symlink_to(elsewhere)
    before = tree(elsewhere)
    with pytest.raises(RefusedFileError, match=f"{name} is a symbolic link"):
        resume(run)
    assert tree(elsewhere) == before


def test_links_at_temporary_names_and_on_the_way_out_change_nothing_elsewhere(run: Path, victim: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in (".config.toml.tmp", ".run.json.tmp", "control.sock"):
        (run / name).symlink_to(victim)
    for name in ("latest", "best"):
        (run / "checkpoints" / name).unlink(missing_ok=True)
        (run / "checkpoints" / name).symlink_to(elsewhere)
    (run / "abandoned-1").symlink_to(elsewhere)
    resume(run)
    shutil.rmtree(next((run / "checkpoints").glob("step-*")))
    prepare_or_resume(request(run, resume=True)).close()
    assert (victim.read_text(), tree(elsewhere)) == (PRECIOUS, {})
    assert (run / "abandoned-2" / "events.jsonl").exists()


@pytest.mark.parametrize(
    "use",
    [
        lambda held, name: held.open_file(name).close(),
        lambda held, name: held.read(name, 100),
        lambda held, name: held.append_to(name),
        lambda held, name: held.open_to_change(name, os.O_TRUNC),
        lambda held, name: held.write_new(name, b"new"),
        lambda held, name: held.subdirectory(name),
        lambda held, name: held.subdirectory(name, make=True),
    ],
    ids=["open", "read", "append", "change", "write", "directory", "make"],
)
@pytest.mark.parametrize("target", ["precious", "folder"])
def test_each_access_below_a_held_directory_refuses_a_link(tmp_path: Path, use: Callable, target: str):
    """A link may be put there after `refuse_strangers`."""
    (tmp_path / "precious").write_text(PRECIOUS)
    (tmp_path / "folder").mkdir()
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "link").symlink_to(tmp_path / target)
    with opened(tmp_path / "held") as held, pytest.raises((RefusedFileError, FileExistsError)):
        use(held, "link")
    assert (tmp_path / "precious").read_text() == PRECIOUS


def test_a_file_that_is_written_takes_the_place_of_a_link_and_leaves_its_target(tmp_path: Path):
    (tmp_path / "precious").write_text(PRECIOUS)
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "facts").symlink_to(tmp_path / "precious")
    with opened(tmp_path / "held") as held:
        held.write("facts", b"new")
        assert held.read("facts", 100) == b"new"
    assert (tmp_path / "precious").read_text() == PRECIOUS


def test_a_directory_in_the_place_of_latest_is_kept_under_another_name(run: Path):
    """Copies that follow links have whole directories there."""
    config, checkpoints = small(), run / "checkpoints"
    (checkpoints / "latest").unlink()
    shutil.copytree(next(checkpoints.glob("step-*")), checkpoints / "latest")
    with Directory.open(run) as held:
        Trainer(config, checkpoint_dir=held / "checkpoints").run()
    assert (checkpoints / "latest").is_symlink()
    assert (checkpoints / "latest.aside" / "manifest.json").exists()


def test_entries_are_found_by_plain_names_alone(tmp_path: Path):
    with Directory.open(tmp_path) as directory:
        for name in ("", ".", "..", "../x", "/etc/passwd", "a/b", "a\0b"):
            for reach in (directory.stat, directory.append_to, directory.subdirectory, directory.remove):
                with pytest.raises(RefusedFileError, match="not the name"):
                    reach(name)


def test_a_closed_directory_leads_to_no_other_file(tmp_path: Path):
    directory = Directory.open(tmp_path)
    directory.close()
    with pytest.raises(OSError, match="closed") as raised:
        directory.write("file", b"")
    assert raised.value.errno == errno.EBADF


# ── Where a new run may begin ───────────────────────────────────────────────────────────────────────────────


@linux_alone
def test_too_many_open_files_are_no_directory_that_cannot_be_written(tmp_path: Path):
    prepared = prepare(request(tmp_path / "run"))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            prepared.trainer([], Inbox())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        prepared.close()


def begin(path: Path) -> None:
    prepare(request(path)).close()


def begin_again(path: Path) -> None:
    prepare_or_resume(request(path, resume=True))


def begin_detached(path: Path) -> None:
    start_detached(small(), label="cartpole", name=None, run_dir=path)


@pytest.mark.parametrize("start", [begin, begin_again, begin_detached])
@pytest.mark.parametrize("name", ["config.toml", "events.jsonl", "run.log", "thesis.tex"])
def test_a_directory_with_something_else_in_it_is_refused_untouched(tmp_path: Path, start: Callable, name: str):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / name).write_text(PRECIOUS)
    with pytest.raises(UsageError, match="not empty, and holds no run"):
        start(tmp_path / "project")
    assert tree(tmp_path / "project") == {name: PRECIOUS.encode()}


@pytest.mark.parametrize("start", [begin, begin_detached])
@pytest.mark.parametrize("path", ["n" * 300, "file/run", "file", "dangling", "nul\0"])
def test_a_path_that_can_be_no_directory_is_refused_in_words(tmp_path: Path, start: Callable, path: str):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(UsageError):
        start(tmp_path / path)
    assert sorted(os.listdir(tmp_path)) == ["dangling", "file"]


def test_a_fresh_disk_counts_as_empty(tmp_path: Path):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".gitkeep").touch()
    run = RunDirectory.create(small(), label="cartpole", path=tmp_path)
    run.discard()
    assert (tmp_path).exists()


# ── The lock ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_lock_stays_when_its_file_is_removed(tmp_path: Path):
    run = RunDirectory.create(small(), label="cartpole", path=tmp_path / "run")
    (tmp_path / "run" / "run.lock").unlink()
    other = RunDirectory(tmp_path / "run")
    with pytest.raises(UsageError, match=f"in use by pid {os.getpid()}"):
        other.acquire()
    assert other.holder == os.getpid()
    run.release()
    other.acquire()
    other.release()


def test_the_lock_moves_with_the_directory(tmp_path: Path):
    run = RunDirectory.create(small(), label="cartpole", path=tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert RunDirectory(tmp_path / "moved").holder == os.getpid()
    RunDirectory.create(small(), label="cartpole", path=tmp_path / "run").release()
    run.release()


@pytest.mark.parametrize("kind", ["directory", "FIFO", "socket"])
def test_the_lists_wait_for_no_special_file_in_the_locks_place(run: Path, kind: str):
    (run / "run.lock").unlink()
    make_special(run / "run.lock", kind)
    assert [(each.name, each.pid) for each in list_runs(run.parent)] == [("run", None)]
    with pytest.raises(RefusedFileError, match=f"run.lock is a {kind}"):
        resume(run)


def make_special(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as one:
            before = os.getcwd()
            os.chdir(path.parent)
            one.bind(path.name)
            os.chdir(before)


# ── Moved and removed ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[RunDirectory, queue.Queue[str]]]:
    run, reports = RunDirectory.create(small(), label="cartpole", path=tmp_path / "run"), queue.Queue()
    run.watch(reports.put)
    yield run, reports
    run.release()


@linux_alone
def test_a_moved_directory_keeps_receiving_everything(watched, tmp_path: Path):
    run, reports = watched
    log = EventLog(run)
    trainer = Trainer(small(), sinks=[log], run_dir=run.path, checkpoint_dir=run.held / "checkpoints")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert f"moved from {tmp_path / 'run'} to {tmp_path / 'moved'}" in reports.get(timeout=60)
    trainer.run()
    log.close()
    assert os.listdir(tmp_path) == ["moved"]
    moved = RunDirectory(tmp_path / "moved")
    assert (moved.read()["status"], run.path) == ("finished", moved.path)
    assert resume_step(moved) == 256
    assert len(recorded_metrics(moved)["time/iterations"]) == 2


def resume_step(run: RunDirectory) -> int:
    from ppo_tui.training.checkpoint.resume import ResumePoint

    return ResumePoint.newest(run.checkpoints).state.step


def test_a_removed_directory_is_said_and_never_made_anew(watched, tmp_path: Path):
    run, reports = watched
    log, events = EventLog(run), []
    trainer = Trainer(small(), sinks=[log, Collector(events)], checkpoint_dir=run.held / "checkpoints")
    shutil.rmtree(tmp_path / "run")
    assert "was removed" in reports.get(timeout=60)
    assert trainer.run().exit_code == 0, "the run goes on"
    log.close()
    assert os.listdir(tmp_path) == []
    assert any("checkpoint of step" in str(event) and "failed" in str(event) for event in events)


class Collector:
    def __init__(self, events: list) -> None:
        self.emit = events.append


# ── Damage ──────────────────────────────────────────────────────────────────────────────────────────────────


def overwrite(content: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(content)


DAMAGES = {
    "empty": overwrite(b""),
    "cut": lambda file: os.truncate(file, file.stat().st_size // 2),
    "garbage": overwrite(bytes(range(256))),
    "deep": overwrite(b"[" * 100_000),
    "list": overwrite(b"[1, 2]"),
    "missing": Path.unlink,
    "FIFO": lambda file: (file.unlink(), os.mkfifo(file)),
    "directory": lambda file: (file.unlink(), (file / "x").mkdir(parents=True)),
    "wrong types": overwrite(
        b'{"name": 5, "status": [], "seed": "x", "started": {}, "pid": "p", "total_steps": 1e400}'
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_json_is_rebuilt_and_the_run_resumes(run: Path, damage: str):
    before = json.loads((run / "run.json").read_text())
    DAMAGES[damage](run / "run.json")
    assert [(each.name, each.state, each.step) for each in list_runs(run.parent)] == [("run", "damaged", 256)]
    resume(run)
    after = json.loads((run / "run.json").read_text())
    for key in ("name", "seed", "env", "device", "versions"):
        assert after[key] == before[key]
    assert abs(after["started"] - before["started"]) < 600
    assert list_runs(run.parent)[0].state == "crashed"


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "deep", "missing", "FIFO", "directory"])
def test_a_damaged_config_is_taken_from_the_checkpoint(run: Path, damage: str):
    before = (run / "config.toml").read_text()
    DAMAGES[damage](run / "config.toml")
    if damage == "cut":
        (run / "config.toml").write_text(before[: before.index("[run]") + 3])
    resume(run)
    assert (run / "config.toml").read_text() == before.replace("total_steps = 256", "total_steps = 1024")


@pytest.mark.parametrize(
    "facts",
    [
        '{"started": Infinity}',
        '{"started": NaN}',
        '{"started": 1e300}',
        '{"started": -1e300}',
        '{"started": 1' + "0" * 400 + "}",
        '{"name": "\\ud800", "env": "\\u001b]0;x"}',
        '{"name": "' + "n" * 5_000 + '"}',
        '{"total_steps": 1' + "0" * 400 + ', "seed": true}',
        "[" * 100_000,
        "",
    ],
)
def test_a_damaged_neighbour_hides_no_other_run(run: Path, facts: str):
    from ppo_tui.commands.runs import print_runs

    (run.parent / "neighbour").mkdir()
    (run.parent / "neighbour" / "run.json").write_text(facts)
    os.mkfifo(run.parent / "neighbour" / "metrics.jsonl")
    (run.parent / "deep").mkdir()
    (run.parent / "deep" / "run.json").write_text("{}")
    (run.parent / "deep" / "metrics.jsonl").write_text('{"a": ' * 100_000 + "\n")
    (run.parent / "endless").mkdir()
    (run.parent / "endless" / "run.json").write_text("{}")
    (run.parent / "endless" / "metrics.jsonl").symlink_to("/dev/zero")
    found = list_runs(run.parent)
    assert len(found) == len(run_directories(run.parent)) == 4
    assert ("run", "stopped", 256) in [(each.name, each.state, each.step) for each in found]
    assert all(0 < len(each.name) < 300 for each in found)
    for as_json in (False, True):
        print_runs(found, as_json=as_json)
    assert find_run("run", runs_dir=run.parent).path == run
    assert find_run("latest", runs_dir=run.parent)


@pytest.mark.parametrize("error", [RecursionError, MemoryError, KeyError, OverflowError, UnicodeError])
def test_whatever_goes_wrong_with_a_neighbour_hides_no_other_run(tmp_path: Path, monkeypatch, error: type[Exception]):
    """The outer wall, for damage that no reader has thought of."""
    for name in ("whole", "neighbour"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    real = registry.summarise

    def summarise(run_dir: RunDirectory, *arguments) -> RunSummary:
        if run_dir.path.name == "neighbour":
            raise error
        return real(run_dir, *arguments)

    monkeypatch.setattr(registry, "summarise", summarise)
    problems = {each.name: each.problem for each in list_runs(tmp_path)}
    assert problems.keys() == {"whole", "neighbour"}
    assert error.__name__ in problems["neighbour"]
    assert find_run("latest", runs_dir=tmp_path).path.parent == tmp_path


def test_the_latest_run_is_found_though_a_power_cut_emptied_its_run_json(run: Path):
    shutil.copytree(run, run.parent / "older", symlinks=True)
    facts = json.loads((run / "run.json").read_text())
    (run.parent / "older" / "run.json").write_text(json.dumps(facts | {"started": 1e9}))
    (run / "run.json").write_bytes(b"")
    assert find_run("latest", runs_dir=run.parent).path == run


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_directory_that_may_not_be_entered_hides_no_other(run: Path):
    """In a child process without root's permissions; pytest's own directory is closed to it."""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        runs = Path(folder) / "runs"
        shutil.copytree(run, runs / "open", symlinks=True)
        (runs / "private").mkdir(mode=0o700)
        for path in [Path(folder), *runs.rglob("open"), *(runs / "open").rglob("*"), runs]:
            os.chown(path, 65534, 65534, follow_symlinks=False)
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                states = {each.name: each.state for each in list_runs(runs)}
                latest = find_run("latest", runs_dir=runs).path.name
                try:
                    find_run("private", runs_dir=runs)
                    refused = ""
                except UsageError as error:
                    refused = str(error)
                os.write(writer, json.dumps([states, latest, refused]).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        states, latest, refused = json.loads(os.read(reader, 10_000))
    os.close(reader)
    os.close(writer)
    assert states == {"run": "stopped", "private": "damaged"}
    assert latest == "open"
    assert "Permission denied" in refused


@pytest.mark.parametrize("text", ["n" * 5_000, "nul\0", "", "\ud800", "a/" * 3_000])
def test_an_impossible_name_of_a_run_is_refused_in_words(tmp_path: Path, text: str):
    with pytest.raises(UsageError, match="there is no run"):
        find_run(text, runs_dir=tmp_path)


@pytest.mark.parametrize("kind", ["FIFO", "directory", "device"])
def test_a_record_that_is_no_file_is_refused_by_its_readers(run: Path, kind: str):
    for name in ("events.jsonl", "metrics.jsonl"):
        (run / name).unlink()
        make_special(run / name, kind)
    for read in (recorded_metrics, lambda run: list(recorded_events(run)), lambda run: set_aside_after(run, 0.0)):
        with pytest.raises(RefusedFileError):
            read(RunDirectory(run))


def test_comparisons_and_reports_leave_out_a_damaged_run_with_a_word(run: Path, capsys):
    shutil.copytree(run, run.parent / "damaged", symlinks=True)
    (run.parent / "damaged" / "run.json").write_text('{"name": "damaged"}')
    (run.parent / "damaged" / "metrics.jsonl").unlink()
    os.mkfifo(run.parent / "damaged" / "metrics.jsonl")
    runs = [RunDirectory(run), RunDirectory(run.parent / "damaged")]
    (run / "config.toml").unlink()  # the checkpoint has it, too
    for read in (lambda each: read_run(each, "time/iterations"), read_record):
        (whole,) = whole_runs(runs, read)
        assert whole.name == "run"
        assert "left out: damaged is damaged: " in capsys.readouterr().err
        with pytest.raises(DamagedRunError):
            whole_runs(runs[1:], read)


@pytest.mark.parametrize("printed", ["\\377\\376", "\\033[31mabc", "x", ""])
def test_whatever_is_called_git_on_the_path_says_no_more_than_a_commit(printed: str, tmp_path, monkeypatch):
    git = tmp_path / "git"
    git.write_text(f"#!/bin/sh\nprintf '{printed}'\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() is None
