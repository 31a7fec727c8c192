"""A trained policy at play in a background thread of this process."""

from __future__ import annotations

from .local import LocalSession


class WatchSession(LocalSession):
    """There is nothing to steer, and nothing is lost when the screen is left."""

    owns_run = False
    can_steer = False
    opens_game = True
    status = "watching"
