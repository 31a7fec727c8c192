"""Start worker processes quickly and without the parent's imports.

Everything that touches the private names of multiprocessing's fork server stands here. Where a Python version lacks
them, the program goes on: a fork server that hangs cannot be ended then, and ends after the last worker instead of
with the parent.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

from ..errors import WorkerError
from ..system.processes import has_fork_server, signal_when_parent_dies
from ..system.sockets import MAX_PATH_BYTES, short_temporary_directory

WorkerContext = ForkServerContext | SpawnContext
"""How worker processes are started."""

_PRELOAD = ("ppo_tui.workers.fork_server", "ppo_tui.workers.worker", "ppo_tui.envs")

_SAFE_PATH = "PYTHONSAFEPATH"
_NO_LOCAL_MODULES = "no-local-modules"
"""Any value keeps Python from looking for modules in the working directory, where a stray ``numpy.py`` may lie."""

_OF_WORKERS = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    _SAFE_PATH: _NO_LOCAL_MODULES,
}

_DYING_SECONDS = 0.2
"""How long a killed fork server may take to end."""


def worker_context(preload: Sequence[str] = ()) -> WorkerContext:
    """The start method: forkserver if the platform has it, else spawn.

    Plain fork is never used: it copies locks that other threads of the parent hold. The fork server and the resource
    tracker are started here, before a Textual screen redirects stderr, because afterwards they cannot be.
    """
    if not has_fork_server():
        resource_tracker.ensure_running()
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOAD, *preload])
    with _environment(_OF_WORKERS):
        resource_tracker.ensure_running()  # which unblocks signals, so before they are blocked
        with _hidden_main(), _signals_blocked(), _short_temporary_path():
            forkserver.ensure_running()
    return context


def start_worker(
    boot: Callable[[], WorkerContext],
    setup: Any,
    shared_memory: Any,
    main: Callable[[Connection, Any, Any], None],
) -> tuple[BaseProcess, Connection]:
    """Start one worker; returns it and the parent's end of its pipe.

    It replies READY when it is.

    Args:
        boot: starts the fork server unless it is running, as `worker_context` does.
        setup: the second argument of `main`, between its pipe and `shared_memory`; names the worker by its `index`.
        main: runs in the worker.

    Raises:
        WorkerError: it could not be started.
    """
    try:
        return _started(boot(), setup, shared_memory, main)
    except (OSError, EOFError):
        # The fork server has been killed but has not ended yet, or a cleaner of temporary files has removed its
        # socket: end it, so that `boot` starts another one.
        if not kill_fork_server():
            time.sleep(_DYING_SECONDS)
    try:
        return _started(boot(), setup, shared_memory, main)
    except (OSError, EOFError) as error:
        raise WorkerError(f"worker {setup.index} could not be started: {error or type(error).__name__}") from error


def _started(
    context: WorkerContext, setup: Any, shared_memory: Any, main: Callable[[Connection, Any, Any], None]
) -> tuple[BaseProcess, Connection]:
    ours, theirs = context.Pipe()
    arguments = (theirs, setup, shared_memory)
    process = context.Process(target=_run, args=(main, *arguments), name=f"worker-{setup.index}", daemon=True)
    with theirs, _hidden_main(), _spawned_like_forked(context):
        process.start()
    _parents[process] = os.getpid()
    return process, ours


_parents: weakref.WeakKeyDictionary[BaseProcess, int] = weakref.WeakKeyDictionary()
"""The workers started here, each with the process that started it: a fork of that has none of its own."""


@atexit.register
def _end_workers() -> None:
    """Kill the workers of unclosed pools.

    At its end multiprocessing sends SIGTERM to such processes and waits for them, but workers leave that to the parent.
    """
    for process, parent in list(_parents.items()):
        with contextlib.suppress(ValueError):  # closed, as it has ended
            if (pid := process.pid) and parent == os.getpid() and process.is_alive():
                kill_worker(pid)


# ── Inside a worker ─────────────────────────────────────────────────────────────────────────────────────────


def _run(main: Callable[[Connection, Any, Any], None], pipe: Connection, setup: Any, shared_memory: Any) -> None:
    """Run `main` in a worker, and end the process at once.

    With it ends all that its environments have started. The usual end of a Python process would wait for threads and
    processes of the environment.
    """
    if os.environ.get(_SAFE_PATH) == _NO_LOCAL_MODULES:
        del os.environ[_SAFE_PATH]
    _lead_own_group()
    code = 0
    try:
        main(pipe, setup, shared_memory)
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    if code == 0:
        end_own_group()
    os._exit(code)


def end_own_group() -> None:
    """Kill this worker and the processes of its environments."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _lead_own_group() -> None:
    """Let environments have processes, and let them end with this worker."""
    multiprocessing.current_process().daemon = False  # seen by this process alone; daemons may have no children
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # in its own group it may still print on the terminal
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


_LEFT_TO_PARENT = (signal.SIGINT, signal.SIGTERM)
"""A terminal or service manager sends these to everyone; the parent decides how the workers end."""


def leave_signals_to_parent() -> None:
    """Do nothing on `_LEFT_TO_PARENT`.

    Unlike ignored or blocked signals, which a new program inherits, these still end the processes of environments.
    """
    for number in _LEFT_TO_PARENT:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _LEFT_TO_PARENT)


_forking = threading.local()


def _before_fork() -> None:
    """Hold signals back until the new process can end on them."""
    _forking.by_first_thread = threading.get_native_id() == os.getpid()
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_PARENT)


def _after_fork_in_parent() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _after_fork_in_child() -> None:
    """End a forked process of an environment with its worker.

    The kernel sends the signal when the forking thread ends, and only the first one lasts as long as its process.
    """
    for number in _LEFT_TO_PARENT:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)
    if _forking.by_first_thread:
        signal_when_parent_dies(signal.SIGKILL)


def kill_worker(pid: int) -> None:
    """Kill a worker and the processes of its environments."""
    for kill in (os.killpg, os.kill):  # a worker that has hardly begun leads no group yet
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
            return


def kill_children(pid: int) -> None:
    """Kill the remaining processes of an ended worker's environments."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


# ── The fork server's private names ─────────────────────────────────────────────────────────────────────────


def kill_fork_server() -> bool:
    """Kill an unresponsive fork server and with it all workers.

    `worker_context` starts another one.

    Returns:
        Whether its pid was known, else nothing happened.
    """
    pid = getattr(_fork_server(), "_forkserver_pid", None)
    if pid is None:
        return False
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # left unreaped for `ensure_running`
    return True


def release_fork_server() -> None:
    """In a worker: let the fork server end with the parent.

    It ends when the last copy of its "alive" pipe closes, and each worker holds one for nothing.
    """
    server = _fork_server()
    descriptor = getattr(server, "_forkserver_alive_fd", None)
    if server is not None and descriptor is not None:
        os.close(descriptor)
        server._forkserver_alive_fd = None


def remove_temporary_files() -> None:
    """Remove the directory of sockets, as Python's own end does."""
    directory = getattr(multiprocessing.current_process(), "_config", {}).get("tempdir")
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)


def _fork_server() -> Any:
    """The object behind the functions of `multiprocessing.forkserver`, if it is found."""
    return getattr(forkserver, "_forkserver", None)


# ── Around the start ────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep multiprocessing from importing the parent's ``__main__`` in the child.

    A training script imports torch, which would cost every worker 150 MB and over a second. The constructors of the
    environments are pickled by value where they are defined in ``__main__``, so nothing needs it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _spawned_like_forked(context: WorkerContext) -> Iterator[None]:
    """Give a spawned worker the fork server's environment and signal mask."""
    if context.get_start_method() != "spawn":
        yield
        return
    with _environment(_OF_WORKERS), _signals_blocked():
        yield


@contextlib.contextmanager
def _short_temporary_path() -> Iterator[None]:
    """Keep multiprocessing's sockets in ``/tmp`` if TMPDIR is too long."""
    before = tempfile.gettempdir()
    too_long = len(os.fsencode(f"{before}/pymp-12345678/listener-12345678")) > MAX_PATH_BYTES
    if too_long and (short := short_temporary_directory()):
        tempfile.tempdir = short
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block `_LEFT_TO_PARENT` in the processes started inside.

    Terminals, service managers and `timeout` send them to the whole process group. The parent wants to finish its step
    and to save then, for which it needs the fork server: the workers end when that does. Workers unblock them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set these environment variables, for the duration of the context."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
