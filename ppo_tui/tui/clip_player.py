"""Watch an environment: request clips and play them at its own speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..pictures import PictureDecoder
from ..protocol import WATCH_SECONDS, GameClip, GameFrame, WatchGame
from .session import Session

DEFAULT_FPS, REMOTE_FPS = 15.0, 4.0
"""Frames a second on a terminal of this machine, and on one behind an ssh connection."""

_RENEW_SECONDS = WATCH_SECONDS / 3


def default_fps(environment: Mapping[str, str]) -> float:
    """Frames per second for this terminal's connection.

    An ssh connection, known by its environment variable, gets fewer.
    """
    return REMOTE_FPS if environment.get("SSH_CONNECTION") else DEFAULT_FPS


class ClipPlayer:
    """The state of watching, without a widget.

    Args:
        clock: seconds, monotonic.
        fps: frames a second; 0 never watches.

    Attributes:
        env: which environment is watched.
        clip: the one that is playing, or None before the first.
        frame: the present one, or None.
        picture: the same as uint8 `[H, W, C]`, or None where there are no pictures.
        changed_rows: bool `[H]`, the rows of `picture` that differ from the frame before; None where all may.
    """

    def __init__(self, session: Session, clock: Callable[[], float], fps: float) -> None:
        self._session = session
        self._clock = clock
        self.fps = fps
        self.env = 0
        self.clip: GameClip | None = None
        self.frame: GameFrame | None = None
        self.picture: np.ndarray | None = None
        self.changed_rows: np.ndarray | None = None
        self._next: GameClip | None = None
        self._position = 0
        self._decoder = PictureDecoder(0, 0, 1)
        self._asked: tuple[int | None, float] = (None, float("-inf"))

    # ── Requests to the engine ──────────────────────────────────────────────────────────────────────────────

    def attend(self, looking: bool) -> None:
        """Tell the engine whether anybody watches.

        It hears of each change, and repeatedly while somebody watches. A session that only watches tells nothing.
        """
        if self._session.only_watches:
            return
        env = self.env if looking and self.fps > 0 else None
        asked, at = self._asked
        if env != asked or (env is not None and self._clock() - at >= _RENEW_SECONDS):
            self._asked = env, self._clock()
            self._session.send(WatchGame(env=env, fps=self.fps or DEFAULT_FPS))

    def choose(self, direction: int, num_envs: int) -> None:
        """Watch the next or the previous environment, given a choice."""
        if not self._session.only_watches:
            self.env = (self.env + direction) % max(1, num_envs)

    # ── Playing ─────────────────────────────────────────────────────────────────────────────────────────────

    def offer(self, clip: GameClip) -> None:
        """Take a clip, to be played after the present one.

        It begins at once where the present one shows another environment. A session that only watches shows whatever
        environment the others watch.
        """
        if self._session.only_watches:
            self.env = clip.env
        if clip.env != self.env or not clip.frames:
            return
        self._next = clip
        if self.clip is not None and self.clip.env != clip.env:
            self._position = len(self.clip.frames)

    def advance(self) -> bool:
        """Go on to the next frame.

        Returns False where there is none yet; the last one then stays.
        """
        clip = self.clip
        if clip is None or self._position >= len(clip.frames):
            if self._next is None:
                return False
            clip, self._next = self._next, None
            self._begin(clip)
        self.frame = clip.frames[self._position]
        self._position += 1
        if self.frame.picture is None:
            self.picture = self.changed_rows = None
            return True
        try:
            changed = self._decoder.decode(self.frame.picture)
        except ValueError:  # a clip of another version, or damaged on its way: wait for the next one
            self._position = len(clip.frames)
            return False
        self.changed_rows = None if self._position == 1 else changed
        self.picture = self._decoder.picture
        return True

    def _begin(self, clip: GameClip) -> None:
        self.clip, self._position = clip, 0
        self._decoder = PictureDecoder(clip.height, clip.width, clip.channels)
