"""The question before a run goes back to an earlier checkpoint."""

from __future__ import annotations

import sys

from ..runs import RunDirectory
from ..runs.going_back import describe_way_back, point_of
from ..text import printable


def agreed(run_dir: RunDirectory, checkpoint: str, *, yes: bool) -> bool:
    """Ask before a run goes back; without a terminal, say so.

    Args:
        yes: the user has agreed already.

    Raises:
        UsageError: there is no such checkpoint, or it is damaged.
    """
    if run_dir.holder is not None:
        return True  # whoever resumes it refuses that in words
    if not (left := describe_way_back(point_of(run_dir, checkpoint))):
        return True
    name = printable(run_dir.name)
    if yes or not sys.stdin.isatty():
        print(f"{name} goes back: {left}", file=sys.stderr)
        return True
    print(f"Go back to checkpoint {printable(checkpoint)} of {name}? T{left[1:]}. [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print("nothing is changed", file=sys.stderr)
    return False
