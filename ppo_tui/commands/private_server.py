"""A private web server for the screen, with the parts of textual-serve.

Each tab gets a process, which attaches to the run like any other. A port on the loopback interface is open to every
user of the machine, and to every web page in its browsers. So the address holds a secret, without which every request
is refused, as are all requests of other pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import aiohttp_jinja2
import jinja2
import msgspec
from aiohttp import WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError
from textual_serve.app_service import AppService
from textual_serve.server import Server

from ..errors import UsageError

COOKIE = "ppo-tui-token"

CLOSING_SECONDS = 2.0
"""Time for open tabs to close when the server ends."""

MAX_COLUMNS, MAX_ROWS = 1_000, 400
"""Largest size of a tab's screen, in cells; its process draws every one."""

MAX_TABS = 16
"""Open tabs; each costs a process of about 100 MB."""

MAX_MESSAGE_BYTES = 2**20

POLICY = "default-src 'self' 'unsafe-inline' data: blob:"
"""A page may load nothing from elsewhere, which would reveal its use and fail without a network."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def public_address(host: str, port: int, url: str | None) -> str:
    """The beginning of all addresses of a server.

    Args:
        url: of a proxy in front of it, if any.

    Raises:
        UsageError: `host` or `url` is not valid.
    """
    if url is not None:
        return _proxy(url)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split(".")):
            raise UsageError(
                f"--host {host[:100]!r} is neither an address nor a host name",
                hint="for this machine alone, leave it out",
            ) from None
    else:
        if "%" in host:
            raise UsageError(f"--host {host[:100]!r}: browsers know no zones", hint="use the address without its zone")
        host = f"[{host}]" if address.version == 6 else host
    return f"http://{host}" if port == 80 else f"http://{host}:{port}"


def _proxy(url: str) -> str:
    """The address of a proxy, without a slash at its end.

    Raises:
        UsageError: it is not valid.
    """
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        plain = url.isascii() and url.isprintable() and " " not in url
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc
        if plain and whole and parts.path in ("", "/") and not (parts.query or parts.fragment):
            return f"{parts.scheme}://{parts.netloc.lower()}"
    raise UsageError(
        f"--url {url[:100]!r} is not an address of a server",
        hint="expected http:// or https://, a host, and perhaps a port",
    )


class PrivateServer(Server):
    """A server for browsers with its secret and for its own pages.

    Attributes:
        address: for the browser, with the secret.
    """

    def __init__(self, command: str, *, host: str, port: int, title: str, public_url: str) -> None:
        super().__init__(command, host=host, port=port, title=title, public_url=public_url)
        self._token = secrets.token_urlsafe(24)
        self._authority = urlsplit(self.public_url).netloc
        self._tabs = 0

    @property
    def address(self) -> str:
        return f"{self.public_url}/?token={self._token}"

    def serve(self, debug: bool = False) -> None:
        """Listen until SIGINT or SIGTERM, and print the address once ready.

        Raises:
            OSError: the address is in use or not allowed.
        """
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of the tabs that end with the server
        logging.getLogger("aiohttp.server").addFilter(_is_no_bad_request)
        web.run_app(
            self.application(),
            host=self.host,
            port=self.port,
            print=lambda _: self._announce(),
            shutdown_timeout=CLOSING_SECONDS,
            access_log=None,
        )

    def application(self) -> web.Application:
        """The pages, all of them behind the secret."""
        app = web.Application(middlewares=[self._guard()])
        aiohttp_jinja2.setup(app, loader=jinja2.FileSystemLoader(self.templates_path))
        app.add_routes(
            [
                web.get("/", self.handle_index, name="index"),
                web.get("/ws", self.handle_websocket, name="websocket"),
                web.get("/download/{key}", self.handle_download, name="download"),
                web.static("/static", self.statics_path, name="static"),
            ]
        )
        return app

    def _announce(self) -> None:
        print(f"{self.title} is at {self.address}\nCtrl+C ends this server; the run continues", flush=True)

    # ── Every request ───────────────────────────────────────────────────────────────────────────────────────

    def _guard(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            # Another page may point its name here (DNS rebinding) or open a socket: these two headers show it.
            if request.host.lower() != self._authority:
                raise web.HTTPForbidden(text=f"this server is {self.public_url}")
            if request.path == "/ws" and request.headers.get("Origin") != self.public_url:
                raise web.HTTPForbidden(text="only this server's own page may open a socket")
            if self._matches(request.query.get("token", "")):
                answer = web.HTTPFound("/")
                answer.set_cookie(COOKIE, self._token, httponly=True, samesite="Strict", path="/")
                raise answer
            if not self._matches(request.cookies.get(COOKIE, "")):
                raise web.HTTPForbidden(text="use the whole address printed by ppo-tui serve")
            answer = await handler(request)
            if not answer.prepared:
                answer.headers["Content-Security-Policy"] = POLICY
                answer.headers["Referrer-Policy"] = "no-referrer"
            return answer

        return guard

    def _matches(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode())

    # ── Pages ───────────────────────────────────────────────────────────────────────────────────────────────

    async def handle_index(self, request: web.Request) -> web.Response:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The page of the screen, without textual-serve's font from elsewhere."""
        page: web.Response = await super().handle_index(request)  # pyright: ignore[reportAssignmentType]
        own = re.escape(self.public_url)
        page.text = re.sub(rf'<link\b[^>]*\bhref="(?!{own}/)https?:[^>]*>', "", page.text or "")
        return page

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Show the screen in a tab, until either end closes."""
        if self._tabs >= MAX_TABS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_TABS} tabs are open already; close one of them")
        self._tabs += 1
        try:
            websocket = web.WebSocketResponse(heartbeat=15, max_msg_size=MAX_MESSAGE_BYTES)
            await websocket.prepare(request)
            with contextlib.suppress(ConnectionError):  # the tab was closed in the middle of a message
                await self._show(websocket, screen_size(request.query.get("width"), request.query.get("height")))
            return websocket
        finally:
            self._tabs -= 1

    async def _show(self, websocket: web.WebSocketResponse, size: tuple[int, int]) -> None:
        """Run the process of a tab until either end closes."""

        async def close() -> None:
            await websocket.close()

        tab = AppService(
            self.command,
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=close,
            download_manager=self.download_manager,
        )
        await tab.start(*size)
        try:
            async for message in websocket:
                if message.type == WSMsgType.TEXT:
                    await _pass_on(message.data, tab, websocket)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSING_SECONDS):
                    await tab.stop()
            tab.stdin.close()  # upon which the process ends in any case


def _is_no_bad_request(record: logging.LogRecord) -> bool:
    """Leave out strangers' malformed requests, with their traceback and any secret.

    They are answered with 400.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


# ── Messages of the page ────────────────────────────────────────────────────────────────────────────────────


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """A message of the page: a list of its name and content."""


class _Stdin(_Message, frozen=True, tag="stdin"):
    text: str


class _Cells(msgspec.Struct, frozen=True):
    width: int
    height: int


class _Resize(_Message, frozen=True, tag="resize"):
    size: _Cells


class _Ping(_Message, frozen=True, tag="ping"):
    content: str


class _Focus(_Message, frozen=True, tag="focus"):
    pass


class _Blur(_Message, frozen=True, tag="blur"):
    pass


_decode = msgspec.json.Decoder(_Stdin | _Resize | _Ping | _Focus | _Blur).decode


async def _pass_on(text: str, tab: AppService, websocket: web.WebSocketResponse) -> None:
    """Pass a message on to the screen; ignore anything else."""
    try:
        message = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return
    match message:
        case _Stdin(text=typed):
            await tab.send_bytes(typed.encode("utf-8", "replace"))
        case _Resize(size=cells):
            await tab.set_terminal_size(*screen_size(cells.width, cells.height))
        case _Ping(content=content):
            await websocket.send_json(["pong", content])
        case _Focus():
            await tab.focus()
        case _Blur():
            await tab.blur()


def screen_size(width: object, height: object) -> tuple[int, int]:
    """Columns and rows of a tab's screen, within bounds.

    What is no number stands for 80 and 24.
    """
    return _bounded(width, 80, MAX_COLUMNS), _bounded(height, 24, MAX_ROWS)


def _bounded(value: object, otherwise: int, most: int) -> int:
    try:
        number = int(str(value))
    except ValueError:
        return otherwise
    return min(max(1, number), most)
