"""Each raw system call does its work on Linux, and the program goes on where it is missing."""

from __future__ import annotations

import ast
import ctypes
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from ppo_tui.checkup.platforms import check_platform
from ppo_tui.directories import Directory
from ppo_tui.system import library, paths, processes, terminals
from ppo_tui.system.processes import own_command
from ppo_tui.system.support import all_choices
from ppo_tui.training.checkpoint.files import read_manifest, write_checkpoint_files
from tests.conftest import PORTABLE, ROOT, linux_alone
from tests.waiting import still_running


@pytest.fixture
def no_c_functions(monkeypatch):
    """A C library without any function, as on a platform that lacks those in question."""
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: object())


CALLS = {"CDLL", "PyDLL", "cdll", "pythonapi", "byref"}
LINUX = {"epoll", "pidfd_open", "memfd_create", "SO_PEERCRED", "O_PATH", "O_TMPFILE", "eventfd", "sched_setscheduler"}
LINUX |= {
    "sched_getaffinity",
    "sched_setaffinity",
    "SCHED_BATCH",
    "platform",
    "F_GETPATH",
    "F_FULLFSYNC",
    "fsync",
}


def names_in(file: Path) -> set[str]:
    """Attributes of modules of the standard library in a file, and paths of the kernel."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("os", "sys", "socket", "select", "signal", "fcntl", "ctypes"):
                found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {start for start in ("/proc/", "/sys/", "/dev/shm") if node.value.startswith(start)}
    return found


def test_what_is_linuxs_alone_stands_in_one_room():
    """Elsewhere ctypes may name types, as the shared memory's bytes, and call nothing."""
    for file in (ROOT / "ppo_tui").rglob("*.py"):
        place = file.relative_to(ROOT / "ppo_tui")
        if place.parts[0] not in ("system", "machine.py"):
            assert not names_in(file) & (CALLS | LINUX | {"/proc/", "/sys/", "/dev/shm"}), place


# ── A process whose parent dies ─────────────────────────────────────────────────────────────────────────────


CHILD = """
    import os, signal, time
    from ppo_tui.system.processes import signal_when_parent_dies
    pid = os.fork()
    if pid == 0:
        print(os.getpid(), signal_when_parent_dies(signal.SIGKILL), flush=True)
    time.sleep(100)
"""


@linux_alone
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
    assert processes.signal_when_parent_dies(signal.SIGTERM) is False


def test_a_process_is_told_of_its_parents_end():
    """By the kernel or, as here with another number than its parent's, at a look."""
    ended = threading.Event()
    processes.when_process_ends(os.getpid(), ended.set)
    assert ended.wait(60)


ORPHAN = """
    import os, sys
    from ppo_tui.system.processes import when_process_ends
    if len(sys.argv) > 1:
        vars(os).pop("pidfd_open", None)
    reader, writer = os.pipe()
    if os.fork() == 0:
        when_process_ends(os.getppid(), lambda: (print("gone", flush=True), os._exit(0)))
        os.close(writer)
        os.read(reader, 1)  # until the parent has ended
        print("orphan", flush=True)
        os.read(os.pipe()[0], 1)
    os.close(reader)
    input()
"""


@pytest.mark.parametrize("without", [pytest.param((), marks=linux_alone), ("pidfd_open",)])
def test_an_orphan_is_told_so(without):
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ORPHAN), *without],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    output, _ = parent.communicate("\n", timeout=60)
    assert set(output.split()) >= {"gone"}


def test_children_are_found_and_a_stopped_one_is_known():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in processes.children()
        assert not processes.is_stopped(child.pid)
        child.send_signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        assert processes.is_stopped(child.pid)
    finally:
        child.kill()
        child.communicate()
    assert not processes.is_stopped(child.pid)


# ── Terminals ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("polls", [pytest.param(True, marks=linux_alone), False])
def test_a_hangup_and_the_end_of_the_watch_are_told_apart(polls, monkeypatch):
    """Without `poll` too, which takes every terminal of macOS for closed."""
    monkeypatch.setattr(terminals, "_POLLS_TERMINALS", polls)
    monkeypatch.setattr(terminals, "_LOOK_SECONDS", 0.01)
    if not polls:
        monkeypatch.delattr(select, "poll")
    master, slave = pty.openpty()
    nothing = os.open(os.devnull, os.O_RDONLY)
    over, still_open = os.pipe()
    os.write(master, b"a key\n")
    assert terminals.has_input(slave, 60.0)
    told: list[bool] = []
    watch = threading.Thread(target=lambda: told.append(terminals.wait_for_hangup([slave, nothing], over)))
    watch.start()
    os.close(master)
    watch.join(60)
    os.close(still_open)
    assert told == [True]
    assert terminals.wait_for_hangup([nothing], over) is False
    for descriptor in (slave, nothing, over):
        os.close(descriptor)


# ── Open directories ────────────────────────────────────────────────────────────────────────────────────────


def test_without_proc_a_held_directory_has_its_last_known_path(tmp_path, monkeypatch):
    monkeypatch.setattr("ppo_tui.directories.path_through", lambda *_: None)
    (tmp_path / "one").mkdir()
    with Directory.open(tmp_path / "one") as held:
        assert held.for_libraries == held.for_children == tmp_path / "one"


def test_a_system_that_tells_the_path_of_a_file_is_asked(tmp_path, monkeypatch):
    """As macOS does; what it does not tell is not known."""
    monkeypatch.setattr(fcntl, "F_GETPATH", 50, raising=False)
    monkeypatch.setattr(
        fcntl, "fcntl", lambda descriptor, number, _: f"{tmp_path}/{descriptor}{number}".encode() + b"\0\0"
    )
    assert paths.present_path(3) == tmp_path / "350"

    def refuse(*_: object):
        raise OSError

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    assert paths.present_path(3) is None


def test_a_file_is_flushed_through_the_disks_own_memory_where_that_can_be_asked_for(monkeypatch):
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda *arguments: asked.append(arguments))
    paths.flush(7)
    assert asked == [(7, 51)]


# ── What doctor says ────────────────────────────────────────────────────────────────────────────────────────


@linux_alone
def test_on_linux_no_fallback_is_in_use():
    assert [choice.purpose for choice in all_choices() if choice.loss] == []
    assert check_platform().found.endswith("no fallback in use")


@pytest.mark.skipif(not PORTABLE, reason="Linux's own means are there: make test-portable")
def test_without_linuxs_own_means_a_fallback_is_in_use_for_each_purpose():
    assert [choice.purpose for choice in all_choices() if not choice.loss] == []


def test_fallbacks_are_named_with_what_they_cost(no_c_functions, monkeypatch):
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    found = check_platform().found
    for words in ("start of workers: spawn (each worker loads Python", "two renamings", "outlive a killed run"):
        assert words in found


def test_native_windows_is_refused_with_a_remedy():
    code = "import os; os.name = 'nt'; from ppo_tui.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "does not run on native Windows" in done.stderr
    assert "WSL2" in done.stderr
    assert "Traceback" not in done.stderr


# ── Two names that are exchanged ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path]:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    return tmp_path / "one", tmp_path / "other"


@linux_alone
def test_two_directories_swap(two):
    if not paths.exchange_paths(*two):
        pytest.skip("this file system cannot exchange names")
    assert [os.listdir(path) for path in two] == [["other"], ["one"]]


def test_a_failed_exchange_is_told_and_changes_nothing(two):
    one, other = two
    assert paths.exchange_paths(one, other / "missing") is False
    assert os.listdir(one) == ["one"]


def test_without_renameat2_a_checkpoint_is_replaced_by_renaming(no_c_functions, tmp_path):
    path = tmp_path / "step"
    assert paths.exchange_paths(tmp_path, tmp_path) is False
    for step in (1, 2):
        write_checkpoint_files(path, {"data": bytes([step])}, serial=step, step=step, update=step, reason="manual")
    assert (read_manifest(path).step, (path / "data").read_bytes()) == (2, b"\2")
    assert [found.name for found in tmp_path.iterdir()] == ["step"]


# ── Memory ───────────────────────────────────────────────────────────────────────────────────────

MAPPINGS = """
    import ctypes
    from ppo_tui.system.library import keep_freed_memory
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
    assert library.keep_freed_memory() is False


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
    nvml = FakeNvml(42)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: nvml)
    read = library.gpu_usage_reader("GPU-1")
    assert read() == 42.0
    nvml.percent = None
    assert read() is None
    assert library.gpu_usage_reader("GPU-2") is None


def test_without_nvidias_library_nothing_is_read(monkeypatch):
    assert library.gpu_usage_reader("GPU-1") is None

    def missing(name: str):
        raise OSError(f"{name}: no such file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert library.gpu_usage_reader("GPU-1") is None


def test_a_process_of_this_program_takes_no_module_of_the_working_directory(tmp_path, monkeypatch):
    """Unless this one does, as after ``python -m``."""
    (tmp_path / "queue.py").write_text("raise SystemExit('not this one')\n")
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(own_command("ppo_tui", "--version"), env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    monkeypatch.syspath_prepend(tmp_path)
    assert "-P" not in own_command("ppo_tui")
