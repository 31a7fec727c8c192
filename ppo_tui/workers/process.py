"""Starting worker processes, quickly and without dragging the parent's imports along."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from ..errors import WorkerError
from .worker import worker_main

_PRELOAD = ("ppo_tui.workers.worker", "ppo_tui.envs")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def worker_context(preload: Sequence[str] = ()) -> BaseContext:
    """The start method: forkserver where there is one, else spawn.

    Plain fork is never used: it copies locks that other threads of the parent hold. The fork server is started
    here, before a Textual screen redirects stderr, because afterwards it cannot be.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOAD, *preload])
    resource_tracker.ensure_running()  # which unblocks SIGTERM, so before it is blocked
    with _hidden_main(), _environment(dict.fromkeys(_ONE_THREAD, "1")), _sigterm_blocked():
        multiprocessing.forkserver.ensure_running()
    return context


def start_worker(
    boot: Callable[[], BaseContext], setup: Any, memory: Any, main: Callable[[Connection, Any, Any], None] = worker_main
) -> tuple[BaseProcess, Connection]:
    """Start one worker and return it with the parent's end of its pipe; it reports READY when it is.

    Args:
        boot: starts the fork server where there is none, as `worker_context` does.
        setup: what `main` is given beside its pipe and `memory`; a `WorkerSetup` for `worker_main`.

    Raises:
        WorkerError: it could not be started.
    """
    try:
        return _started(boot(), setup, memory, main)
    except (OSError, EOFError):
        # The fork server has been killed but has not ended yet, or whoever tidies up old temporary files has taken its
        # socket: another one does it.
        kill_fork_server()
    try:
        return _started(boot(), setup, memory, main)
    except (OSError, EOFError) as error:
        raise WorkerError(f"worker {setup.index} could not be started: {error or type(error).__name__}") from error


def _started(
    context: BaseContext, setup: Any, memory: Any, main: Callable[[Connection, Any, Any], None]
) -> tuple[BaseProcess, Connection]:
    ours, theirs = context.Pipe()
    process = context.Process(target=main, args=(theirs, setup, memory), name=f"worker-{setup.index}", daemon=True)
    with theirs, _hidden_main():
        process.start()
    return process, ours


def kill_fork_server() -> None:
    """End a fork server that answers no more; all its workers end with it. `worker_context` starts another one."""
    if (pid := multiprocessing.forkserver._forkserver._forkserver_pid) is not None:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # who starts the next one collects it


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
def _sigterm_blocked() -> Iterator[None]:
    """Let the processes that are started inside be deaf to SIGTERM.

    Service managers and `timeout` send it to the whole group. The parent wants to finish its step and to save then, for
    which it needs the fork server: the workers end when that does.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """These environment variables for the duration."""
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
