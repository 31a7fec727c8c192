"""The boundary of every command: exceptions become sentences and exit codes.

Below it nobody needs to think of what the world may raise. It imports next to nothing, so that it also stands around
the imports of the commands.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from .errors import RunFailedError, UsageError
from .guest_stream import guest_stream, open_missing_streams
from .streams import flush_streams, guard_streams, printable_streams
from .text import printable

_log = logging.getLogger(__name__)

INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl+C."""

_MOST_CHARACTERS = 2_000
"""Limit of a message; an exception may quote a whole file."""

EXIT_SECONDS = 30.0
"""Time for libraries to end their threads and processes when this one exits."""

_STDERR_SECONDS = 1.0
"""Time for a reader of stderr to take a message before the program goes on."""

_USER, _MACHINE = UsageError.exit_code, RunFailedError.exit_code

_SIZES = ("COLUMNS", "LINES", "ROWS", "TERMINAL_WIDTH")
_SIZE = re.compile("[0-9]{1,4}")
"""Sizes of a terminal in the environment: of anything else Rich and Typer make an error, or lines without an end."""

_PATHS = {
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.ELOOP,
    errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.ENXIO, errno.EROFS,
}  # fmt: skip
"""Errors of a path that the user can change."""

_REMEDIES = {
    errno.EMFILE: "this process may open more files after: ulimit -n 4096",
    errno.ENFILE: "the machine has too many files open",
    errno.EFBIG: "files may become larger after: ulimit -f unlimited",
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "your quota of the disk is used up",
    errno.ENOMEM: "use fewer workers (--workers), environments (--envs) or smaller networks",
    errno.EAGAIN: "this user may start more processes after: ulimit -u unlimited",
}


def guarded(command: Callable[[], int]) -> int:
    """Run a command and return the exit code.

    Its output is printable, its exceptions become sentences. With ``--debug`` on the command line the traceback comes
    before the sentence.
    """
    with printable_streams() as streams:
        try:
            code = command()
        except BaseException as error:
            code = _tell(error)
        lost = flush_streams(*streams)
        if lost is not None and code == 0:
            _print(f"the output is lost: {lost.strerror}", lost)
            code = _MACHINE
    return code


def guard_process() -> None:
    """Guard this process's streams, threads, finalizers, logging and environment, for good.

    Whoever reads stderr may leave or stall: messages are lost then, and nothing else.
    """
    for name in _SIZES:
        if not _SIZE.fullmatch(os.environ.get(name, "0")):
            del os.environ[name]
    open_missing_streams()
    sys.stderr = guest_stream(sys.stderr, patience=_STDERR_SECONDS) or sys.stderr
    guard_streams()
    logging.raiseExceptions = _debugging()
    threading.excepthook = lambda failed: _report(failed.exc_value, f"the thread {getattr(failed.thread, 'name', '?')}")
    sys.unraisablehook = lambda failed: _report(failed.exc_value, "while something was cleaned up")


@contextlib.contextmanager
def threads_logged() -> Iterator[None]:
    """Log exceptions of threads and finalizers, libraries' too, instead of printing them."""

    def log_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None and failed.exc_type is not SystemExit:
            name = getattr(failed.thread, "name", "?")
            _log.error("the thread %s has died; the run continues", name, exc_info=failed.exc_value)

    def log_finalizer(failed: sys.UnraisableHookArgs) -> None:
        if failed.exc_value is not None:
            # One line: Python reports its own harmless races here, too.
            _log.warning("while something was cleaned up: %s", _named(failed.exc_value))

    before = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = log_thread, log_finalizer
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before


def leave(code: int) -> None:
    """Exit with `code`; an interrupt from here on exits at once.

    What libraries still wait for, such as a tracker's process that hangs, is waited for no longer than
    `EXIT_SECONDS`.

    Raises:
        SystemExit: always.
    """
    threading.Thread(target=_exit_after, args=(EXIT_SECONDS, code), name="exit", daemon=True).start()
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    sys.exit(code)


def leave_at_once(code: int) -> NoReturn:
    """Exit without Python's own end.

    That waits for threads, and takes modules apart under them.
    """
    flush_streams(sys.stdout, sys.stderr)
    os._exit(code)


def _exit_after(seconds: float, code: int) -> None:
    time.sleep(seconds)
    os._exit(code)


def _debugging() -> bool:
    return "--debug" in sys.argv


def _report(error: BaseException | None, where: str) -> None:
    """Print one line about an exception beyond any `except`."""
    if error is None or isinstance(error, SystemExit | KeyboardInterrupt | BrokenPipeError):
        return
    _print(f"{where}: {_named(error)}", error)


def _tell(error: BaseException) -> int:
    """Print the sentence for `error`, and return its exit code."""
    aborted = type(error).__name__ == "Abort"  # Typer's, which brings its own copy of click
    if aborted or any(isinstance(cause, KeyboardInterrupt) for cause in _causes(error)):
        return INTERRUPTED
    if isinstance(error, SystemExit | BrokenPipeError):
        if any(isinstance(cause, BrokenPipeError) for cause in _causes(error)):  # Typer exits with 1 then
            return 0  # the reader has all that it wanted, as `| head -1`
        if isinstance(error, SystemExit) and not isinstance(error.code, str):
            return _exit_code(error.code)
    text, code = explain(error)
    _print(text, error)
    return code


def explain(error: BaseException) -> tuple[str, int]:
    """The sentence and the exit code for an exception.

    2 is for the user's input, 3 for the machine and the run.
    """
    if (message := getattr(error, "format_message", None)) is not None:  # Typer's too
        return _usage(error, _refused_value(error) or message())
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):  # of the program's own family
        return _text(error), _exit_code(code)
    match error:
        case SystemExit():
            return _text(error), _MACHINE
        case MemoryError():
            return _out_of_memory(_text(error))
        case RecursionError():
            return f"something is nested too deeply ({_text(error)})", _USER
        case UnicodeError():
            return f"a text cannot be read or written: {_text(error)}", _USER
        case OverflowError():
            return f"a number is too large: {_text(error)}", _USER
        case ImportError():
            return f"{_text(error)}: the installation is not whole; ppo-tui doctor checks it", _MACHINE
        case OSError():
            return _system_error(error)
        case ValueError() if "null byte" in _text(error):
            return "a path contains a null byte", _USER
        case ValueError() if "int_max_str_digits" in _text(error):
            return "a number has too many digits", _USER
        case RuntimeError() if "memory" in _text(error):  # PyTorch's allocators
            return _out_of_memory(_text(error))
    hint = "" if _debugging() else "; --debug shows its traceback"
    return f"{_named(error)}\n  this is a bug of ppo-tui{hint}", _MACHINE


def _refused_value(error: BaseException) -> str:
    """Option, value and rule of a value refused by pydantic, for Typer."""
    option, details = getattr(error, "param", None), getattr(error.__cause__, "errors", None)
    if option is None or details is None:
        return ""
    refused = details()[0]
    rule = refused["msg"].partition(", unable to parse")[0].removeprefix("Input ")
    rule = rule.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    return f"{option.opts[0]} {refused['input']}: it {rule}"


def _usage(error: BaseException, message: str) -> tuple[str, int]:
    """An error of usage, with the command's line of usage before it."""
    context: Any = getattr(error, "ctx", None)
    usage = f"\n  {context.get_usage()}\n  Try '{context.command_path} --help' for help." if context else ""
    return f"{message}{usage}", _USER


def _system_error(error: OSError) -> tuple[str, int]:
    words = error.strerror or _text(error)
    if error.errno == errno.ENOENT and not _here():
        return "the current directory does not exist any more\n  change into another one: cd", _USER
    paths = [os.fsdecode(path) for path in (error.filename, error.filename2) if isinstance(path, str | bytes)]
    hint = _REMEDIES.get(error.errno or 0)
    text = ": ".join([" → ".join(paths), words] if paths else [words])
    return f"{text}\n  {hint}" if hint else text, _USER if error.errno in _PATHS else _MACHINE


def _here() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _out_of_memory(detail: str) -> tuple[str, int]:
    first = detail.splitlines()[0] if detail else ""
    return f"there is not enough memory{f' ({first})' if first else ''}\n  {_REMEDIES[errno.ENOMEM]}", _MACHINE


def _named(error: BaseException) -> str:
    text = _text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    """The message of any exception, even of one with a broken message."""
    try:
        text = str(error)
    except Exception as broken:
        text = f"(its message raises {type(broken).__name__})"
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def _exit_code(code: object) -> int:
    """The documented exit code nearest to `code`."""
    if code is None or code == 0:
        return 0
    return code if code in (_USER, _MACHINE, 4, INTERRUPTED, 128 + signal.SIGTERM) else _MACHINE  # type: ignore[return-value]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and its causes.

    An import that is interrupted may raise an error of its own.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _print(text: str, error: BaseException) -> None:
    """Print a message on stderr; after the traceback with ``--debug``."""
    if sys.stderr is None:  # closed by the shell; print would take stdout instead
        return
    with contextlib.suppress(OSError, ValueError):  # closed by a library, or full
        if _debugging():
            traceback.print_exception(error)
        print(f"ppo-tui: {_rank()}{printable(text, lines=True)}", file=sys.stderr)


def _rank() -> str:
    """Name this process among torchrun's; empty for rank 0 and without torchrun."""
    rank = os.environ.get("RANK", "0") if "TORCHELASTIC_RUN_ID" in os.environ else "0"
    return "" if rank == "0" else f"rank {rank}: "
