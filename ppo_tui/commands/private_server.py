"""A private web server for the screen, by textual-serve.

Each tab gets a process, which attaches to the run like any other. A port on the loopback interface is open to every
user of the machine, and to every web page in its browsers. So the address holds a secret, without which every request
is refused, as are all requests of other pages.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from textual_serve.server import Server

from ..errors import UsageError

COOKIE = "ppo-tui-token"

CLOSING_SECONDS = 2.0
"""Time for open tabs to close when the server ends."""

POLICY = "default-src 'self' 'unsafe-inline' data: blob:"
"""textual-serve's page would load a font from elsewhere, which reveals its use and fails without a network."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


if not hasattr(Server, "_make_app"):
    # Private to textual-serve, and the only place for the guard: without it nothing is served.
    raise UsageError(
        "this version of textual-serve offers no place for the secret of the address",
        hint="pip install 'ppo-tui[serve]'",
    )


class PrivateServer(Server):
    """A server for browsers with its secret and for its own pages.

    Attributes:
        address: for the browser, with the secret.
    """

    def __init__(self, command: str, **arguments: Any) -> None:
        super().__init__(command, **arguments)
        self._token = secrets.token_urlsafe(24)
        self._authority = urlsplit(self.public_url).netloc

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
        """Print nothing: `serve` announces the server itself."""

    def _announce(self) -> None:
        print(f"{self.title} is at {self.address}\nCtrl+C ends this server; the run continues", flush=True)

    def _guard(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            # Another page may point its name here (DNS rebinding) or open a socket: these two headers show it.
            if request.host != self._authority:
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
        return hmac.compare_digest(token.encode(), self._token.encode())
