"""The one door for files from outside: regular, bounded in everything."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .errors import UsageError
from .system.paths import SPECIAL

T = TypeVar("T")

MOST_KEYS = 32
"""Limit of the parts of a dotted key: Python's TOML parser takes time quadratic in them."""

MOST_LEVELS = 64
"""Limit of the tables and lists inside each other; whoever walks them may then recurse."""

MOST_LINE_BYTES = 2**24
"""Limit of a line of a record."""

_MOST_SKIPPED_BYTES = 2**28
"""Limit of a line that is left out; a file ends for its reader there."""

_MOST_BITS = 1_024
"""Limit of an integer; Python refuses to print one of more than 4,300 digits."""

_KEY_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![\w-]){_KEY_PART}(?:[ \t]*+\.[ \t]*+{_KEY_PART}){{{MOST_KEYS}}}", re.ASCII)


class RefusedFileError(UsageError):
    """A file of another kind, size or content than expected."""


def open_regular(path: Path | str, *, follow: bool = True) -> int:
    """Open a regular file for reading and return its descriptor.

    A FIFO or a device is refused, and never waited for.

    Args:
        follow: whether the last part of the path may be a symbolic link.

    Raises:
        RefusedFileError: it is no regular file, or the path contains a null byte.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except ValueError:
        raise RefusedFileError(f"{str(path)!r} is not a path: it contains a null byte") from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise RefusedFileError(f"{path} is {'a directory' if stat.S_ISDIR(mode) else 'not a regular file'}")


def read_file(path: Path | str, most_bytes: int) -> bytes:
    """Read a regular file whole.

    Raises:
        RefusedFileError: it is no regular file, or larger than `most_bytes`.
        OSError: it cannot be read.
    """
    content = b""
    with os.fdopen(open_regular(path), "rb") as file:
        too_large = os.fstat(file.fileno()).st_size > most_bytes
        if not too_large:
            content = file.read(most_bytes + 1)  # of a file that grows, or of one in /proc, without a size
    if too_large or len(content) > most_bytes:
        raise RefusedFileError(f"{path} is larger than {most_bytes:,} bytes, the limit for it")
    return content


def write_file(path: Path | str, content: bytes) -> None:
    """Write a file of the user's choice whole.

    A FIFO needs its reader already.

    Raises:
        RefusedFileError: the path contains a null byte.
        OSError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except ValueError:
        raise RefusedFileError(f"{str(path)!r} is not a path: it contains a null byte") from None
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def read_text(path: Path | str, most_bytes: int) -> str:
    """Read a regular text file whole, without a byte order mark.

    Raises:
        RefusedFileError: it is no regular file, larger than `most_bytes`, binary, or not UTF-8.
        OSError: it cannot be read.
    """
    return decode_text(read_file(path, most_bytes), path)


def decode_text(raw: bytes, path: Path | str) -> str:
    """Decode the content of a text file, without a byte order mark.

    Raises:
        RefusedFileError: it is binary, or not UTF-8.
    """
    if b"\0" in raw:
        raise RefusedFileError(f"{path} is a binary file", hint="a text file is expected")
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise RefusedFileError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not UTF-8", hint="save the file as UTF-8"
        ) from None


def read_lines(path: Path | str, *, follow: bool = True) -> Iterator[bytes]:
    """The lines of a large regular file; see `lines_of`.

    Args:
        follow: as for `open_regular`.

    Raises:
        RefusedFileError: it is no regular file.
        OSError: it cannot be read.
    """
    with os.fdopen(open_regular(path, follow=follow), "rb") as file:
        yield from lines_of(file)


def lines_of(file: BufferedReader | BufferedRandom) -> Iterator[bytes]:
    """The lines of an open file, without those above `MOST_LINE_BYTES`.

    The file ends for its reader where one has more than `_MOST_SKIPPED_BYTES`, as in a sparse file of any size.
    """
    skipped = 0
    while (line := file.readline(MOST_LINE_BYTES)) and skipped <= _MOST_SKIPPED_BYTES:
        ends = line.endswith(b"\n")
        if not skipped and (ends or len(line) < MOST_LINE_BYTES):
            yield line
        skipped = 0 if ends else skipped + len(line)


def parse_toml(text: str, source: Path | str) -> dict[str, Any]:
    """Parse TOML of any origin.

    Raises:
        RefusedFileError: it is not TOML, or has keys, tables, lists or integers beyond the limits.
    """
    if _LONG_KEY.search(text):
        raise RefusedFileError(f"{source}: a key has more than {MOST_KEYS} parts")
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise RefusedFileError(f"{source} is not valid TOML: nested too deeply") from None
    except ValueError as error:  # integers of thousands of digits too
        raise RefusedFileError(f"{source} is not valid TOML: {error}"[:1_000]) from None
    _check_values(tables, source)
    return tables


def _check_values(tables: dict[str, Any], source: Path | str) -> None:
    """Refuse deep nesting and endless integers, without recursion."""
    values: list[tuple[Any, int]] = [(tables, 0)]
    while values:
        value, level = values.pop()
        if level > MOST_LEVELS:
            raise RefusedFileError(f"{source} is nested too deeply: more than {MOST_LEVELS} levels")
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise RefusedFileError(f"{source}: an integer has more than {_MOST_BITS} bits")
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        values += [(item, level + 1) for item in inside]


def parse_json(content: bytes | str, source: Path | str) -> Any:
    """Parse JSON of any origin.

    Raises:
        RefusedFileError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise RefusedFileError(f"{source} is nested too deeply") from None
    except ValueError as error:  # also of text that is not UTF-8, and of integers of thousands of digits
        raise RefusedFileError(f"{source} is not valid JSON: {error}") from None


def decoded(decoder: msgspec.json.Decoder[T], line: bytes | str | msgspec.Raw) -> T:
    """Decode a line of a record or a connection of any origin.

    Raises:
        msgspec.ValidationError: it is JSON of another type.
        msgspec.DecodeError: it is no JSON, nested too deeply, or not UTF-8.
    """
    try:
        return decoder.decode(line)
    except (RecursionError, UnicodeDecodeError) as error:  # which msgspec lets through
        raise msgspec.DecodeError(str(error)) from None


def check_output(option: str, path: Path) -> None:
    """Refuse a file to write, before the work for it is done.

    A link is refused, as what it leads to may be another's; those of ``/dev``, such as ``/dev/stdout``, are followed.

    Args:
        option: of the command line.

    Raises:
        UsageError: there is no directory for it, or a link or a directory is in its place.
    """
    shown, here = f"{option} {str(path)!r}", path.absolute()
    try:
        if not here.parent.is_dir():
            raise UsageError(f"{shown}: there is no directory {here.parent}")
        facts = os.lstat(here)
        if stat.S_ISLNK(facts.st_mode) and not str(here).startswith(SPECIAL):
            raise UsageError(f"{shown}: it is a symbolic link", hint="name the file itself, or remove the link")
        if stat.S_ISDIR(facts.st_mode):
            raise UsageError(f"{shown}: it is a directory", hint="name a file in it")
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{shown[:300]} cannot be written: {reason}") from None
