"""Rich's console on stdout or stderr, for texts of any origin."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from .streams import stream_below
from .text import printable


class PrintableConsole(Console):
    """Draws with Rich's own sequences, and without any of the texts'.

    Args:
        stderr: draw there instead of on stdout.
        settings: of Rich's `Console`.
    """

    def __init__(self, *, stderr: bool = False, **settings: Any) -> None:
        super().__init__(file=stream_below(sys.stderr if stderr else sys.stdout), stderr=stderr, **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as Rich does, with the control characters of texts replaced."""
        for text, style, control in super().render(renderable, options):
            if not control:
                text = printable(text, lines=True)
                style = style.update_link(None) if style is not None and style.link else style
            yield Segment(text, style, control)

    def on_broken_pipe(self) -> None:
        """Leave a pipe without a reader to the caller.

        Rich would end the process.

        Raises:
            BrokenPipeError: always.
        """
        self.quiet = True
        raise BrokenPipeError
