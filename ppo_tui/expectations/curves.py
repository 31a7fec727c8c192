"""Files of measured curves: CSV below a head of facts.

::

    # seeds: 3
    # machine: …
    # milestones: 100, 200, 400, 475
    steps,mean,low,high,seconds
    256,16.5,15.2,17.8,0.31
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from ..config.presets import presets_dir
from ..files import RefusedFileError, read_text
from .reference import MOST_ROWS, PRESET_NAME, Reference

MAX_CURVE_BYTES = 64_000

FACTS = ("seeds", "machine", "date", "version", "command", "milestones")
COLUMNS = ("steps", "mean", "low", "high", "seconds")

_NAME = re.compile(PRESET_NAME)
_NUMBER = re.compile(r"-?\d{1,16}(\.\d{1,20})?([eE][+-]?\d{1,3})?", re.ASCII)
_REMEDY = "write it anew from finished runs: python docs/write_curve.py --help"


def curve_path(preset: str) -> Path:
    """The curve of a shipped preset, whether there is one or not."""
    return presets_dir() / "curves" / f"{preset}.csv"


def read_curve(preset: str) -> Reference | None:
    """The measured curve of a shipped preset; None without one.

    Args:
        preset: a name of any origin.

    Raises:
        RefusedFileError: the file is damaged; the message names the line.
        OSError: it cannot be read.
    """
    if not _NAME.fullmatch(preset) or not (presets_dir() / f"{preset}.toml").is_file():
        return None
    path = curve_path(preset)
    try:
        text = read_text(path, MAX_CURVE_BYTES)
    except FileNotFoundError:
        return None
    return parse_curve(text, preset, path)


def parse_curve(text: str, preset: str, source: Path | str) -> Reference:
    """The curve of a preset, from the text of its file.

    Raises:
        RefusedFileError: a fact is missing or repeated, a cell is no number, or the numbers make no curve.
    """
    facts: dict[str, str] = {}
    rows: list[list[float]] = []
    titled = False
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"{source}, line {number}"
        if not titled and line.startswith("#"):
            key, _, value = line[1:].partition(":")
            if (key := key.strip()) not in FACTS or key in facts:
                raise _refused(f"{place}: {key[:40]!r} is unknown or repeated; the facts are {', '.join(FACTS)}")
            facts[key] = value.strip()
        elif not titled:
            if line != ",".join(COLUMNS):
                raise _refused(f"{place}: the columns must be {','.join(COLUMNS)}")
            titled = True
        elif len(rows) == MOST_ROWS:
            raise _refused(f"{place}: more than {MOST_ROWS} rows")
        else:
            cells = line.split(",")
            if len(cells) != len(COLUMNS):
                raise _refused(f"{place}: {len(cells)} cells, {len(COLUMNS)} are needed")
            rows.append([_number(cell, place) for cell in cells])
    if missing := [fact for fact in FACTS if fact not in facts]:
        raise _refused(f"{source}: no {', '.join(missing)} in its head")
    milestones = [_number(cell.strip(), f"{source}, milestones") for cell in facts["milestones"].split(",")]
    values = {
        **facts,
        "preset": preset,
        "seeds": int(_number(facts["seeds"], f"{source}, seeds")),
        "milestones": milestones,
        **dict(zip(COLUMNS, zip(*rows, strict=True), strict=False)),
    }
    try:
        return msgspec.convert(values, Reference)
    except msgspec.ValidationError as error:
        raise _refused(f"{source}: {error}") from None


def format_curve(reference: Reference) -> str:
    """The text of the file of a curve."""
    facts = {key: getattr(reference, key) for key in FACTS}
    facts["milestones"] = ", ".join(map(_written, reference.milestones))
    head = [f"# {key}: {value}" for key, value in facts.items()]
    rows = zip(*(getattr(reference, column) for column in COLUMNS), strict=True)
    return "\n".join([*head, ",".join(COLUMNS), *(",".join(map(_written, row)) for row in rows), ""])


def _written(value: float) -> str:
    """A number without needless digits."""
    return str(int(value)) if value.is_integer() else repr(value)


def _number(cell: str, place: str) -> float:
    if not _NUMBER.fullmatch(cell):
        raise _refused(f"{place}: {cell[:40]!r} is not a number")
    return float(cell)


def _refused(message: str) -> RefusedFileError:
    return RefusedFileError(message, hint=_REMEDY)
