"""One command for a run elsewhere, and what became of it: what `ctl` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..config.live import typed_value
from ..errors import RunFailedError, UsageError, did_you_mean
from ..protocol import (
    Alarm,
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
)
from .client import ControlClient
from .directory import RunDirectory
from .messages import Reply, Role
from .registry import RunSummary, summarise

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
