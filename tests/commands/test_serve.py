"""`serve` shows the screen in a real browser with its address."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from ppo_tui.config import load_preset
from ppo_tui.errors import UsageError
from ppo_tui.protocol import encode
from ppo_tui.runs import RunDirectory
from tests.browser import chromium  # noqa: F401
from tests.conftest import ROOT
from tests.sinks.test_trackers import END, started, update
from tests.waiting import still_running, wait_until

pytest.importorskip("textual_serve", reason="it brings the screen to browsers: pip install 'ppo-tui[serve]'")

import aiohttp
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ppo_tui.commands.private_server import MAX_COLUMNS, MAX_ROWS, PrivateServer, public_address, screen_size

STORY = (started(load_preset("cartpole")), update(1, 10.0), update(2, 20.0), END)


class Served:
    """A server on a port of its own, its address, and what it has printed."""

    def __init__(self, directory: Path) -> None:
        run = RunDirectory.create(load_preset("cartpole"), label="cartpole", path=directory / "few")
        run.events.write_bytes(b"".join(encode(event) + b"\n" for event in STORY))
        run.release()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._printed = directory / "printed"
        self.process = psutil.Popen(
            [sys.executable, "-m", "ppo_tui", "serve", "few", "--port", str(self.port)],
            cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
            stderr=self._printed.open("wb"),
        )  # fmt: skip
        line = self.process.stdout.readline()
        assert line.startswith("few is at http://127.0.0.1:"), line
        self.address = line.split()[-1]
        self.cookie = f"ppo-tui-token={urlsplit(self.address).query.partition('=')[2]}"

    @property
    def printed(self) -> str:
        return self._printed.read_text("utf-8")

    def tab(self) -> psutil.Process:
        """The process of the only tab."""
        wait_until(lambda: any("replay" in child.cmdline() for child in self.process.children()))
        (found,) = self.process.children()
        return found

    @contextlib.asynccontextmanager
    async def open_tab(self, query: str = ""):
        headers = {"Cookie": self.cookie, "Origin": f"http://127.0.0.1:{self.port}"}
        url = f"http://127.0.0.1:{self.port}/ws{query}"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as websocket:
            yield websocket

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("served"))
    yield served
    served.close()
    assert served.process.returncode == 0
    assert "Traceback" not in served.printed


@pytest.fixture
def address(served) -> str:
    return served.address


def answer(address: str, path: str = "/", **headers: str | bytes) -> int:
    url = urlsplit(address)
    assert url.hostname
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    connection.request("GET", path, headers=headers)
    return connection.getresponse().status


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


@pytest.mark.parametrize("path", ["/static", "/static/", "/static/js", "/static/js/", "/static/../", "/static/%2e%2e/"])
def test_no_directory_is_listed(served, path):
    assert answer(served.address, path, Cookie=served.cookie) in (403, 404)
    assert answer(served.address, "/static/js/textual.js", Cookie=served.cookie) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": b"ppo-tui-token=\xff\xfe"},
        {"Cookie": b"\xff=\xff; =;;;,"},
        {"Cookie": b"ppo-tui-token=" + b"x" * 5_000},
        {"Host": b"\xff"},
        {"Origin": b"\xff"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/ws", "/?token=%ff%fe", "/?token=%ed%a0%80", "/download/x"])
def test_bytes_that_are_no_text_are_refused(served, headers, path):
    assert answer(served.address, path, **headers) == 403


@pytest.mark.parametrize(
    "line", [b"\xff\x00\x1b[31m", b"GET /\xff HTTP/1.1", b"GET / HTTP/1.1\r\nCookie: \x01\xff=\x02"]
)
def test_a_request_that_is_none_is_answered_and_not_logged(served, line):
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(line + b"\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(100).split()[1] == b"400"
    assert served.printed == ""


def test_the_page_asks_for_nothing_elsewhere(served):
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request("GET", "/", headers={"Cookie": served.cookie})
    page = connection.getresponse().read().decode()
    assert "textual.js" in page
    assert "xterm.css" in page
    assert set(re.findall(r"(?:href|src)=\"(\w+://[^/\"]+)", page)) == {f"http://127.0.0.1:{served.port}"}


GARBAGE = (
    "", "hello", "[", "[]", "{}", "null", "7", '["stdin"]', '["stdin",7]', '["stdin",null]', '["stdin","\\ud800"]',
    '["resize"]', '["resize",{}]', '["resize",{"width":"x","height":1}]', '["resize",{"width":1e400,"height":1}]',
    '["resize",[1,2]]', '["unknown",1]', '[["stdin"],"x"]', "[" * 100_000, '["ping"]',
    '["resize",{"width":-99999999,"height":0}]', '["resize",{"width":99999999,"height":99999999}]',
)  # fmt: skip
"""Messages of a page that is not ours; those of sizes are taken up within bounds."""


async def test_a_tab_is_bounded_whatever_its_page_sends_and_ends_with_it(served):
    async with served.open_tab("?width=99999999&height=99999999") as websocket:
        tab = served.tab()
        for message in GARBAGE:
            await websocket.send_str(message)
        await websocket.send_bytes(b"\xff" * 1_000)
        await websocket.send_str('["ping","still there"]')
        async for answered in websocket:
            if answered.type == aiohttp.WSMsgType.TEXT:
                assert json.loads(answered.data) == ["pong", "still there"]
                break
        environment = tab.environ()
        assert (int(environment["COLUMNS"]), int(environment["ROWS"])) == (MAX_COLUMNS, MAX_ROWS)
        assert tab.memory_info().rss < 700e6
    assert not still_running([tab], seconds=60)
    assert "Traceback" not in served.printed


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        ("120", "40", (120, 40)),
        ("99999999", "99999999", (MAX_COLUMNS, MAX_ROWS)),
        ("-5", "0", (1, 1)),
        ("NaN", "inf", (80, 24)),
        ("1e3", "40.5", (80, 24)),
        (None, "", (80, 24)),
        ("9" * 5_000, "x", (80, 24)),
        (10**30, -(10**30), (MAX_COLUMNS, 1)),
    ],
)
def test_sizes_of_screens_are_bounded(width, height, size):
    assert screen_size(width, height) == size


async def test_more_tabs_than_there_are_places_are_refused(monkeypatch):
    monkeypatch.setattr("ppo_tui.commands.private_server.MAX_TABS", 0)
    server = PrivateServer("false", host="127.0.0.1", port=8000, title="x", public_url="http://127.0.0.1:8000")
    with pytest.raises(web.HTTPServiceUnavailable, match="Service Unavailable"):
        await server.handle_websocket(make_mocked_request("GET", "/ws"))


async def test_a_tab_ends_with_a_server_that_is_killed(tmp_path):
    served = Served(tmp_path)
    async with served.open_tab() as websocket:
        await websocket.receive()
        tab = served.tab()
        served.process.kill()
        assert not still_running([tab], seconds=60)
    served.process.communicate()


@pytest.mark.parametrize(
    ("host", "port", "url", "expected"),
    [
        ("127.0.0.1", 8000, None, "http://127.0.0.1:8000"),
        ("0.0.0.0", 80, None, "http://0.0.0.0"),
        ("::1", 8000, None, "http://[::1]:8000"),
        ("my-host.local", 443, None, "http://my-host.local:443"),
        ("127.0.0.1", 8000, "https://Example.org/", "https://example.org"),
        ("127.0.0.1", 8000, "http://[::1]:81", "http://[::1]:81"),
    ],
)
def test_the_address_in_browsers(host, port, url, expected):
    assert public_address(host, port, url) == expected


@pytest.mark.parametrize(
    "host", ["\x1b[31m", "", " ", "[::1", "[::1]", "::1%lo", "a b", "a" * 300, "a" * 64, "x..", "-x", "é", "a/b", "a:b"]
)
def test_a_host_that_is_none_is_refused(host):
    with pytest.raises(UsageError, match="--host"):
        public_address(host, 8000, None)


@pytest.mark.parametrize(
    "url",
    ["", "x", "//x", "ftp://a", "http://", "http://a/b", "http://[a", "http://a\x1b[31m", "http://a:99999", "http://a:x",
     "http://u@a", "http://é", "http://a?b", "http://a#b", "http://a b", "http://\udcff"],
)  # fmt: skip
def test_a_proxy_that_is_none_is_refused(url):
    with pytest.raises(UsageError, match="--url"):
        public_address("127.0.0.1", 8000, url)


def test_the_screen_in_a_browser(address, chromium):  # noqa: F811
    page = chromium.new_page(viewport={"width": 1200, "height": 800})
    drawn = bytearray()

    def listen(socket) -> None:
        socket.on("framereceived", lambda frame: drawn.extend(frame if isinstance(frame, bytes) else frame.encode()))

    page.on("websocket", listen)
    page.goto(address)
    assert "token" not in page.url
    wait_on_page(page, lambda: b"CartPole-v1" in drawn)
    page.wait_for_selector(".xterm canvas, .xterm-rows")
    # The keyboard reaches it: the help opens.
    before = len(drawn)
    page.locator(".xterm").click()
    page.keyboard.type("?")
    wait_on_page(page, lambda: b"Run one update, then pause" in drawn[before:])


def wait_on_page(page, condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)
