"""Record pictures of one environment inside its worker, for clips."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from ..pictures import PictureEncoder

GAME_FPS = 15.0
"""Recorded frames per second of play: an Atari agent acts as often, other games run at up to 125 steps a second."""

MAX_HEIGHT, MAX_WIDTH = 210, 320
"""Larger pictures are shrunk: even a large terminal shows no more pixels."""

MAX_BYTES = 256 * 1024
"""Encoded pictures of one recording; a game whose picture changes all over gets a shorter one."""


@dataclass
class RecordedFrames:
    """F recorded frames, each taken before a step.

    Attributes:
        steps: which steps, counted from 0 since the last fetch (or the start).
        pictures: as a `PictureEncoder` gives them; empty where the environment renders none.
        shape: `[H, W, C]` of the pictures; None without any.
        scores: raw return so far; None where the environment keeps none.
        lives: None where the environment has none.
        times: the agent's steps of the episode so far; None where the environment counts none.
        full: the recording has reached its limit and takes no more frames.
    """

    steps: list[int] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)
    shape: tuple[int, int, int] | None = None
    scores: list[float | None] = field(default_factory=list)
    lives: list[int | None] = field(default_factory=list)
    times: list[int | None] = field(default_factory=list)
    full: bool = False


class ClipRecorder:
    """Records a frame of `env` before each step, at `GAME_FPS` at most.

    Most environments decide when they are made whether they can be rendered, and some of them (LunarLander) step more
    slowly from then on. As Gymnasium's environments look at their `render_mode` only when they draw, it is set when
    the recording starts and restored at the end: an unrecorded environment pays nothing. One that cannot render, or
    fails to, is recorded without pictures. Rendering takes no random numbers, so the run stays the same.

    Args:
        frames: the recording stops after so many.
        every: record only each so many-th frame of those.
        pictures: whether to render at all.
    """

    def __init__(self, env: gymnasium.Env, frames: int, every: int = 1, pictures: bool = True) -> None:
        self._env = env
        self._frames = frames
        self._mode_before = getattr(env.unwrapped, "render_mode", None)
        self._renders = pictures and "rgb_array" in (env.metadata.get("render_modes") or ())
        if self._renders:
            self._set_mode("rgb_array")
        self._stride = every * max(1, round((env.metadata.get("render_fps") or GAME_FPS) / GAME_FPS))
        self._encoder = PictureEncoder()
        self._taken = 0
        self._step = 0
        self._fetched_step = 0
        self._unfetched = RecordedFrames()

    @property
    def full(self) -> bool:
        return self._taken >= self._frames or self._encoder.nbytes >= MAX_BYTES

    def before_step(self) -> None:
        """Record a frame if one is due; call this before each step."""
        if self._step % self._stride == 0 and not self.full:
            if self._renders:
                self._record_picture()
            self._unfetched.steps.append(self._step - self._fetched_step)
            self._unfetched.scores.append(self._attribute("episode_return"))
            self._unfetched.lives.append(self._attribute("lives"))
            self._unfetched.times.append(self._attribute("episode_length"))
            self._taken += 1
        self._step += 1

    def fetch_recording(self) -> RecordedFrames:
        """The frames since the last call."""
        recorded, self._unfetched = self._unfetched, RecordedFrames()
        recorded.full = self.full
        self._fetched_step = self._step
        return recorded

    def close(self) -> None:
        self._set_mode(self._mode_before)

    def _set_mode(self, mode: str | None) -> None:
        with contextlib.suppress(AttributeError):  # some environments have it read-only
            self._env.unwrapped.render_mode = mode

    def _record_picture(self) -> None:
        """Render and encode a picture; after a failure, record no more pictures."""
        try:
            picture = fit_picture(self._env.render())
            encoded = self._encoder.encode(picture)
        except BaseException as error:  # whatever the environment's own rendering raises
            print(f"the game is shown without pictures: rendering failed ({type(error).__name__}: {error})")
            self._renders = False
            self._unfetched.pictures.clear()
            return
        height, width, channels = picture.shape
        self._unfetched.shape = height, width, channels
        self._unfetched.pictures.append(encoded)

    def _attribute(self, name: str) -> Any:
        with contextlib.suppress(AttributeError):
            return self._env.get_wrapper_attr(name)
        return None


def fit_picture(picture: Any) -> np.ndarray:
    """A picture as uint8 `[H, W, C]`, shrunk if too large.

    The factor is whole; the result is `MAX_HEIGHT` × `MAX_WIDTH` at most.

    Args:
        picture: uint8 `[H, W]` or `[H, W, C]` of 1 or 3 channels.

    Raises:
        ValueError: it is no such picture.
    """
    picture = np.asarray(picture)
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3) or not picture.size:
        raise ValueError(f"{picture.dtype} of shape {picture.shape} is no picture: expected uint8 [H, W, 1 or 3]")
    height, width, channels = picture.shape
    times = max(-(-height // MAX_HEIGHT), -(-width // MAX_WIDTH))
    if times == 1:
        return picture
    import cv2  # here, as the workers of most runs never need it

    cv2.setNumThreads(1)  # the workers share the cores among themselves
    size = max(1, width // times), max(1, height // times)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], channels)
