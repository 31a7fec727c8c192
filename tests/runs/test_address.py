"""Both ends of the control socket know each other, and a copy of a run is another run."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ppo_tui.errors import UsageError
from ppo_tui.protocol import Pause
from ppo_tui.runs import RunDirectory
from ppo_tui.runs.address import connect, listen
from ppo_tui.runs.client import ControlClient, steer
from ppo_tui.runs.messages import decode_line
from ppo_tui.system.sockets import peer_credentials
from tests.conftest import ROOT, linux_alone
from tests.runs.conftest import DEADLINE, ServedRun, cartpole

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")


@pytest.fixture
def short(monkeypatch) -> Iterator[Path]:
    """A directory with a short path, also for the private directories of sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ends-") as directory:
        (Path(directory) / "run-time").mkdir(mode=0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(Path(directory) / "run-time"))
        yield Path(directory)


@pytest.fixture
def elsewhere(short) -> Iterator[ServedRun]:
    """A run whose directory others may enter, so that its socket lies in a private one."""
    (short / "original").mkdir()
    (short / "original").chmod(0o755)
    run = ServedRun(short / "original")
    run.train()
    yield run
    run.close()


def socket_of(run: ServedRun) -> Path:
    return Path(run.directory.read()["socket"])


def answers(run: ServedRun) -> bool:
    with ControlClient(run.directory) as client:
        return client.hello.run == run.directory.name


# ── A copy is another run ───────────────────────────────────────────────────────────────────────────────────


def test_a_copy_of_a_running_run_is_not_running(elsewhere):
    copy = RunDirectory(shutil.copytree(elsewhere.directory.path, elsewhere.directory.path.parent / "copy"))
    assert copy.read()["socket"] == elsewhere.directory.read()["socket"]
    with pytest.raises(UsageError, match="not running: crashed"):
        steer(copy, Pause())
    assert elsewhere.commands == []


def test_a_resumed_copy_leaves_the_original_its_socket(elsewhere):
    copy = RunDirectory(shutil.copytree(elsewhere.directory.path, elsewhere.directory.path.parent / "copy"))
    copy.acquire()
    with pytest.raises(UsageError, match="does not answer: it has no control socket"):
        ControlClient(copy)  # before it listens itself
    listener = listen(copy)
    assert listener.path != socket_of(elsewhere)
    assert answers(elsewhere)
    listener.close()
    copy.release()
    assert answers(elsewhere)
    assert len(os.listdir(copy.path.parent / "run-time")) == 1


def test_a_copy_with_hard_links_leaves_the_original_its_socket(short):
    """``cp -al`` gives the very socket a second name."""
    original = ServedRun(short / "original")
    path = short / "copy"
    path.mkdir(mode=0o700)
    (path / "run.json").write_bytes(original.directory.json_path.read_bytes())
    os.link(original.directory.socket, path / "control.sock")
    copy = RunDirectory(path)
    with pytest.raises(UsageError, match="not running"):
        steer(copy, Pause())
    copy.acquire()
    with pytest.raises(UsageError, match="serves another directory"):  # one process holds both locks here
        ControlClient(copy)
    listen(copy).close()
    copy.release()
    assert answers(original)
    assert original.commands == []
    original.close()


NAMED = {
    "a victim's socket": lambda victim: str(victim),
    "a relative path": lambda victim: os.path.relpath(victim),
    "a relative name": lambda victim: "control.sock",
    "5,000 characters": lambda victim: "/" + "x" * 5_000,
    "a number": lambda victim: 7,
    "nothing": lambda victim: None,
    "a list": lambda victim: [str(victim)],
    "an abstract address": lambda victim: "\0control.sock",
    "a zero within": lambda victim: f"{victim}\0",
    "a lone surrogate": lambda victim: "/tmp/\ud800/control.sock",
    "a directory": lambda victim: str(victim.parent),
    "the root": lambda victim: "/",
    "nothing at all": lambda victim: "",
    "dots": lambda victim: f"{victim.parent}/../{victim.parent.name}/control.sock",
}


@pytest.mark.parametrize("named", NAMED.values(), ids=NAMED)
def test_whatever_run_json_names_is_neither_reached_nor_removed(short, named: Callable[[Path], object]):
    folder = short / "run-time" / "ppo-tui-victim"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as victim:
        victim.bind(str(folder / "control.sock"))
        victim.listen()
        victim.setblocking(False)
        run = RunDirectory.create(cartpole(), label="cartpole", path=short / "foreign")
        run.update(socket=named(folder / "control.sock"))
        with pytest.raises(UsageError, match="does not answer"):
            ControlClient(run)
        listen(run).close()
        with pytest.raises(BlockingIOError):
            victim.accept()
        assert (folder / "control.sock").is_socket()
        run.release()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, Path.touch, lambda path: path.symlink_to("elsewhere")])
def test_something_else_by_the_sockets_name_stays_and_the_run_is_served_all_the_same(short, make):
    path = short / "run"
    path.mkdir(mode=0o700)
    make(path / "control.sock")
    kind = (path / "control.sock").lstat().st_mode
    run = ServedRun(path)
    assert answers(run)
    assert socket_of(run).parent != path
    run.close()
    assert (path / "control.sock").lstat().st_mode == kind


# ── What a killed process left ──────────────────────────────────────────────────────────────────────────────

KILLED = """
    import os, pathlib, sys
    from ppo_tui.runs import RunDirectory
    from ppo_tui.runs.address import listen
    run = RunDirectory(pathlib.Path(sys.argv[1]))
    run.acquire()
    print(listen(run).path, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_what_a_killed_process_left_is_removed(short, mode):
    path = short / "run"
    RunDirectory.create(cartpole(), label="cartpole", path=path).release()
    path.chmod(mode)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    left = Path(done.stdout.strip())
    assert left.is_socket()
    run = RunDirectory(path)
    run.acquire()
    with pytest.raises(UsageError, match="does not answer: Connection refused"):
        ControlClient(run)
    listener = listen(run)
    assert left.exists() == (listener.path == left)
    assert listener.path.is_socket()
    listener.close()
    run.release()
    assert os.listdir(short / "run-time") == []


def test_a_private_directory_that_is_answered_stays(elsewhere):
    """As after the original was removed under its process, and a copy has its inode."""
    listener = listen(elsewhere.directory)
    assert len(os.listdir(listener.path.parent.parent)) == 2
    listener.close()
    assert len(os.listdir(listener.path.parent.parent)) == 1


# ── Runs that are moved, linked, and far down ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_run_is_reached_where_it_has_been_moved_and_takes_its_socket_away(short, mode):
    path = short / "run"
    path.mkdir()
    path.chmod(mode)
    run = ServedRun(path)
    far = short / ("far" * 40) / "down"
    far.mkdir(parents=True)
    path.rename(far / "run")
    moved = RunDirectory(far / "run")
    (short / "link").symlink_to(moved.path)
    for directory in (moved, RunDirectory(short / "link")):
        with ControlClient(directory) as client:
            assert client.hello.pid == os.getpid()
    # At the old path another run begins, whose socket is none of the first one's business.
    other = ServedRun(path)
    run.close()
    assert answers(other)
    assert not moved.socket.exists()
    other.close()
    assert os.listdir(short / "run-time") == []


# ── Who listens ─────────────────────────────────────────────────────────────────────────────────────────────

IMPOSTOR = """
import contextlib, json, os, socket, sys
path, user = sys.argv[1], int(sys.argv[2])
listener = socket.socket(socket.AF_UNIX)
if user:
    os.setuid(user)
listener.bind(path)
os.chmod(path, 0o666)
listener.listen()
print("ready", flush=True)
connection, _ = listener.accept()
greeting = {"message": "hello", "run": "\\x1b[31mPWN", "pid": int(sys.argv[3]), "state": "paused"}
greeting |= {"step": 1, "update": 1}
with contextlib.suppress(OSError):
    connection.sendall(json.dumps(greeting).encode() + b"\\n" + b'{"message":"reply","error":"PWN"}\\n')
try:
    print("got", connection.recv(100), flush=True)
except ConnectionError:
    print("got", b"", flush=True)
"""


@contextlib.contextmanager
def impostor(path: Path, user: int = 0) -> Iterator[Callable[[], str]]:
    """A process that listens at `path` and greets as this process would; gives what it received."""
    process = subprocess.Popen(
        [sys.executable, "-c", IMPOSTOR, str(path), str(user), str(os.getpid())], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        assert process.stdout.readline() == "ready\n"
        yield process.stdout.readline
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def held(short) -> Iterator[RunDirectory]:
    """A run whose lock this process holds, without a socket."""
    run = RunDirectory.create(cartpole(), label="cartpole", path=short / "run")
    yield run
    run.release()


def refusal(run: RunDirectory) -> str:
    with pytest.raises(UsageError) as refused:
        steer(run, Pause())
    assert "PWN" not in str(refused.value)
    assert refused.value.exit_code == 2
    return str(refused.value)


@linux_alone
def test_a_process_without_the_lock_is_sent_nothing(held):
    with impostor(held.socket) as received:
        assert re.search(rf"pid \d+ listens, but pid {os.getpid()} has the lock", refusal(held))
        assert received() == "got b''\n"


@linux_alone
@as_root
def test_a_process_of_another_user_is_sent_nothing(held):
    """Where every directory on the way stands open, so that only the check of the peer is left."""
    held.path.chmod(0o777)
    held.path.parent.chmod(0o755)
    with impostor(held.socket, 65_534) as received:
        held.path.chmod(0o700)
        os.chown(held.socket, os.geteuid(), -1)
        assert "a process of user 65534 listens, you are user 0" in refusal(held)
        assert received() == "got b''\n"


@as_root
def test_a_socket_or_directory_of_another_user_is_not_even_reached(held):
    with impostor(held.socket):
        os.chown(held.socket, 65_534, -1)
        assert "not a socket of yours" in refusal(held)
        os.chown(held.path, 65_534, -1)
        assert "belongs to user 65534" in refusal(held)
        os.chown(held.path, os.geteuid(), -1)


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o1777, 0o702])
def test_a_directory_where_others_may_write_is_refused_with_the_remedy(held, mode):
    listener = listen(held)
    held.path.chmod(mode)
    assert "where other users may write" in refusal(held)
    assert "chmod go-w" in refusal(held)
    held.path.chmod(0o755)
    connection, _ = connect(held, os.getpid(), DEADLINE)
    connection.close()
    listener.close()


# ── Where the kernel does not tell ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def no_credentials(monkeypatch):
    """A system that tells neither pid nor user of the other end."""
    monkeypatch.setattr("ppo_tui.runs.address.peer_credentials", lambda connection: (0, None))


def test_without_credentials_the_greeting_must_do(no_credentials, elsewhere):
    assert answers(elsewhere)


def test_without_credentials_a_greeting_of_an_unknown_directory_is_refused(no_credentials, held):
    with impostor(held.socket) as received:
        assert "serves another directory" in refusal(held)
        assert received() == "got b''\n"


def test_a_greeting_with_another_pid_is_refused(no_credentials, elsewhere):
    connection, expected = connect(elsewhere.directory, 1, DEADLINE)
    with connection, connection.makefile("rb") as lines, pytest.raises(UsageError, match="but pid 1 has the lock"):
        expected.check(decode_line(next(lines)))


class BsdLibrary:
    """As much of a C library without SO_PEERCRED as is used."""

    def getpeereid(self, descriptor: int, uid, gid) -> int:
        uid._obj.value = 501
        return 0


def test_a_system_without_the_pid_of_peers_tells_the_user(monkeypatch):
    monkeypatch.delattr(socket, "SO_PEERCRED", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: BsdLibrary())
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_credentials(one) == (0, 501)
        monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
        assert peer_credentials(one) == (0, None)


@linux_alone
def test_linux_tells_pid_and_user():
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_credentials(one) == (os.getpid(), os.geteuid())


CONTAINER = """
    import os, pathlib, sys
    from ppo_tui.runs import RunDirectory
    from ppo_tui.runs.server import ControlServer
    run = RunDirectory(pathlib.Path(sys.argv[1]))
    run.acquire()
    server = ControlServer(run, print)
    server.start()
    print(os.getpid(), flush=True)
    sys.stdin.readline()
    server.close()
"""


@as_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no pid namespace can be made")
def test_a_run_in_another_pid_namespace_is_known_by_its_own_number(short):
    """As one in a container that shares the directory."""
    path = short / "run"
    RunDirectory.create(cartpole(), label="cartpole", path=path).release()
    command = [
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        sys.executable,
        "-c",
        textwrap.dedent(CONTAINER),
        str(path),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    number = process.stdout.readline().strip()
    if not number:
        pytest.skip("no pid namespace can be made")
    with ControlClient(RunDirectory(path)) as client:
        assert (client.hello.pid, number) == (1, "1")
        client.send(Pause())
        assert "Pause" in process.stdout.readline()
    process.communicate("\n", timeout=60)
