"""Watch an environment: request clips and play them frame by frame."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from ..pictures import PictureDecoder
from ..protocol import WATCH_SECONDS, GameClip, GameFrame, Gaze, WatchGame
from .session import Session

DEFAULT_FPS, REMOTE_FPS = 10.0, 4.0
"""Frames a second on a terminal of this machine, and on one behind an ssh connection.

Each takes a core from the training for a moment.
"""

RENEW_SECONDS = WATCH_SECONDS / 3
"""Time after which a wish to watch is repeated, well before the engine forgets it."""

_MOST_VALUES = 10_000
"""Values of an episode that are kept, for its curve."""

HASTY_TICKS = 4
"""Ticks for a clip that is played as fast as it goes."""


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
        env: the environment to begin with.
        pinned: keep to that one, even where the others who watch choose.

    Attributes:
        env: which environment is watched.
        gaze: the output whose gradient is shown.
        beside: further environments that are watched.
        pace: frames of a clip in one tick of the screen; infinite: a clip in a few ticks.
        held: stand still.
        clip: the one that is playing, or None before the first.
        frame: the present one, or None.
        picture: the same as uint8 `[H, W, C]`, or None where there are no pictures.
        changed_rows: bool `[H]`, the rows of `picture` that differ from the frame before; None where all may.
        values: V of the states of this episode, as far as they were shown without a gap.
    """

    def __init__(
        self, session: Session, clock: Callable[[], float], fps: float, env: int = 0, *, pinned: bool = False
    ) -> None:
        self._session = session
        self._clock = clock
        self._pinned = pinned
        self.fps = fps
        self.env = env
        self.gaze = Gaze.NONE
        self.beside: tuple[int, ...] = ()
        self.pace = 1.0
        self.held = False
        self.clip: GameClip | None = None
        self.frame: GameFrame | None = None
        self.picture: np.ndarray | None = None
        self.changed_rows: np.ndarray | None = None
        self.values: deque[float] = deque(maxlen=_MOST_VALUES)
        self._next: GameClip | None = None
        self._position = 0
        self._owed = 0.0
        self._last_t: int | None = None
        self._decoder = PictureDecoder(0, 0, 1)
        self._asked: tuple[WatchGame | None, float] = (None, float("-inf"))

    # ── Requests to the engine ──────────────────────────────────────────────────────────────────────────────

    def attend(self, looking: bool) -> None:
        """Tell the engine whether anybody watches.

        It hears of each change, and repeatedly while somebody watches. A session that only watches tells nothing.
        """
        if self._session.only_watches:
            return
        fps = self.fps or DEFAULT_FPS
        if looking and self.fps > 0:
            wish = WatchGame(env=self.env, fps=fps, gaze=self.gaze, beside=self.beside)
        else:
            wish = WatchGame(env=None, fps=fps)
        asked, at = self._asked
        if asked is None and wish.env is None:
            return
        if wish != asked or (wish.env is not None and self._clock() - at >= RENEW_SECONDS):
            self._asked = wish, self._clock()
            self._session.send(wish)

    def choose(self, direction: int, num_envs: int) -> None:
        """Watch the next or the previous environment, given a choice."""
        if not self._session.only_watches:
            self.env = (self.env + direction) % max(1, num_envs)

    def choose_gaze(self) -> None:
        """Show the gradient of the next output: none, the action, the value."""
        kinds = list(Gaze)
        self.gaze = kinds[(kinds.index(self.gaze) + 1) % len(kinds)]

    # ── Playing ─────────────────────────────────────────────────────────────────────────────────────────────

    def offer(self, clip: GameClip) -> None:
        """Take a clip, to be played after the present one.

        It begins at once where the present one shows another environment, another scene or another gaze. A session that
        only watches shows whatever environment the others watch.
        """
        if self._session.only_watches and not self._pinned:
            self.env = clip.env
        if clip.env != self.env or not clip.frames:
            return
        self._next = clip
        if self.clip is not None and _look(self.clip) != _look(clip):
            self._position = len(self.clip.frames)

    def advance(self) -> bool:
        """Go on by a tick of the screen.

        Returns False where there is no other frame to show; the last one then stays.
        """
        if self.held:
            return False
        self._owed += self._frames_in_a_tick()
        due, changed, moved = int(self._owed), None, False
        self._owed -= due
        for _ in range(due):
            if not self._step():
                break
            rows = self.changed_rows
            changed = rows if not moved else None if rows is None or changed is None else changed | rows
            moved = True
        if moved:
            self.changed_rows = changed
        return moved

    def _frames_in_a_tick(self) -> float:
        if math.isfinite(self.pace):
            return self.pace
        clip = self.clip if self.clip and self._position < len(self.clip.frames) else self._next
        return math.ceil(len(clip.frames) / HASTY_TICKS) if clip else 1.0

    def _step(self) -> bool:
        """Go on to the next frame, if there is one."""
        clip = self.clip
        if clip is None or self._position >= len(clip.frames):
            if self._next is None:
                return False
            clip, self._next = self._next, None
            self._begin(clip)
        frame = self.frame = clip.frames[self._position]
        self._position += 1
        self._keep_value(frame)
        if frame.picture is None:
            self.picture = self.changed_rows = None
            return True
        try:
            changed = self._decoder.decode(frame.picture)
        except ValueError:  # a clip of another version, or damaged on its way: wait for the next one
            self._position = len(clip.frames)
            return False
        self.changed_rows = None if self._position == 1 else changed
        self.picture = self._decoder.picture
        return True

    def _keep_value(self, frame: GameFrame) -> None:
        if self._last_t is not None and (frame.t is None or frame.t <= self._last_t):
            self.values.clear()
        self._last_t = frame.t
        if frame.value is not None:
            self.values.append(frame.value)

    def _begin(self, clip: GameClip) -> None:
        if not clip.follows:
            self.values.clear()
        self.clip, self._position = clip, 0
        self._decoder = PictureDecoder(clip.height, clip.width, clip.channels)

    @property
    def gaze_map(self) -> np.ndarray | None:
        """The gaze of the present frame, uint8 `[H, W]`, or None."""
        clip, frame = self.clip, self.frame
        if clip is None or frame is None or not frame.gaze or len(frame.gaze) != clip.gaze_height * clip.gaze_width:
            return None
        return np.frombuffer(frame.gaze, np.uint8).reshape(clip.gaze_height, clip.gaze_width)


def _look(clip: GameClip) -> tuple[int, int, Gaze]:
    """A clip of another look is shown at once."""
    return clip.env, clip.scene, clip.gaze
