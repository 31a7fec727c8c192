"""A process that has imported everything, and forks one of its own for each command.

The commands run as they would from a shell, each in a process of its own, without the seconds that importing PyTorch
takes. As a module it is that process: it reads requests from its stdin, which is a socket.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

_MOST_BYTES = 1 << 20


class ForkingServer:
    """The tests' end: commands are given to it one after the other, from any thread."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"],
            cwd=ROOT,
            stdin=theirs,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        )
        theirs.close()

    def run(
        self, arguments: Sequence[str], *, cwd: Path, environment: dict[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` of ``python -m ppo_tui`` with pipes for its output.

        Raises:
            subprocess.TimeoutExpired: the command, which is killed, or whoever has inherited a pipe, lasts longer.
        """
        (out, its_out), (err, its_err) = os.pipe(), os.pipe()
        answers, its_answers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {"arguments": list(arguments), "cwd": str(cwd), "environment": environment}
        with answers, open(out, "rb") as out_file, open(err, "rb") as err_file:
            with its_answers:
                _send(self._socket, request, [its_out, its_err, its_answers.fileno()])
            os.close(its_out)
            os.close(its_err)
            sources = {out_file.fileno(): b"", err_file.fileno(): b"", answers.fileno(): b""}
            deadline = time.monotonic() + timeout
            with selectors.DefaultSelector() as selector:
                for source in sources:
                    selector.register(source, selectors.EVENT_READ)
                while selector.get_map():
                    ready = selector.select(deadline - time.monotonic())
                    if not ready and time.monotonic() >= deadline:
                        if pid := sources[answers.fileno()].split():
                            os.kill(int(pid[0]), signal.SIGKILL)
                        raise subprocess.TimeoutExpired(list(arguments), timeout)
                    for key, _ in ready:
                        if data := os.read(key.fd, _MOST_BYTES):
                            sources[key.fd] += data
                        else:
                            selector.unregister(key.fd)
        printed, told, answered = sources.values()
        code = os.waitstatus_to_exitcode(int(answered.split()[1]))
        return subprocess.CompletedProcess(list(arguments), code, _text(printed), _text(told))

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


def _text(output: bytes) -> str:
    return output.decode().replace("\r\n", "\n")


def _send(to: socket.socket, request: dict[str, Any], files: list[int]) -> None:
    to.sendmsg([json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))])


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork for each request; returns in the process of a command alone, with its request."""
    while True:
        data, files, _, _ = socket.recv_fds(requests, _MOST_BYTES, 3)
        if not data:
            return None
        if os.fork() == 0:  # this one waits for the command, the server for the next request
            requests.close()
            return _fork_command(json.loads(data), files)
        for file in files:
            os.close(file)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _fork_command(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    """Fork once more; this process answers with pid and status."""
    out, err, answer = files
    if pid := os.fork():
        with contextlib.suppress(BrokenPipeError):  # nobody waits any more
            for file in (out, err):
                os.close(file)
            os.write(answer, b"%d " % pid)
            os.write(answer, b"%d" % os.waitpid(pid, 0)[1])
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, out, err)):
        os.dup2(file, number)
    for file in (nothing, *files):
        os.close(file)
    return request


def _become(request: dict[str, Any]) -> None:
    """Make this process that of a command: directory, environment, streams, arguments."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = request["cwd"]
    sys.argv = [str(ROOT / "ppo_tui" / "__main__.py"), *request["arguments"]]
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)


def _import_everything() -> None:
    """Import what commands need; the collector leaves it alone, at the end of each process too."""
    import ppo_tui.cli
    import ppo_tui.commands.train
    import ppo_tui.launch
    import ppo_tui.training.evaluation.evaluate
    import ppo_tui.training.trainer  # noqa: F401

    gc.freeze()


if __name__ == "__main__":
    _import_everything()
    own = _serve(socket.socket(fileno=os.dup(0)))
    if own is not None:
        try:
            _become(own)
        except BaseException:
            traceback.print_exc()
            os._exit(70)
        runpy.run_module("ppo_tui.__main__", run_name="__main__", alter_sys=True)
