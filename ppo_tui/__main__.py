"""``python -m ppo_tui``, and the console script ``ppo-tui``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Imported here, and not above, because worker processes import this module too."""
    from .cli import run

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a locale without – and → gets ? for them, never an error
            stream.reconfigure(errors="replace")
    sys.exit(run())


if __name__ == "__main__":
    main()
