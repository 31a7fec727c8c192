"""The other end of a control socket: what `attach` and `ctl` speak through."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from ..config.live import typed_value
from ..errors import RunFailedError, UsageError, did_you_mean
from ..protocol import (
    Alarm,
    AnyEvent,
    CheckpointSaved,
    Command,
    CommandRefused,
    Event,
    Level,
    Pause,
    Resume,
    Rewind,
    Rewound,
    RunFinished,
    RunState,
    SaveCheckpoint,
    SettingChanged,
    SetValue,
    StateChanged,
    StepUpdates,
    Stop,
    encode,
)
from .address import connect
from .directory import RunDirectory
from .messages import Claim, Hello, Reply, Role, Subscribe, Wish, decode_line
from .registry import RunSummary, summarise

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


_USAGE = {
    "pause": "pause",
    "resume": "resume",
    "step": "step [N]",
    "save": "save",
    "stop": "stop",
    "set": "set KEY VALUE",
    "rewind": "rewind PATH",
    "status": "status",
}

LATER = "accepted; it takes effect when the training goes on"


def command_from(action: str, arguments: Sequence[str]) -> Command:
    """The command that words ask for, such as ``set``, ``optim.learning_rate`` and ``1e-4``.

    Raises:
        UsageError: there is no such action, or its arguments do not fit.
    """
    match action, *arguments:
        case ["pause"]:
            return Pause()
        case ["resume"]:
            return Resume()
        case ["step"]:
            return StepUpdates()
        case ["step", number] if number.isascii() and number.isdigit() and 1 <= int(number[:12]) <= 10**9:
            return StepUpdates(updates=int(number))
        case ["step", number]:
            raise UsageError(f"step {number}: expected how many updates to run, from 1 to 1,000,000,000")
        case ["save"]:
            return SaveCheckpoint()
        case ["stop"]:
            return Stop(reason="stopped by ctl")
        case ["set", key, value]:
            return SetValue(key=key, value=typed_value(value))
        case ["rewind", path]:
            # As the run may work in another directory; a bare name is one of its own checkpoints.
            return Rewind(path=str(Path(path).absolute()) if Path(path).exists() else path)
    if action in _USAGE:
        raise UsageError(f"ctl {' '.join([action, *arguments])}: expected {_USAGE[action]}")
    raise UsageError(f"there is no action {action!r}", hint=did_you_mean(action, _USAGE, otherwise=", ".join(_USAGE)))


def status(run: RunDirectory) -> RunSummary:
    """What a run is doing: by its files and, where it is running, by itself."""
    summary = summarise(run)
    if summary.pid is not None:
        try:
            with ControlClient(run) as client:
                hello = client.hello
        except (UsageError, OSError):
            return summary
        return msgspec.structs.replace(summary, state=str(hello.state), step=max(summary.step, hello.step))
    return summary


def steer(run: RunDirectory, command: Command, *, wait: bool = True) -> str:
    """Send `command` to a running run and return what became of it, in words.

    Args:
        wait: until it has taken effect, else only until it is accepted.

    Raises:
        UsageError: the run is not running, or refuses the command.
        RunFailedError: the run ended first.
    """
    with ControlClient(run) as client:
        client.subscribe(client="ctl", wish="script", history=False)
        sent = client.send(command)
        paused = client.hello.state is RunState.PAUSED
        me, accepted = "", False
        for message in client.messages():
            outcome = None
            match message:
                case Role(you=me):
                    pass
                case Reply(error=str(error)):
                    raise UsageError(error)
                case Reply(id=id) if id == sent:
                    accepted = True
                    outcome = _at_once(command, paused) if wait else "accepted"
                case Event() if accepted:
                    outcome = _outcome(command, message, me)
            if outcome is not None:
                return outcome
    raise RunFailedError(f"{run.path.name} hung up before it had answered", hint=f"ppo-tui ctl {run.path.name} status")


def _at_once(command: Command, paused: bool) -> str | None:
    """What became of a command that the run need not answer with an event."""
    match command:
        case Pause() if paused:
            return "paused already"
        case Resume() if not paused:
            return "training already"
        case SetValue() | SaveCheckpoint() | Rewind() if paused:
            return LATER
    return None


def _outcome(command: Command, event: Event, me: str) -> str | None:
    """What `event` says of the command of the client `me`, or None if it is about something else."""
    match command, event:
        case _, CommandRefused(message=message, by=by) if by in (me, ""):
            raise UsageError(message)
        case Stop(), RunFinished():
            return f"{event.state} at step {event.step:,}: {event.reason}"
        case _, RunFinished():
            raise RunFailedError(f"the run ended first: {event.state}, {event.reason}")
        case ((Pause() | StepUpdates()), StateChanged(state=RunState.PAUSED)):
            return "paused"
        case Resume(), StateChanged(state=RunState.TRAINING):
            return "training"
        case ((SetValue() | SaveCheckpoint() | Rewind()), StateChanged(state=RunState.PAUSED)):
            return LATER
        case SetValue(key=key), SettingChanged() if (event.key, event.by) == (key, me):
            return f"{key}: {event.old} → {event.new} at step {event.step:,}"
        case SaveCheckpoint(), CheckpointSaved(reason="manual"):
            return f"saved: {event.path}"
        case SaveCheckpoint(), Alarm(level=Level.ERROR, message=message) if "checkpoint" in message:
            raise RunFailedError(message)
        case Rewind(), Rewound():
            return f"back at step {event.step:,}: {event.path}"
    return None
