"""Each raw system call does its work on Linux, and the program goes on where it is missing."""

from __future__ import annotations

import ast
import ctypes
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from ppo_tui import system
from ppo_tui.training.checkpoint.files import read_manifest, write_checkpoint_files
from tests.conftest import ROOT
from tests.waiting import still_running

linux = pytest.mark.skipif(sys.platform != "linux", reason="a system call of Linux")


@pytest.fixture
def no_c_functions(monkeypatch):
    """A C library without any function, as on a platform that lacks those in question."""
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: object())


def test_all_calls_by_ctypes_stand_in_one_file():
    """Elsewhere ctypes may name types, as the shared memory's bytes, and call nothing."""
    for file in (ROOT / "ppo_tui").rglob("*.py"):
        names = {node.attr for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Attribute)}
        assert file.name == "system.py" or not names & {"CDLL", "PyDLL", "cdll", "pythonapi", "byref"}, file


# ── A process whose parent dies ─────────────────────────────────────────────────────────────────────────────


CHILD = """
    import os, signal, time
    from ppo_tui.system import signal_when_parent_dies
    pid = os.fork()
    if pid == 0:
        print(os.getpid(), signal_when_parent_dies(signal.SIGKILL), flush=True)
    time.sleep(100)
"""


@linux
def test_a_child_dies_with_its_parent():
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    pid, worked = parent.stdout.readline().split()
    child = psutil.Process(int(pid))
    parent.kill()
    parent.wait()
    assert worked == "True"
    assert not still_running([child], seconds=5)


def test_without_prctl_nothing_happens(no_c_functions):
    assert system.signal_when_parent_dies(signal.SIGTERM) is False


# ── Two names that are exchanged ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path]:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    return tmp_path / "one", tmp_path / "other"


@linux
def test_two_directories_swap(two):
    if not system.exchange_paths(*two):
        pytest.skip("this file system cannot exchange names")
    assert [os.listdir(path) for path in two] == [["other"], ["one"]]


def test_a_failed_exchange_is_told_and_changes_nothing(two):
    one, other = two
    assert system.exchange_paths(one, other / "missing") is False
    assert os.listdir(one) == ["one"]


def test_without_renameat2_a_checkpoint_is_replaced_by_renaming(no_c_functions, tmp_path):
    path = tmp_path / "step"
    assert system.exchange_paths(tmp_path, tmp_path) is False
    for step in (1, 2):
        write_checkpoint_files(path, {"data": bytes([step])}, serial=step, step=step, update=step, reason="manual")
    assert (read_manifest(path).step, (path / "data").read_bytes()) == (2, b"\2")
    assert [found.name for found in tmp_path.iterdir()] == ["step"]


# ── Memory ───────────────────────────────────────────────────────────────────────────────────────

MAPPINGS = """
    import ctypes
    from ppo_tui.system import keep_freed_memory
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    class Info(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks".split()]
        _fields_ += [(name, ctypes.c_size_t) for name in "fsmblks uordblks fordblks keepcost".split()]
    mallinfo2.restype = Info
    def mapped():
        before = mallinfo2().hblks
        block = bytearray(50_000_000)
        return mallinfo2().hblks - before
    print(mapped(), keep_freed_memory(), mapped())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="another C library than glibc")
def test_large_blocks_are_no_longer_mapped_anew():
    """In a process of its own, whose allocator it changes for good."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MAPPINGS)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "True", "0"]


def test_without_mallopt_the_allocator_stays_as_it_is(no_c_functions):
    assert system.keep_freed_memory() is False


# ── A GPU's use ─────────────────────────────────────────────────────────────────────────────────────────────


class FakeNvml:
    """As much of NVIDIA's management library as is used."""

    def __init__(self, percent: int | None) -> None:
        self.percent = percent

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle) -> int:
        return 0 if uuid == b"GPU-1" else 6

    def nvmlDeviceGetUtilizationRates(self, handle, usage) -> int:
        if self.percent is None:
            return 15  # the GPU is lost
        usage._obj.gpu = self.percent
        return 0


def test_the_use_of_a_gpu_is_read(monkeypatch):
    library = FakeNvml(42)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    read = system.gpu_usage_reader("GPU-1")
    assert read() == 42.0
    library.percent = None
    assert read() is None
    assert system.gpu_usage_reader("GPU-2") is None


def test_without_nvidias_library_nothing_is_read(monkeypatch):
    assert system.gpu_usage_reader("GPU-1") is None

    def missing(name: str):
        raise OSError(f"{name}: no such file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert system.gpu_usage_reader("GPU-1") is None
