"""What a sweep is, kept in its directory: the same command goes on with it, another one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from ..errors import UsageError

MILESTONES = 20
"""Points of a run, evenly spaced over its steps, at which trials are compared with one another."""


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides what the runs of a sweep are.

    Attributes:
        preset: a name or a file.
        overrides: settings of all runs, as ``--set`` takes them.
        search: what the trials differ in, as ``--search`` takes it; empty for runs that differ in the seed alone.
        seeds: each trial is one run for each of them.
        metric: whose last value is a trial's score, the mean over its seeds; higher is better.
    """

    preset: str
    overrides: tuple[str, ...]
    search: tuple[str, ...]
    seeds: tuple[int, ...]
    metric: str

    def settle(self, directory: Path) -> None:
        """Write this into the directory of a new sweep, or see that it is what the directory's sweep is.

        Raises:
            UsageError: another sweep lives there, or the disk refuses.
        """
        path = directory / "sweep.json"
        ours = msgspec.to_builtins(self)
        try:
            if not path.exists():
                temporary = directory / ".sweep.json.tmp"
                temporary.write_text(json.dumps(ours, indent=1) + "\n", "utf-8")
                temporary.replace(path)
                return
            theirs = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read or written: {error}", hint="choose another --name") from None
        for key, value in ours.items():
            if not isinstance(theirs, dict) or _plain(theirs.get(key)) != _plain(value):
                before = theirs.get(key) if isinstance(theirs, dict) else theirs
                raise UsageError(
                    f"{directory} is another sweep: {key} is {_shown(before)} there, and {_shown(value)} here",
                    hint="use its own command to go on with it, or choose another --name",
                )


def read_seeds(text: str | None) -> tuple[int, ...]:
    """The seeds that ``--seeds`` names; none without it.

    Raises:
        UsageError: they are no whole numbers, or not different ones.
    """
    if text is None:
        return ()
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--seeds {text!r}: expected whole numbers with commas, such as 1,2,3") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UsageError(f"--seeds {text!r}: seeds are different numbers from 0 on")
    return seeds


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "nothing" if isinstance(value, list | tuple) else repr(value)
