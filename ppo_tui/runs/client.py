"""The client's end of a control socket, for `attach` and `ctl`."""

from __future__ import annotations

import itertools
import shlex
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import msgspec

from ..config.live import find_live_key, parse_live_value, typed_value
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
    UpdateFinished,
    encode,
)
from .address import connect
from .directory import RunDirectory
from .messages import Claim, Hello, HistoryRead, Reply, Role, Subscribe, Wish, decode_line
from .registry import PAUSED, RunSummary, summarise

ANSWER_SECONDS = 10.0
"""Time for the server's greeting; it comes within a tick."""

LOOK_SECONDS = 1.0
"""The same for a list of runs, which is not to wait for one that hangs."""

_MOST_ASKED_AT_ONCE = 16

_SILENT_UPDATES = 2
"""Updates after which a new value without any answer is known to be in force already."""

USAGE = {
    "pause": "pause",
    "resume": "resume",
    "step": "step [N]",
    "save": "save",
    "stop": "stop",
    "set": "set KEY VALUE",
    "rewind": "rewind PATH",
    "status": "status",
}
"""Action of `ctl` → its usage."""

LATER = "accepted; it takes effect when training resumes"

_encode_request = msgspec.json.Encoder().encode


class ControlClient:
    """A connection to a run. One thread reads, any may send.

    Attributes:
        hello: the server's first message.

    Nothing is sent, and nothing received is shown, before it is certain that the run's own process listens.

    Args:
        patience: seconds to wait for its greeting.

    Raises:
        UsageError: the run is not running, or somebody else listens in its place.
    """

    def __init__(self, run_dir: RunDirectory, patience: float = ANSWER_SECONDS) -> None:
        holder = run_dir.holder
        if not holder:
            raise _unreachable(run_dir, "it is starting")
        try:
            self._socket, expected = connect(run_dir, holder, patience)
        except OSError as error:
            raise _unreachable(run_dir, error.strerror or str(error)) from None
        self._lines = self._socket.makefile("rb")
        self._sending = threading.Lock()
        self._ids = itertools.count(1)
        try:
            hello = next(self.messages(), None)
        except OSError as error:
            hello = None
            refusal = str(error)
        else:
            refusal = hello.error if isinstance(hello, Reply) else "it closed the connection at once"
        if not isinstance(hello, Hello):
            self.close()
            raise UsageError(f"{run_dir.path.name} cannot be reached: {refusal}")
        try:
            expected.check(hello)
        except UsageError:
            self.close()
            raise
        self.hello = hello
        self._socket.settimeout(None)

    def subscribe(self, *, client: str, wish: Wish, history: bool) -> None:
        """Ask for events; `messages` yields them after a `Role`."""
        self._write(_encode_request(Subscribe(client=client, wish=wish, history=history)))

    def claim(self) -> None:
        """Ask for control of the run; the server replies with a `Role`."""
        self._write(_encode_request(Claim()))

    def send(self, command: Command) -> int:
        """Send a command; its `Reply` has the returned id.

        Raises:
            OSError: the connection is gone.
        """
        number = next(self._ids)
        # The id is one more key of the command's object.
        self._write(encode(command)[:-1] + b',"id":%d}' % number)
        return number

    def messages(self) -> Iterator[AnyEvent | Hello | Reply | Role | HistoryRead]:
        """All messages of the server, until it closes the connection.

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
        """Close the connection; a reading thread finds its end."""
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


def _unreachable(run_dir: RunDirectory, why: str) -> UsageError:
    """The error of a failed connection, from the run's files."""
    # By the directory's name: a copy's run.json has the name of the original.
    summary, name = summarise(run_dir), run_dir.path.name
    if summary.pid is not None and summary.under_way:
        return UsageError(
            f"{name} is in use by pid {summary.pid}, which does not answer: {why}",
            hint="it may still be starting; try again in a moment",
        )
    hints = {
        "finished": f"see it again: ppo-tui replay {shlex.quote(name)}",
        "failed": f"see why: ppo-tui replay {shlex.quote(name)}",
    }
    return UsageError(
        f"{name} is not running: {summary.state} at step {summary.step:,}",
        hint=hints.get(summary.state, f"continue it: ppo-tui resume {shlex.quote(name)}"),
    )


def command_from(action: str, arguments: Sequence[str]) -> Command:
    """The command of words such as ``set``, ``optim.learning_rate`` and ``1e-4``.

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
            key = find_live_key(key)
            # Checked here too, as JSON would send NaN and infinities as null, which takes a setting away.
            return SetValue(key=key, value=parse_live_value(key, typed_value(value)))
        case ["rewind", path]:
            # Absolute, as the run's working directory may differ; a bare name is one of its own checkpoints.
            return Rewind(path=str(Path(path).absolute()) if Path(path).exists() else path)
    if action in USAGE:
        raise UsageError(f"ctl {' '.join([action, *arguments])}: expected {USAGE[action]}")
    raise UsageError(f"there is no action {action!r}", hint=did_you_mean(action, USAGE, otherwise=", ".join(USAGE)))


def status(run_dir: RunDirectory) -> RunSummary:
    """Summarise a run from its files and its control socket."""
    summary = summarise(run_dir)
    if summary.pid is not None:
        try:
            with ControlClient(run_dir) as client:
                hello = client.hello
        except (UsageError, OSError):
            return summary
        return msgspec.structs.replace(summary, state=str(hello.state), step=max(summary.step, hello.step))
    return summary


def ask_runs(runs: Sequence[RunSummary]) -> list[RunSummary]:
    """Ask runs under way for their state and their step.

    All are asked at once. One that does not answer within `LOOK_SECONDS` stays as its files have it.
    """
    asked = [run for run in runs if run.under_way and run.pid is not None]
    if not asked:
        return list(runs)
    with ThreadPoolExecutor(min(len(asked), _MOST_ASKED_AT_ONCE)) as pool:
        answers = dict(zip((run.path for run in asked), pool.map(_ask, asked), strict=True))
    return [answers.get(run.path, run) for run in runs]


def _ask(run: RunSummary) -> RunSummary:
    try:
        with ControlClient(RunDirectory(Path(run.path)), LOOK_SECONDS) as client:
            hello = client.hello
    except (UsageError, OSError):
        return run
    state = PAUSED if hello.state is RunState.PAUSED else run.state
    return msgspec.structs.replace(run, state=state, step=max(run.step, hello.step))


def steer(run_dir: RunDirectory, command: Command, *, wait: bool = True) -> str:
    """Send `command` to a running run and return its outcome in words.

    Args:
        wait: until it has taken effect, else only until it is accepted.

    Raises:
        UsageError: the run is not running, or refuses the command.
        RunFailedError: the run ended first.
    """
    with ControlClient(run_dir) as client:
        client.subscribe(client="ctl", wish="script", history=False)
        sent = client.send(command)
        paused = client.hello.state is RunState.PAUSED
        me, accepted, updates = "", False, 0
        for message in client.messages():
            outcome = None
            match message:
                case Role(you=me):
                    pass
                case Reply(error=str(error)):
                    raise UsageError(error)
                case Reply(id=id) if id == sent:
                    accepted = True
                    outcome = _immediate_outcome(command, paused) if wait else "accepted"
                case Event() if accepted:
                    updates += isinstance(message, UpdateFinished)
                    outcome = _outcome(command, message, me, paused=paused)
            if outcome is None and isinstance(command, SetValue) and updates == _SILENT_UPDATES:
                outcome = f"{command.key} is {command.value} already"
            if outcome is not None:
                return outcome
    name = run_dir.path.name
    raise RunFailedError(
        f"{name} closed the connection before it replied", hint=f"see how it is: ppo-tui ctl {shlex.quote(name)} status"
    )


def _immediate_outcome(command: Command, paused: bool) -> str | None:
    """Outcome of a command without an event of its own, or None."""
    match command:
        case Pause() if paused:
            return "already paused"
        case Resume() if not paused:
            return "already training"
        case SetValue() if paused:
            return LATER
    return None


def _outcome(command: Command, event: Event, me: str, *, paused: bool) -> str | None:
    """Outcome of the command of client `me`, if `event` tells it.

    Args:
        paused: the run was paused when it got the command.
    """
    where = ", where the run is paused" if paused else ""
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
        case SetValue(), StateChanged(state=RunState.PAUSED):
            return LATER
        case SetValue(key=key), SettingChanged() if (event.key, event.by) == (key, me):
            course = f", then {event.course.text}" if event.course else ""
            return f"{key}: {event.old} → {event.new} at step {event.step:,}{course}"
        case SaveCheckpoint(), CheckpointSaved(reason="manual"):
            return f"saved at step {event.step:,}{where}: {event.path}"
        case SaveCheckpoint(), Alarm(level=Level.ERROR, message=message) if "checkpoint" in message:
            raise RunFailedError(message)
        case Rewind(), Rewound():
            return f"back at step {event.step:,}{where}: {event.path}"
    return None
