"""``python -m ppo_tui``, and the console script ``ppo-tui``."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from .cli import run  # not above: worker processes import this module too

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without – and → prints ? for them
            stream.reconfigure(errors="replace")
    sys.exit(run())


if __name__ == "__main__":
    main()
