"""What is deleted is an ended run, whole, and nothing beside it."""

from __future__ import annotations

import os

import pytest

from ppo_tui.commands.runs import runs
from ppo_tui.directories import Directory
from ppo_tui.errors import UsageError
from ppo_tui.runs import RunDirectory
from ppo_tui.runs.deletion import delete_run, weigh
from tests.runs.test_registry import make


@pytest.fixture
def ended(tmp_path):
    """A run with a checkpoint, and a neighbour."""
    run = make(tmp_path / "runs", "run")
    (run.checkpoints / "step-000000000256").mkdir()
    (run.checkpoints / "step-000000000256" / "policy").write_bytes(b"x" * 1_000_000)
    make(tmp_path / "runs", "neighbour")
    return run


def test_a_run_is_weighed_and_gone_and_its_neighbour_stays(ended, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("kept")
    (ended.path / "link").symlink_to(outside)
    weight = weigh(ended.path)
    assert weight.checkpoints == 1
    assert 1_000_000 < weight.size < 1_020_000
    assert "1.0 MB" in weight.words
    assert "with 1 checkpoint" in weight.words
    delete_run(ended.path)
    assert os.listdir(tmp_path / "runs") == ["neighbour"]
    assert outside.read_text() == "kept"
    with pytest.raises(UsageError, match="gone already"):
        delete_run(ended.path)


def test_a_run_in_use_is_kept_whoever_uses_it(ended):
    trains = RunDirectory(ended.path)
    trains.acquire()
    with pytest.raises(UsageError, match=f"pid {os.getpid()} trains in it"):
        delete_run(ended.path)
    trains.release()
    assert (ended.checkpoints / "step-000000000256" / "policy").exists()


def test_nothing_is_deleted_through_a_link(ended, tmp_path):
    link = tmp_path / "runs" / "link"
    link.symlink_to(ended.path)
    for refuse in (weigh, delete_run):
        with pytest.raises(UsageError, match="symbolic link"):
            refuse(link)
    assert ended.json_path.exists()
    assert link.is_symlink()


def test_nothing_is_deleted_that_is_no_run_or_holds_another_one(ended, tmp_path):
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "notes" / "diary").write_text("kept")
    with pytest.raises(UsageError, match="holds no run"):
        delete_run(tmp_path / "runs" / "notes")
    make(ended.path, "within")
    with pytest.raises(UsageError, match="holds another run, within"):
        delete_run(ended.path)
    assert ended.json_path.exists()


def test_a_directory_that_has_taken_its_place_meanwhile_is_kept(ended, tmp_path, monkeypatch):
    """A race that only a hook into the moment before can bring about."""
    flock = Directory.names

    def swap_then_list(directory: Directory) -> list[str]:
        if directory.path == ended.path and not (tmp_path / "moved").exists():
            ended.path.rename(tmp_path / "moved")
            make(tmp_path / "runs", "run")
        return flock(directory)

    monkeypatch.setattr(Directory, "names", swap_then_list)
    with pytest.raises(UsageError, match="taken its place"):
        delete_run(ended.path)
    assert RunDirectory(ended.path).read()["name"] == "run"
    assert (tmp_path / "moved" / "run.json").exists()


def test_the_command_deletes_after_a_yes_alone(ended, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="add --yes"):
        runs(delete="run")
    assert ended.path.exists()
    runs(delete="run", yes=True)
    assert not ended.path.exists()
    assert "run is deleted: 1.0 MB" in capsys.readouterr().out
    with pytest.raises(UsageError, match="there is no run 'run'"):
        runs(delete="run", yes=True)
