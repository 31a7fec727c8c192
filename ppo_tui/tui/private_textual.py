"""Private interfaces of Textual: keys, exceptions, sizes, lines, strips and last messages.

Those for painting are in `widgets.direct_painting`. Without the parser, bytes that are no UTF-8 cost the screen;
without the handling, the report of an exception is Textual's own; without the widgets, some memory stays taken.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import io
import logging
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import textual.strip
from rich.console import Console, RenderableType
from textual.app import App
from textual.cache import FIFOCache
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import NoActiveWorker, WorkerFailed, get_current_worker

from ..text import printable

try:
    from textual._xterm_parser import XTermParser
except ImportError:
    XTermParser = None
try:
    from textual._context import active_message_pump
except ImportError:
    active_message_pump = None

_log = logging.getLogger(__name__)

PASTE_SECONDS = 1.0
"""Longest silence within a paste; then it counts as ended, or a lost end would swallow all further keys."""

MAX_PASTE = 1 << 20
"""Characters of a paste; the rest of it is dropped."""

_PASTE_START, _PASTE_END = "\x1b[200~", "\x1b[201~"


class KeyReader:
    """A reader of keys and mouse events from any bytes whatever.

    Bytes that are no UTF-8 are replaced, sequences that the parser cannot bear are dropped.

    Raises:
        NotImplementedError: this version of Textual has another parser.
    """

    def __init__(self) -> None:
        if XTermParser is None:
            raise NotImplementedError("this version of Textual has no XTermParser")
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parser = XTermParser()
        self._pasting = False
        self._pasted = 0
        self._tail = ""
        self._heard_at = time.monotonic()

    def feed(self, data: bytes) -> list[Message]:
        """Read more bytes; return the messages now complete."""
        self._heard_at = time.monotonic()
        text = self._decoder.decode(data)
        return self._parsed(self._parser.feed(self._bounded(text))) if text else []

    def pass_time(self) -> list[Message]:
        """Return the messages completed by silence, such as a lone Escape."""
        if self._pasting and time.monotonic() - self._heard_at > PASTE_SECONDS:
            self._pasting = False
            return self._parsed(self._parser.feed(_PASTE_END))
        return self._parsed(self._parser.tick())

    def _bounded(self, text: str) -> str:
        """`text` without the excess of a paste."""
        joined = self._tail + text
        start, end = joined.rfind(_PASTE_START), joined.rfind(_PASTE_END)
        self._tail = joined[-len(_PASTE_START) + 1 :]
        if start != end:  # one of them is there
            self._pasting, self._pasted = start > end, 0
        elif self._pasting:
            self._pasted += len(text)
            if self._pasted > MAX_PASTE:
                return "\0"  # which a paste leaves out
        return text

    def _parsed(self, messages: Iterable[Message]) -> list[Message]:
        """The messages up to the first sequence beyond the parser."""
        whole: list[Message] = []
        try:
            whole.extend(messages)
        except Exception:  # of numbers that are no characters, sizes that are no sizes, …
            assert XTermParser is not None
            self._parser = XTermParser()
            self._pasting = False
        self._parser.mouse_pixels = False  # set by a report that nobody has asked for
        return whole


@dataclass(frozen=True)
class Failure:
    """The end of a screen.

    Attributes:
        summary: type and message of the exception.
        details: its traceback.
        error: the exception, where it is known.
    """

    summary: str
    details: str
    error: BaseException | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        lines = str(error).strip().splitlines()
        name = type(error).__name__
        summary = printable(f"{name}: {lines[0][:300]}") if lines else name
        return cls(summary, "".join(traceback.format_exception(error)), error)

    @classmethod
    def unknown(cls) -> Failure:
        return cls("it ended without a reason", "")


class ReportingApp(App[None]):
    """An app with its first exception kept, and off the terminal."""

    def __init__(self, *, ansi_color: bool | None = None) -> None:
        super().__init__(ansi_color=ansi_color)
        self._failure: Failure | None = None
        self._printed = io.StringIO()
        self.error_console = Console(file=self._printed, width=120, color_system=None)

    @property
    def failure(self) -> Failure | None:
        """The reason of the app's end, unless somebody chose it."""
        if self._failure is None and (printed := self._printed.getvalue().strip()):
            return Failure("an error of Textual", f"{printed}\n")
        return self._failure

    def panic(self, *renderables: RenderableType) -> None:
        from rich.traceback import Traceback  # not at each start: with all that draws code in colours

        for each in renderables:
            if isinstance(each, Traceback) and self._failure is None:  # of the thread that reads keys
                stack = each.trace.stacks[-1]
                details = io.StringIO()
                Console(file=details, width=120, color_system=None).print(each)
                self._failure = Failure(printable(f"{stack.exc_type}: {stack.exc_value}"), details.getvalue())
        super().panic(*renderables)

    def _handle_exception(self, error: Exception) -> None:
        if self._comes_from_a_left_screen():
            _log.debug("an error in a screen that was left", exc_info=error)
            return
        if self._failure is None:
            self._failure = Failure.of(error.error if isinstance(error, WorkerFailed) else error)
        try:
            super()._handle_exception(error)
        except Exception:  # while it draws a traceback, with the values of all variables
            self.exit(return_code=1)

    def _comes_from_a_left_screen(self) -> bool:
        """Tell whether the present widget or its screen has been removed.

        Its timers, workers and last messages find its children gone.
        """
        try:
            source: object = get_current_worker().node
        except NoActiveWorker:
            source = active_message_pump.get() if active_message_pump else self
        if not isinstance(source, Widget):
            return False
        screen = next((each for each in source.ancestors_with_self if isinstance(each, Screen)), None)
        return screen is None or not (screen in self.screen_stack or self.is_screen_installed(screen))


def _widgets(app: App[None]) -> list[Any]:
    """All widgets of an app, on all screens."""
    return list(getattr(app, "_registry", ()))


async def forget_messages(app: App[None]) -> None:
    """Let each widget handle an empty message.

    It keeps its last one until the next, and with it the sender, which may be a page that has long been left.
    """
    for widget in _widgets(app):
        if widget.is_running:
            widget.call_later(_do_nothing)
    await asyncio.sleep(0)  # until each has taken its own


def _do_nothing() -> None:
    pass


def forget_sizes(app: App[None]) -> None:
    """Empty each widget's cache of its last sizes.

    Each keeps up to 16, under keys that a zoom makes new.
    """
    _clear("_box_model_cache", _widgets(app))


def forget_lines(page: Screen[Any]) -> None:
    """Empty the caches of lines of a left page.

    What comes in its place is drawn before the page is garbage, and would need room of its own.
    """
    _clear("_styles_cache", page.walk_children(with_self=True))


class _NoCache(FIFOCache[Any, Any]):
    """A cache without entries."""

    __slots__ = ()

    def set(self, key: object, value: object) -> None:
        pass

    __setitem__ = set


@contextlib.contextmanager
def strips_without_caches() -> Iterator[None]:
    """Let strips made meanwhile keep none of their parts.

    Each comes with seven caches, of two objects each, of which one in fourteen is ever filled. To draw a page takes
    more than a thousand strips, whose caches need more room than they do, and more time than they save.
    """
    module: Any = textual.strip
    caches = getattr(module, "FIFOCache", None)
    if caches:
        empty = _NoCache(0)
        module.FIFOCache = lambda maxsize: empty
    try:
        yield
    finally:
        if caches:
            module.FIFOCache = caches


def _clear(name: str, widgets: Iterable[Any]) -> None:
    """Clear this attribute of each widget, if it has one."""
    for widget in widgets:
        kept = getattr(widget, name, None)
        if kept is not None:
            kept.clear()
