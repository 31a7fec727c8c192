"""Events and commands as lines of JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from ..files import decoded
from ..text import escaped_json
from .base import Event
from .commands import AnyCommand, Command
from .events import AnyEvent

_encoder = msgspec.json.Encoder()
_event_decoder = msgspec.json.Decoder(AnyEvent)
_command_decoder = msgspec.json.Decoder(AnyCommand)


def encode(message: Event | Command) -> bytes:
    """Encode as one line of JSON, without its newline.

    NaN and infinities become null, as JSON has neither. What would steer a terminal is escaped, since these lines are
    printed too.
    """
    try:
        line = _encoder.encode(message)
    except UnicodeEncodeError:  # a lone surrogate, as of a file name that is not UTF-8
        line = _encoder.encode(_encodable(msgspec.to_builtins(message)))
    return line if line.isascii() and b"\x7f" not in line else escaped_json(line.decode()).encode()


def _encodable(value: Any) -> Any:
    """`value` of plain types without lone surrogates: no reader could decode them."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_encodable(key): _encodable(item) for key, item in value.items()}
        case list():
            return [_encodable(item) for item in value]
    return value


def decode_event(line: bytes | str) -> AnyEvent:
    """Decode an event from a line of `encode`.

    Raises:
        msgspec.ValidationError: the line is JSON but no event.
        msgspec.DecodeError: the line is no JSON.
    """
    return decoded(_event_decoder, line)


def decode_command(line: bytes | str) -> AnyCommand:
    """Decode a command from a line of `encode`.

    Raises as `decode_event` does.
    """
    return decoded(_command_decoder, line)
