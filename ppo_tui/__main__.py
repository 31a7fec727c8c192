"""``python -m ppo_tui``, and the console script ``ppo-tui``."""

from __future__ import annotations

from .system.support import refuse_windows


def main() -> None:
    """Run the command line and exit with its code."""
    refuse_windows()
    try:
        from .boundary import guard_process, guarded, leave  # not above: worker processes import this module too

        def command() -> int:
            from .cli import run

            return run()

        guard_process()
        leave(guarded(command))
    except KeyboardInterrupt:  # while the boundary itself is loaded
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
