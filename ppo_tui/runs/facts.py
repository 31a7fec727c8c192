"""The facts in ``run.json``, each of its type or left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..directories import Directory
from ..files import RefusedFileError, parse_json
from ..text import printable

JSON_FILE = "run.json"

MAX_JSON_BYTES = 1_000_000

_LATEST_TIME = 2.0**33
"""Times are between 1970 and 2242."""

_LARGEST = 2**53

_LONGEST_WORD = 1_000
"""Characters of a text that lists show."""

_LONGEST_NAME = 255
"""Bytes of a file name, and so of a run's name."""


class Facts(NamedTuple):
    """The contents of ``run.json``.

    Attributes:
        values: by key; those of a wrong type or range are left out.
        problem: what is wrong with the file, in words; None for a whole one.
    """

    values: dict[str, Any]
    problem: str | None = None


def read_facts(directory: Directory) -> Facts:
    """Read ``run.json``, whatever became of it."""
    try:
        content = parse_json(directory.read(JSON_FILE, MAX_JSON_BYTES), JSON_FILE)
    except RefusedFileError as error:
        return Facts({}, error.message)
    except FileNotFoundError:
        return Facts({}, f"{JSON_FILE} is missing")
    except OSError as error:
        return Facts({}, f"{JSON_FILE} cannot be read: {error.strerror}")
    if not isinstance(content, dict):
        return Facts({}, f"{JSON_FILE} holds no table")
    wrong = [key for key, value in content.items() if not _is_right(key, value)]
    problem = f"{JSON_FILE}: {printable(wrong[0])} is of a wrong type or range" if wrong else None
    return Facts({key: value for key, value in content.items() if key not in wrong}, problem)


def _is_right(key: str, value: object) -> bool:
    return value is None or key not in _RULES or _RULES[key](value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_short(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_WORD


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value.encode("utf-8", "replace")) <= _LONGEST_NAME


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _is_time(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (0 <= value <= _LATEST_TIME and math.isfinite(value))
    )


def _is_table_of_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_RULES: dict[str, Callable[[object], bool]] = {
    "name": _is_name,
    "preset": _is_name,
    "env": _is_short,
    "status": _is_short,
    "reason": _is_text,
    "stopped_by": _is_text,
    "device": _is_short,
    "git": _is_text,
    "init_from": _is_text,
    "init_from_sha256": _is_text,
    "job": _is_text,
    "socket": _is_text,
    "config_sha256": _is_text,
    "mlflow_run": _is_text,
    "pid": _is_count,
    "seed": _is_integer,
    "step": _is_count,
    "update": _is_count,
    "total_steps": _is_count,
    "exit_code": _is_integer,
    "started": _is_time,
    "resumed": _is_time,
    "ended": _is_time,
    "versions": _is_table_of_texts,
}
