"""The screen in a browser, through textual-serve: a process for each tab, which attaches to the run like any other.

A port on the loopback interface is open to every user of the machine, and to every web page that its browsers show. So
the address holds a secret, without which nothing is answered, and requests that other pages make are refused.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from textual_serve.server import Server

from ..errors import UsageError
from ..runs import RunDirectory

COOKIE = "ppo-tui-token"

CLOSING_SECONDS = 2.0
"""How long the server waits for open tabs when it ends."""

POLICY = "default-src 'self' 'unsafe-inline' data: blob:"
"""The page of textual-serve asks elsewhere for a font, which tells others of it, and fails without a network."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serve_run(run: RunDirectory, *, host: str, port: int, url: str | None, arguments: Sequence[str]) -> None:
    """Show `run` to browsers until Ctrl+C: as it goes on, or what it was where it has ended.

    Args:
        url: of the server as browsers see it, where a proxy stands between; by default host and port.
        arguments: for the screen, as on the command line.

    Raises:
        UsageError: nothing can listen there.
    """
    command = ["attach" if run.holder is not None else "replay", str(run.path), *arguments]
    server = PrivateServer(
        shlex.join([sys.executable, "-m", "ppo_tui", *command]), host=host, port=port, title=run.name, public_url=url
    )
    try:
        server.serve()
    except OSError as error:
        raise UsageError(
            f"nothing can listen on {host}, port {port}: {error.strerror or error}", hint="choose another --port"
        ) from None


class PrivateServer(Server):
    """A server that answers those alone who know its secret, and pages of its own.

    Attributes:
        address: where a browser begins; it holds the secret.
    """

    def __init__(self, command: str, **arguments: Any) -> None:
        super().__init__(command, **arguments)
        self._token = secrets.token_urlsafe(24)
        self._authority = urlsplit(self.public_url).netloc

    @property
    def address(self) -> str:
        return f"{self.public_url}/?token={self._token}"

    def serve(self, debug: bool = False) -> None:
        """Listen until SIGINT or SIGTERM, and say where once browsers are answered.

        Raises:
            OSError: nothing can listen there.
        """
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of the screens of tabs that end with the server
        web.run_app(
            self._make_app(),
            host=self.host,
            port=self.port,
            print=lambda _: self._announce(),
            shutdown_timeout=CLOSING_SECONDS,
        )

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard())
        return app

    async def on_startup(self, app: web.Application) -> None:
        """What the server would say of itself is said by `serve`."""

    def _announce(self) -> None:
        print(f"{self.title} is at {self.address}\nCtrl+C ends this; the run goes on", flush=True)

    def _guard(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            # A page elsewhere may have its name point here, or open a socket to here: it cannot hide where it is from.
            if request.host != self._authority:
                raise web.HTTPForbidden(text=f"this is {self.public_url}")
            if request.path == "/ws" and request.headers.get("Origin") != self.public_url:
                raise web.HTTPForbidden(text="sockets are for this server's own page")
            if self._matches(request.query.get("token", "")):
                answer = web.HTTPFound("/")
                answer.set_cookie(COOKIE, self._token, httponly=True, samesite="Strict", path="/")
                raise answer
            if not self._matches(request.cookies.get(COOKIE, "")):
                raise web.HTTPForbidden(text="use the whole address that ppo-tui serve has printed")
            answer = await handler(request)
            if not answer.prepared:
                answer.headers["Content-Security-Policy"] = POLICY
                answer.headers["Referrer-Policy"] = "no-referrer"
            return answer

        return guard

    def _matches(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())
