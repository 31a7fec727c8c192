"""`serve` shows the screen in a real browser with its address."""

from __future__ import annotations

import http.client
import importlib
import os
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest

from ppo_tui.config import load_preset
from ppo_tui.errors import UsageError
from ppo_tui.protocol import encode
from ppo_tui.runs import RunDirectory
from tests.browser import chromium  # noqa: F401
from tests.conftest import ROOT
from tests.sinks.test_trackers import END, started, update

pytest.importorskip("textual_serve", reason="it brings the screen to browsers: pip install 'ppo-tui[serve]'")


STORY = (started(load_preset("cartpole")), update(1, 10.0), update(2, 20.0), END)


@pytest.fixture
def address(tmp_path):
    run = RunDirectory.create(load_preset("cartpole"), label="cartpole", path=tmp_path / "few")
    run.events.write_bytes(b"".join(encode(event) + b"\n" for event in STORY))
    run.release()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "ppo_tui", "serve", "few", "--port", str(port)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout
    line = server.stdout.readline()
    assert line.startswith("few is at http://127.0.0.1:"), line
    yield line.split()[-1]
    server.terminate()
    server.communicate(timeout=30)
    assert server.returncode == 0


def answer(address: str, path: str = "/", **headers: str) -> int:
    url = urlsplit(address)
    assert url.hostname
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
    connection.request("GET", path, headers=headers)
    return connection.getresponse().status


def test_without_a_place_for_the_secret_nothing_is_served(monkeypatch):
    monkeypatch.delattr("textual_serve.server.Server._make_app")
    monkeypatch.delitem(sys.modules, "ppo_tui.commands.private_server", raising=False)
    with pytest.raises(UsageError, match="no place for the secret"):
        importlib.import_module("ppo_tui.commands.private_server")


def test_only_the_whole_address_and_the_servers_own_page_are_answered(address):
    token = urlsplit(address).query.partition("=")[2]
    cookie = f"ppo-tui-token={token}"
    assert answer(address) == 403
    assert answer(address, "/?token=wrong") == 403
    assert answer(address, f"/?token={token}") == 302
    assert answer(address, Cookie=cookie) == 200
    assert answer(address, Cookie=cookie, Host="evil.example:8000") == 403
    socket_headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    assert answer(address, "/ws", Cookie=cookie, Origin="http://evil.example", **socket_headers) == 403
    assert answer(address, "/ws", Cookie=cookie, **socket_headers) == 403


def test_the_screen_in_a_browser(address, chromium):  # noqa: F811
    page = chromium.new_page(viewport={"width": 1200, "height": 800})
    drawn = bytearray()

    def listen(socket) -> None:
        socket.on("framereceived", lambda frame: drawn.extend(frame if isinstance(frame, bytes) else frame.encode()))

    page.on("websocket", listen)
    page.goto(address)
    assert "token" not in page.url
    wait_until(page, lambda: b"CartPole-v1" in drawn)
    page.wait_for_selector(".xterm canvas, .xterm-rows")
    # The keyboard reaches it: the help opens.
    before = len(drawn)
    page.locator(".xterm").click()
    page.keyboard.type("?")
    wait_until(page, lambda: b"Run one update, then pause" in drawn[before:])


def wait_until(page, condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)
