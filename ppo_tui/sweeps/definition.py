"""The definition of a sweep, kept in its directory.

The same command continues the sweep there; another one is refused.
"""

from __future__ import annotations

import json

import msgspec

from ..directories import Directory
from ..errors import UsageError
from ..files import RefusedFileError, parse_json
from ..runs.entries import SWEEP_FILE

MILESTONES = 20
"""Points of a run, evenly spaced over its steps, for comparing trials."""


MOST_BYTES = 1_000_000
"""Limit of a sweep's ``sweep.json``."""

MOST_SEEDS = 1_000

LARGEST_SEED = 2**31 - 1
"""As of the setting run.seed."""


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """The decisive options of a sweep: preset, settings, search, seeds, metric.

    Attributes:
        preset: a name or a file.
        overrides: settings of all runs, as ``--set`` takes them.
        search: the search space, as ``--search`` takes it; empty for runs that differ in the seed alone.
        seeds: of each trial, one run each.
        metric: its last value, as the mean over the seeds, is the score of a trial; higher is better.
    """

    preset: str
    overrides: tuple[str, ...]
    search: tuple[str, ...]
    seeds: tuple[int, ...]
    metric: str

    def settle(self, directory: Directory) -> None:
        """Write this into a new directory, or compare it with the file.

        Raises:
            UsageError: another sweep is there, or its file cannot be read or written.
        """
        path = directory.path / SWEEP_FILE
        ours = msgspec.to_builtins(self)
        try:
            if directory.stat(SWEEP_FILE) is None:
                directory.write(SWEEP_FILE, (json.dumps(ours, indent=1) + "\n").encode())
                return
            theirs = parse_json(directory.read(SWEEP_FILE, MOST_BYTES), path)
        except (OSError, RefusedFileError) as error:
            raise UsageError(f"{path} cannot be read or written: {error}", hint="choose another --name") from None
        for key, value in ours.items():
            if not isinstance(theirs, dict) or _plain(theirs.get(key)) != _plain(value):
                before = theirs.get(key) if isinstance(theirs, dict) else theirs
                raise UsageError(
                    f"{directory.path} holds another sweep: {key} is {_shown(before)} there, and {_shown(value)} here",
                    hint="repeat its command to continue it, or choose another --name",
                )


def read_seeds(text: str | None) -> tuple[int, ...]:
    """Read ``--seeds``; without it there are none.

    Raises:
        UsageError: they are not whole numbers, or not different ones.
    """
    if text is None:
        return ()
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--seeds {text[:80]!r}: expected whole numbers with commas, such as 1,2,3") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UsageError(f"--seeds {text[:80]!r}: expected different numbers from 0 on")
    if max(seeds) > LARGEST_SEED or len(seeds) > MOST_SEEDS:
        raise UsageError(f"--seeds {text[:80]!r}: expected at most {MOST_SEEDS:,} numbers, up to {LARGEST_SEED}")
    return seeds


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "nothing" if isinstance(value, list | tuple) else repr(value)
