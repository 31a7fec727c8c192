"""The control socket: one stream for all clients, commands from those in control, no harm to the run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import get_args

import psutil
import pytest

from ppo_tui.errors import UsageError
from ppo_tui.protocol import (
    Alarm,
    AnyCommand,
    Level,
    Pause,
    RolloutProgress,
    RunFinished,
    RunState,
    SetValue,
    StateChanged,
    StepUpdates,
    UpdateFinished,
    WatchGame,
)
from ppo_tui.runs import peer as peer_module
from ppo_tui.runs.client import ControlClient, steer
from ppo_tui.runs.messages import MAX_LINE_BYTES, Claim, Reply, Role, Subscribe
from ppo_tui.runs.server import MAX_CLIENTS
from tests.conftest import ROOT, linux_alone
from tests.runs.conftest import DEADLINE, ServedRun
from tests.waiting import wait_until


def update(number: int) -> UpdateFinished:
    return UpdateFinished(update=number, step=number, metrics={"time/fps_update": 1.0})


def end() -> RunFinished:
    return RunFinished(state=RunState.FINISHED, exit_code=0, reason="done", step=1, update=1)


def updates_until_the_end(client: ControlClient) -> list[int]:
    """The numbers of all updates that a subscriber receives, up to the end of the run."""
    numbers = []
    for message in client.messages():
        if isinstance(message, UpdateFinished):
            numbers.append(message.update)
        elif isinstance(message, RunFinished):
            return numbers
    pytest.fail("the stream broke off")


def raw(run: ServedRun) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(str(run.directory.socket))
    return connection


def messages_of(connection: socket.socket) -> list[dict]:
    """All messages of the server until it closes the connection."""
    data = b""
    try:
        while part := connection.recv(65_536):
            data += part
    except ConnectionError:
        pass
    return [json.loads(line) for line in data.splitlines()]


def assert_serves(run: ServedRun) -> None:
    with ControlClient(run.directory) as client:
        assert client.hello.run == run.directory.name


# ── The stream ──────────────────────────────────────────────────────────────────────────────────────────────


def test_every_client_gets_every_event_once_and_in_order(served):
    count, received = 3_000, {}

    def watch(name: int, client: ControlClient) -> None:
        received[name] = updates_until_the_end(client)

    threads = []
    for number in range(1, count + 1):
        served.emit(update(number))
        if number % 600 == 1:
            client = ControlClient(served.directory)
            client.subscribe(client="test", wish="watch", history=True)
            threads.append(threading.Thread(target=watch, args=(number, client)))
            threads[-1].start()
    served.emit(end())
    for thread in threads:
        thread.join(DEADLINE)
    assert [numbers == list(range(1, count + 1)) for numbers in received.values()] == [True] * 5


def test_without_history_only_future_events_are_sent(served):
    served.emit(update(1))
    with ControlClient(served.directory) as client:
        client.subscribe(client="test", wish="watch", history=False)
        assert isinstance(next(client.messages()), Role)
        served.emit(update(2), end())
        assert updates_until_the_end(client) == [2]


def test_of_transient_events_the_newest_arrives(served):
    with ControlClient(served.directory) as client:
        client.subscribe(client="test", wish="watch", history=True)
        for step in range(10_000):
            served.emit(RolloutProgress(step=step, update=1, t=1, length=1, fps=1.0))
        steps = []
        for message in client.messages():
            if isinstance(message, RolloutProgress):
                steps.append(message.step)
                if message.step == 9_999:
                    break
    assert len(steps) < 100
    with ControlClient(served.directory) as client:
        assert client.hello.step == 9_999


def test_the_end_reaches_everybody_before_the_server_closes(served):
    clients = [ControlClient(served.directory) for _ in range(5)]
    for client in clients:
        client.subscribe(client="test", wish="watch", history=True)
    served.emit(*(update(number) for number in range(500)), end())
    served.server.close()
    assert [len(updates_until_the_end(client)) for client in clients] == [500] * 5
    with pytest.raises(UsageError, match="not running: finished"):
        ControlClient(served.directory)


def test_a_server_whose_thread_ends_before_it_is_woken_closes_quietly(served):
    """A thread that serves subscribers sees by itself that it should end, in the midst of `close`."""

    class AfterTheThread:
        def __init__(self, end: socket.socket) -> None:
            self.end = end

        def send(self, data: bytes) -> int:
            served.server._thread.join(DEADLINE)
            return self.end.send(data)

        def close(self) -> None:
            self.end.close()

    with ControlClient(served.directory) as client:
        client.subscribe(client="test", wish="watch", history=True)
        wait_until(lambda: any(each.subscribed for each in served.peers))
        served.server._wake_up = AfterTheThread(served.server._wake_up)
        served.server.close()
        assert not served.serves


def test_a_reader_that_stops_reading_is_dropped_and_costs_neither_the_run_nor_the_others(served, monkeypatch):
    monkeypatch.setattr(peer_module, "STALL_SECONDS", 0.3)
    idle = raw(served)
    idle.sendall(b'{"request":"subscribe"}\n')
    wait_until(lambda: any(each.subscribed for each in served.peers))
    (slow,) = served.peers
    long = Alarm(level=Level.INFO, message="x" * 10_000)
    served.emit(*[long] * 500)
    wait_until(lambda: slow.has_unsent)
    assert len(slow._outbox) <= 2 * peer_module.CHUNK_BYTES
    with ControlClient(served.directory) as client:
        client.subscribe(client="test", wish="watch", history=True)
        served.emit(update(1), end())
        assert updates_until_the_end(client) == [1]
    wait_until(lambda: slow not in served.peers)
    idle.close()


# ── Commands ────────────────────────────────────────────────────────────────────────────────────────────────


def answers(client: ControlClient, *commands) -> list[str | None]:
    """The server's replies to these commands."""
    pending = [client.send(command) for command in commands]
    errors = {}
    for message in client.messages():
        if isinstance(message, Reply):
            errors[message.id] = message.error
            if len(errors) == len(pending):
                return [errors[number] for number in pending]
    pytest.fail("the server closed the connection")


@pytest.mark.parametrize("known", [pytest.param(True, marks=linux_alone), False])
def test_a_command_reaches_the_engine_with_the_name_of_its_sender(served, known, monkeypatch):
    """And its pid, where the kernel tells it."""
    if not known:
        monkeypatch.delattr(socket, "SO_PEERCRED", raising=False)
    pid = f" (pid {os.getpid()})" if known else ""
    with ControlClient(served.directory) as client:
        assert answers(client, Pause(by="somebody else"), StepUpdates(updates=3)) == [None, None]
        client.subscribe(client="ctl", wish="script", history=False)
        assert answers(client, Pause()) == [None]
    assert served.commands == [
        Pause(by=f"client{pid}"),
        StepUpdates(updates=3, by=f"client{pid}"),
        Pause(by=f"ctl{pid}"),
    ]


def test_what_the_engine_could_not_obey_is_refused_at_once(served):
    with ControlClient(served.directory) as client:
        replies = answers(
            client,
            SetValue(key="optim.learning_rat", value=1),
            SetValue(key="optim.learning_rate", value="fast"),
        )
        assert "did you mean 'optim.learning_rate'" in replies[0]
        assert "expected a number" in replies[1]
        served.emit(StateChanged(state=RunState.FINISHED))
        assert answers(client, Pause()) == ["the run has ended (finished)"]
    assert served.commands == []


def test_a_value_that_is_in_force_already_is_answered_after_two_updates(served):
    served.train()
    outcomes: list[str] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(steer(served.directory, SetValue(key="ppo.gamma", value=0.98)))
    )
    thread.start()
    wait_until(lambda: bool(served.commands))
    served.emit(update(1), update(2))
    thread.join(60)
    assert outcomes == ["ppo.gamma is 0.98 already"]


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"command":"shutdown"}',
        b'{"command":"step","updates":0}',
        b'{"command":"step","updates":1e400}',
        b'{"command":"stop","exit_code":4096}',
        b'{"command":"stop","reason":"\\u001b[2J"}',
        b'{"command":"pause","id":-1}',
        b'{"request":"subscribe","wish":"everything"}',
        b'{"request":"subscribe","client":"\\n"}',
        b'{"command":"set","key":"a","value":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)
def test_a_malformed_line_is_answered_and_its_sender_dropped(served, line):
    with raw(served) as connection:
        connection.sendall(line + b"\n")
        hello, answer = messages_of(connection)
    assert hello["message"] == "hello"
    assert answer["error"]
    assert served.commands == []
    assert_serves(served)


def test_commands_by_the_thousand_are_too_many(served):
    with raw(served) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b'{"command":"pause"}\n' * 10_000)
        wait_until(lambda: not served.peers)
    assert len(served.commands) <= 2 * peer_module.COMMANDS_PER_SECOND
    assert_serves(served)


# ── Who steers ──────────────────────────────────────────────────────────────────────────────────────────────


class Screen:
    """A client that reads only what concerns its role."""

    def __init__(self, run: ServedRun, wish: str) -> None:
        self.client = ControlClient(run.directory)
        self.messages = self.client.messages()
        self.client.subscribe(client="screen", wish=wish, history=True)

    def control(self) -> bool:
        return next(message.control for message in self.messages if isinstance(message, Role))

    def pause(self) -> str | None:
        self.client.send(Pause())
        return next(message.error for message in self.messages if isinstance(message, Reply))


def test_one_screen_steers_and_the_others_watch_or_take_over(served):
    first, second, watcher = (Screen(served, wish) for wish in ("steer", "steer", "watch"))
    assert [screen.control() for screen in (first, second, watcher)] == [True, False, False]
    assert first.pause() is None
    assert "steers it" in second.pause()
    second.client.claim()
    assert second.control()
    assert not first.control()
    assert "steers it" in first.pause()
    second.client.close()
    assert first.control()  # it inherits; whoever only watches does not
    first.client.close()
    wait_until(lambda: len(served.peers) == 1)
    assert "only watches" in watcher.pause()
    watcher.client.close()


def test_whoever_waits_to_steer_may_watch_the_game_meanwhile(served):
    first, second = Screen(served, "steer"), Screen(served, "steer")
    assert (first.control(), second.control()) == (True, False)
    second.client.send(WatchGame(env=0))
    assert next(message.error for message in second.messages if isinstance(message, Reply)) is None
    assert isinstance(served.commands[-1], WatchGame)
    first.client.close()
    second.client.close()


EVERYTHING = (
    b'{"command":"pause","id":1}', b'{"command":"resume","id":2}', b'{"command":"step","updates":3,"id":3}',
    b'{"command":"save","id":4}', b'{"command":"rewind","path":"best","id":5}',
    b'{"command":"set","key":"optim.learning_rate","value":0.1,"id":6}',
    b'{"command":"withdraw","key":"optim.learning_rate","id":7}', b'{"command":"watch-game","env":0,"id":8}',
    b'{"command":"step-minibatches","minibatches":2,"id":9}', b'{"command":"watch-update","id":10}',
    b'{"command":"watch-game","env":null,"id":11}', b'{"command":"stop","id":12}', b'{"request":"claim","id":13}',
    *(b'{"request":"subscribe","wish":"%s","id":%d}' % (wish, 14 + number)
      for number, wish in enumerate((b"take", b"steer", b"script", b"watch"))),
)  # fmt: skip
"""A line for every command and request of the protocol."""


def test_the_lines_are_all_that_there_are():
    tags = {kind.__struct_config__.tag for kind in (*get_args(AnyCommand), Subscribe, Claim)}
    assert {json.loads(line).get("command") or json.loads(line)["request"] for line in EVERYTHING} == tags


@pytest.mark.parametrize("first", [b'{"request":"subscribe","wish":"watch"}', b'{"request":"subscribe"}'])
def test_of_a_client_that_only_watches_nothing_is_obeyed(served, first):
    """Nor after it has asked for another role: the promise is the connection's, and the server keeps it."""
    served.train()
    steering = Screen(served, "steer")
    assert steering.control()
    with raw(served) as connection, connection.makefile("rb") as lines:
        connection.sendall(b"\n".join([first, *EVERYTHING, *EVERYTHING]) + b"\n")
        replies = []
        while len(replies) < 2 * len(EVERYTHING):
            message = json.loads(next(lines))
            assert not message.get("control")
            if message.get("message") == "reply":
                replies.append(message)
    assert [reply["id"] for reply in replies] == [*range(1, 18), *range(1, 18)]
    assert all("read-only" in reply["error"] for reply in replies)
    assert served.commands == []
    assert steering.pause() is None, "it steers as before"
    steering.client.close()


def test_whoever_steers_and_then_only_watches_has_given_the_control_up(served):
    first, second = Screen(served, "steer"), Screen(served, "steer")
    assert (first.control(), second.control()) == (True, False)
    first.client.subscribe(client="screen", wish="watch", history=False)
    assert second.control()
    assert not first.control()
    assert "only watches" in first.pause()
    assert served.commands == []
    first.client.close()
    second.client.close()


def test_a_script_needs_no_control(served):
    screen = Screen(served, "steer")
    assert screen.control()
    with ControlClient(served.directory) as client:
        client.subscribe(client="ctl", wish="script", history=False)
        assert answers(client, Pause()) == [None]
    assert served.commands[-1].by.startswith("ctl")
    screen.client.close()


# ── Where it is, and who may come ───────────────────────────────────────────────────────────────────────────


def test_the_socket_is_private_and_goes_with_the_run(served):
    assert stat.S_IMODE(served.directory.socket.stat().st_mode) == 0o600
    served.server.close()
    assert not served.directory.socket.exists()


def test_a_socket_left_by_a_killed_process_is_replaced(served, tmp_path):
    left = tmp_path / "left"
    left.mkdir(mode=0o700)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(left / "control.sock"))
    stale.close()
    run = ServedRun(left)
    assert_serves(run)
    run.close()


@pytest.mark.parametrize("name", ["x" * 120, "open to all"])
def test_where_the_run_directory_will_not_do_the_socket_lies_in_a_private_one(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name).chmod(0o700 if name.startswith("x") else 0o755)
    run = ServedRun(tmp_path / name)
    path = Path(run.directory.read()["socket"])
    assert path.parent != run.directory.path
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(os.fsencode(path)) <= 103
    assert_serves(run)
    run.close()
    assert not path.parent.exists()


@linux_alone
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_another_user_is_refused(caplog):
    # Every directory on the way and the socket itself stand open, so that only the check of the peer is left.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        run = ServedRun(Path(directory) / "run")
        run.directory.path.chmod(0o755)
        run.directory.socket.chmod(0o666)
        code = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            "print(s.makefile().readline())"
        )
        command = [shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin") or sys.executable, "-c", code]
        done = subprocess.run(
            [*command, str(run.directory.socket)], user="nobody", cwd="/", capture_output=True, text=True, timeout=30
        )
        wait_until(lambda: bool(caplog.messages) or done.returncode != 0)
        run.close()
    assert "this run belongs to user 0" in done.stdout
    assert "hello" not in done.stdout
    assert "refused a connection from user" in caplog.text


# ── Abuse ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_two_hundred_clients_as_many_are_served_as_there_are_places(served):
    connections = [raw(served) for _ in range(200)]
    first_lines = [json.loads(connection.makefile().readline()) for connection in connections]
    assert [line["message"] for line in first_lines].count("hello") == MAX_CLIENTS
    assert all("try again later" in line["error"] for line in first_lines if line["message"] == "reply")
    for connection in connections:
        connection.close()
    wait_until(lambda: not served.peers)
    assert_serves(served)


def test_two_hundred_clients_that_come_and_go_leave_nothing(served):
    served.train()
    process = psutil.Process()
    assert_serves(served)  # the first one loads and caches
    before = process.num_fds(), threading.active_count()

    def come_and_go(wish: str) -> None:
        with ControlClient(served.directory) as client:
            client.subscribe(client="test", wish=wish, history=True)
            next(client.messages())

    for number in range(200):
        come_and_go(("steer", "watch", "script")[number % 3])
    wait_until(lambda: (process.num_fds(), threading.active_count()) <= before)
    assert_serves(served)


def test_an_endless_line_is_cut_off_at_the_bound(served):
    block, sent = b"x" * MAX_LINE_BYTES, 0
    with raw(served) as connection:
        try:
            while sent < 10**9:
                connection.sendall(block)
                sent += len(block)
        except ConnectionError:
            pass
    assert sent < 100 * MAX_LINE_BYTES
    assert_serves(served)


def test_a_line_that_comes_byte_by_byte_is_given_up(served, monkeypatch):
    monkeypatch.setattr(peer_module, "REQUEST_SECONDS", 0.5)
    with raw(served) as connection:
        given_up = threading.Event()

        def trickle() -> None:
            for byte in b'{"command":' + b" " * 10_000:
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    return
                if given_up.wait(0.02):
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        *_, answer = messages_of(connection)
        given_up.set()
        thread.join()
    assert "no whole line within" in answer["error"]
    assert_serves(served)


def test_a_run_whose_socket_cannot_be_made_trains_all_the_same(tmp_path, caplog, monkeypatch):
    def refuse(*_arguments):
        raise OSError("no sockets here")

    monkeypatch.setattr("ppo_tui.runs.server.listen", refuse)
    run = ServedRun(tmp_path / "run")
    run.emit(update(1))
    run.close()
    assert "no sockets here" in caplog.text


def test_a_client_that_vanishes_mid_stream_is_forgotten(served):
    served.emit(*[Alarm(level=Level.INFO, message="x" * 10_000)] * 300)
    code = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        's.sendall(b\'{"request":"subscribe"}\\n\'); s.recv(100_000); os.kill(os.getpid(), 9)'
    )
    subprocess.run([sys.executable, "-c", code, str(served.directory.socket)], cwd=ROOT, timeout=30)
    wait_until(lambda: not served.peers)
    assert_serves(served)
