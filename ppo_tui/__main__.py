"""``python -m ppo_tui``, and the console script ``ppo-tui``."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    from .boundary import guard_process, guarded, leave  # not above: worker processes import this module too

    def command() -> int:
        from .cli import run

        return run()

    guard_process()
    leave(guarded(command))


if __name__ == "__main__":
    main()
