"""Messages of the control socket besides events and commands.

Each is one JSON object a line.

The server speaks first (`Hello`). A client may then send commands, each with an ``id`` of its choice, and gets a
`Reply` to each; after `Subscribe` it also gets the run's events. ``printf '{"command":"pause"}\\n'``
piped into ``nc -U control.sock`` is a client.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ..files import decoded
from ..protocol import PROTOCOL_VERSION, AnyCommand, AnyEvent, Command, RunState, decode_command, decode_event

MAX_LINE_BYTES = 65_536
"""Limit of a line from a client."""

_MAX_TEXT = 1_000

Wish = Literal["watch", "steer", "take", "script"]
"""Purpose of a client: to watch only; to steer if no other screen does, or as soon as none does; to take control over
from the client that has it; to send commands without control, as a script does.

A wish to watch is for good, and the server keeps it: nothing that this client sends afterwards is obeyed, not even
another wish."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="message"):
    """Base of the server's messages besides events."""


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """The first line of a connection.

    Attributes:
        directory: device and inode of the run directory.
    """

    run: str
    pid: int
    state: RunState
    step: int
    update: int
    directory: tuple[int, int] | None = None
    protocol: int = PROTOCOL_VERSION


class Reply(Message, frozen=True, kw_only=True, tag="reply"):
    """The reply to one line: accepted, or refused with an `error`.

    Attributes:
        id: the command's own, or None where it had none.
    """

    id: int | None = None
    error: str | None = None


class Role(Message, frozen=True, kw_only=True, tag="role"):
    """Whether this client may steer from now on.

    The first one replies to `Subscribe`.

    Attributes:
        you: the name of this client in the audit trail.
        holder: the client that steers, if any.
    """

    control: bool
    you: str
    holder: str | None = None


class HistoryRead(Message, frozen=True, kw_only=True, tag="history-read"):
    """The end of the history: later events are new."""


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, tag_field="request", tag="subscribe"):
    """Ask for the run's events.

    Attributes:
        history: from the very first one on, else only future ones.
        client: a word for the audit trail, such as ``screen``.
        wish: the purpose.
    """

    history: bool = True
    client: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z-]{0,19}$")] = "client"
    wish: Wish = "watch"


class Claim(msgspec.Struct, frozen=True, kw_only=True, tag_field="request", tag="claim"):
    """Take control of the run; refused to clients with the wish ``watch``."""


class BadLineError(Exception):
    """An invalid line from a client; the message is its reply.

    Attributes:
        id: of the command, where the line had one.
    """

    def __init__(self, message: str, id: int | None = None) -> None:
        super().__init__(message)
        self.id = id


_line_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_id_decoder = msgspec.json.Decoder(Annotated[int, msgspec.Meta(ge=0, le=2**53)])
_request_decoder = msgspec.json.Decoder(Subscribe | Claim)
_message_decoder = msgspec.json.Decoder(Hello | Reply | Role | HistoryRead)


def decode_request(line: bytes) -> tuple[Subscribe | Claim | AnyCommand, int | None]:
    """The request or command in a client's line, and its id.

    Raises:
        BadLineError: the line is neither a command nor a request.
    """
    id = None
    try:
        keys = decoded(_line_decoder, line)
        if "id" in keys:
            id = decoded(_id_decoder, keys["id"])
        if "request" in keys:
            return decoded(_request_decoder, line), id
        command = decode_command(line)
    except msgspec.DecodeError as error:
        raise BadLineError(f"neither a command nor a request: {error}", id) from None
    _refuse_odd_text(command, id)
    return command, id


def _refuse_odd_text(command: Command, id: int | None) -> None:
    """Refuse long or unprintable texts.

    Those of commands end in logs and on terminals.
    """
    for key, value in msgspec.structs.asdict(command).items():
        if isinstance(value, str) and not (value.isprintable() and len(value) <= _MAX_TEXT):
            raise BadLineError(f"{key}: expected at most {_MAX_TEXT} printable characters", id)


def decode_line(line: bytes) -> AnyEvent | Hello | Reply | Role | HistoryRead | None:
    """The message in a server's line; None for a later version's.

    Raises:
        msgspec.DecodeError: the line is no JSON object.
    """
    is_event = "event" in decoded(_line_decoder, line)
    try:
        return decode_event(line) if is_event else decoded(_message_decoder, line)
    except msgspec.ValidationError:
        return None
