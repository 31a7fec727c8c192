"""`ppo-tui serve`: the screen in a browser."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from ..errors import UsageError
from ..extras import install_command, is_installed
from ..system.processes import own_command
from .options import LATEST, FpsOption, ReadonlyOption, RunArgument, ThemeOption, chosen_run, screen_options


def serve(
    run: RunArgument = LATEST,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, metavar="N", help="Port to listen on.")] = 8000,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the server in browsers, behind a proxy.")
    ] = None,
    readonly: ReadonlyOption = False,
    fps: FpsOption = None,
    theme: ThemeOption = None,
) -> None:
    """Show a run's screen in a browser, until Ctrl+C.

    By default on this machine alone, and only to those who have the printed address. A run that has ended is replayed.
    """
    if not is_installed("textual_serve"):
        raise UsageError(
            "textual-serve, which shows the screen in browsers, is not installed", hint=install_command("serve")
        )
    from .private_server import PrivateServer, public_address

    address = public_address(host, port, url)
    found = chosen_run(run, "running")
    screen_options(theme, False, fps)  # refuses wrong values here, before a browser shows the refusal
    running = found.holder is not None
    options = ["--readonly"] if readonly and running else []
    options += ["--fps", f"{fps:g}"] if fps is not None and running else []
    options += ["--theme", theme] if theme is not None else []
    screen = ["attach" if running else "replay", str(found.path), *options]
    command = shlex.join(["exec", *own_command("ppo_tui", *screen)])  # and no shell waits beside it
    server = PrivateServer(command, host=host, port=port, title=found.name, public_url=address)
    try:
        server.serve()
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}", hint="choose another --host or --port"
        ) from None
