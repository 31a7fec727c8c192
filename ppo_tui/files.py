"""The one door for files from outside: regular, of bounded size."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from .errors import UsageError


class RefusedFileError(UsageError):
    """A file of another kind, size or content than expected."""


def open_regular(path: Path | str, *, dir_fd: int | None = None, follow: bool = True) -> int:
    """Open a regular file for reading and return its descriptor.

    A FIFO or a device is refused, and never waited for.

    Args:
        path: of the file; relative to `dir_fd` where that is given.
        dir_fd: descriptor of an open directory.
        follow: whether the last part of the path may be a symbolic link.

    Raises:
        RefusedFileError: it is no regular file.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise RefusedFileError(f"{path} is not a regular file")


def read_file(path: Path | str, most_bytes: int, *, dir_fd: int | None = None, follow: bool = True) -> bytes:
    """Read a regular file whole; arguments as for `open_regular`.

    Raises:
        RefusedFileError: it is no regular file, or larger than `most_bytes`.
        OSError: it cannot be read.
    """
    with os.fdopen(open_regular(path, dir_fd=dir_fd, follow=follow), "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise RefusedFileError(f"{path} is larger than {most_bytes:,} bytes, the limit for it")
    return content


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
