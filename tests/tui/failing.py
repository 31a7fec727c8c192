"""Screens that fail, one after the other: ``python -m tests.tui.failing FILE`` writes there what came of each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ppo_tui.errors import ScreenFailedError
from ppo_tui.tui.app import PpoTuiApp
from ppo_tui.tui.driver import LastingDriver
from ppo_tui.tui.private_textual import KeyReader
from ppo_tui.tui.screens.main import MainScreen
from ppo_tui.tui.terminal import run_screen
from ppo_tui.tui.widgets.header import Header
from tests.tui.fake import FakeSession, recorded


class RustPanic(BaseException):
    """An exception that is no Exception, as those of extensions in Rust."""


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def with_worker(error: BaseException, **options: bool) -> Callable[[PpoTuiApp], None]:
    mount = PpoTuiApp.on_mount

    def on_mount(app: PpoTuiApp) -> None:
        mount(app)
        app.run_worker(failing(error) if options else _raise(error), **options)

    return on_mount


async def _raise(error: BaseException) -> None:
    raise error


WHERE = {
    "app": (PpoTuiApp, "get_css_variables"),
    "compose": (MainScreen, "compose"),
    "mount": (MainScreen, "on_mount"),
    "resize": (PpoTuiApp, "on_resize"),
    "timer": (PpoTuiApp, "tick"),
    "news": (MainScreen, "renew"),
    "panel": (Header, "lines"),
    "session": (FakeSession, "poll"),
    "driver": (LastingDriver, "start_application_mode"),
    "output": (LastingDriver, "write"),
    "input": (LastingDriver, "run_input_thread"),
    "keys": (KeyReader, "pass_time"),
}
"""Name → what fails."""

KINDS: list[type[BaseException]] = [
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    RecursionError,
    MemoryError,
    RustPanic,
]
"""Exceptions of the news, which come with a timer."""


def outcome(session: FakeSession) -> str:
    try:
        ended = run_screen(session)
    except ScreenFailedError as error:
        return f"refused {error.exit_code} {error.message}"
    assert ended.failure
    return f"{ended.departure.value}: {ended.failure.summary}" + (" (closed)" if session.closed else "")


def main(told: Path) -> None:
    results = {}

    def run(name: str, *failure: Any, session: FakeSession | None = None) -> None:
        with patch.object(*failure):
            results[name] = outcome(session or FakeSession(recorded(3)))
        told.write_text(json.dumps(results))

    for name, (owner, method) in WHERE.items():
        run(name, owner, method, failing(ValueError(f"[/] in {name}")))
    for kind in KINDS:
        run(kind.__name__, MainScreen, "renew", failing(kind("boom")))
    run("worker", PpoTuiApp, "on_mount", with_worker(ValueError("[/] in worker")))
    run("thread", PpoTuiApp, "on_mount", with_worker(ValueError("[/] in thread"), thread=True))
    elsewhere = FakeSession(recorded(3))
    elsewhere.owns_run = False
    run("elsewhere", *WHERE["timer"], failing(ValueError("[/] in elsewhere")), session=elsewhere)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(Path(sys.argv[1]))
