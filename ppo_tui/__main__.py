"""``python -m ppo_tui``, and the console script ``ppo-tui``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Imported here, and not above, because worker processes import this module too."""
    from .cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
