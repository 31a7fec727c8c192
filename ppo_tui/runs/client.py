"""The other end of a control socket: what `attach` and `ctl` speak through."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from types import TracebackType

import msgspec

from ..errors import RunFailedError, UsageError
from ..protocol import AnyEvent, Command, encode
from .address import connect
from .directory import RunDirectory
from .messages import Claim, Hello, Reply, Role, Subscribe, Wish, decode_line
from .registry import summarise

ANSWER_SECONDS = 10.0
"""How long a server may take to greet; it does so within a tick."""

_encode_request = msgspec.json.Encoder().encode


class ControlClient:
    """A connection to a run. One thread reads, any may send.

    Attributes:
        hello: what the server said first.
    """

    def __init__(self, run: RunDirectory) -> None:
        """Connect to `run`.

        Raises:
            UsageError: it is not running, or does not let this user in.
        """
        try:
            self._socket = connect(run, ANSWER_SECONDS)
        except OSError as error:
            raise _unreachable(run, error) from None
        self._lines = self._socket.makefile("rb")
        self._sending = threading.Lock()
        self._ids = itertools.count(1)
        try:
            hello = next(self.messages(), None)
        except OSError as error:
            hello = None
            refusal = str(error)
        else:
            refusal = hello.error if isinstance(hello, Reply) else "it hung up without a word"
        if not isinstance(hello, Hello):
            self.close()
            raise UsageError(f"{run.path.name} cannot be reached: {refusal}")
        self.hello = hello
        self._socket.settimeout(None)

    def subscribe(self, *, client: str, wish: Wish, history: bool) -> None:
        """Ask for events; they and a `Role` come with `messages`."""
        self._write(_encode_request(Subscribe(client=client, wish=wish, history=history)))

    def claim(self) -> None:
        """Ask for the control of the run; a `Role` is the answer."""
        self._write(_encode_request(Claim()))

    def send(self, command: Command) -> int:
        """Send a command; the `Reply` carries the returned id.

        Raises:
            OSError: the connection is gone.
        """
        number = next(self._ids)
        # The id rides along with the command's own keys.
        self._write(encode(command)[:-1] + b',"id":%d}' % number)
        return number

    def messages(self) -> Iterator[AnyEvent | Hello | Reply | Role]:
        """Everything that the server says, until it hangs up.

        Raises:
            OSError: the connection broke.
        """
        for line in self._lines:
            if not line.endswith(b"\n"):
                return
            try:
                message = decode_line(line)
            except msgspec.DecodeError:
                continue
            if message is not None:
                yield message

    def close(self) -> None:
        """Hang up; a thread that reads finds the end."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        finally:
            self._socket.close()

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        with self._sending:
            self._socket.sendall(line + b"\n")


def _unreachable(run: RunDirectory, error: OSError) -> UsageError | RunFailedError:
    """Why nobody answers, as far as the run's files tell."""
    summary = summarise(run)
    if summary.pid is not None and summary.under_way:
        return UsageError(
            f"{summary.name} is in use by pid {summary.pid}, which does not answer: {error.strerror or error}",
            hint="it may still be starting; try again in a moment",
        )
    if isinstance(error, PermissionError):
        return UsageError(f"{summary.name} belongs to another user: {error.strerror}")
    hints = {
        "finished": f"see it again: ppo-tui replay {summary.name}",
        "failed": f"see why: ppo-tui replay {summary.name}",
    }
    return UsageError(
        f"{summary.name} is not running: {summary.state} at step {summary.step:,}",
        hint=hints.get(summary.state, f"go on with it: ppo-tui resume {summary.name}"),
    )
