"""Whatever comes through the control socket: an answer, and a run that goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ppo_tui.protocol import encode
from ppo_tui.runs.client import ControlClient
from tests.runs.conftest import DEADLINE, ServedRun

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)

KEYS = (
    "command", "request", "id", "key", "value", "updates", "save", "exit_code", "reason", "by", "path", "wish", "env",
    "fps",
)  # fmt: skip

WORDS = (
    "pause", "resume", "step", "save", "set", "rewind", "stop", "watch-game", "subscribe", "claim", "take", "watch",
    "script", "optim.learning_rate", "ppo.clip_range", "__class__", "../../etc/passwd", "off",
)  # fmt: skip

VALID_LOOKING = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(WORDS) | ANY_JSON, max_size=6).map(
    lambda line: json.dumps(line).encode()
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedRun]:
    run = ServedRun(Path(tmp_path_factory.mktemp("fuzz")) / "run")
    run.train()
    yield run
    run.close()


def assert_harmless(run: ServedRun, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Send `data`: the replies are JSON, the commands can be recorded, and the server serves the next client."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(str(run.directory.socket))
        with contextlib.suppress(ConnectionError):
            connection.sendall(data + b"\n")
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65_536):
                for line in part.splitlines():
                    assert isinstance(json.loads(line), dict)
    for command in run.commands:
        assert encode(command)
        assert command.by
        assert command.by.endswith(")") or not hasattr(socket, "SO_PEERCRED")  # with the pid, where the kernel tells it
    run.commands.clear()
    with ControlClient(run.directory) as client:
        assert client.hello.run == run.directory.name
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


FUZZ = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(data=st.binary(max_size=300))
def test_random_bytes(run, caplog, data):
    assert_harmless(run, data, caplog)


@FUZZ
@given(lines=st.lists(VALID_LOOKING, min_size=1, max_size=5))
def test_random_commands_that_look_valid(run, caplog, lines):
    assert_harmless(run, b"\n".join(lines), caplog)


@FUZZ
@given(line=VALID_LOOKING, cut=st.integers(0, 60), flip=st.integers(0, 255))
def test_commands_cut_short_or_with_a_flipped_byte(run, caplog, line, cut, flip):
    damaged = bytearray(line[: max(1, len(line) - cut)])
    damaged[flip % len(damaged)] ^= 1 << flip % 8
    assert_harmless(run, bytes(damaged), caplog)
