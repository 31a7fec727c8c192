"""Filming one environment from inside its worker, for whoever watches the training."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from ..pictures import PictureEncoder

GAME_FPS = 15.0
"""Frames filmed of a second of the game: an Atari agent acts as often, other games run at up to 125 steps a second."""

MAX_HEIGHT, MAX_WIDTH = 210, 320
"""Larger pictures are shrunk: even a large terminal shows no more pixels."""

MAX_BYTES = 256 * 1024
"""Encoded pictures of one film; a game whose picture changes all over gets a shorter film."""


class RecordedFrames(NamedTuple):
    """F frames, each taken before a step.

    Attributes:
        steps: which steps, counted from 0 since the strip before (or the start).
        pictures: as a `PictureEncoder` gives them; empty where the environment shows none.
        shape: `[H, W, C]` of the pictures.
        scores: raw return so far; None where the environment keeps none.
        lives: None where the environment has none.
        full: the camera has stopped by itself.
    """

    steps: list[int]
    pictures: list[bytes]
    shape: tuple[int, int, int] | None
    scores: list[float | None]
    lives: list[int | None]
    full: bool


class ClipRecorder:
    """Takes a frame of `env` before each step, or before every few in games that run faster than `GAME_FPS`.

    Most environments decide when they are made whether they can be rendered, and some of them (LunarLander) step more
    slowly from then on. As Gymnasium's environments look at their `render_mode` only when they draw, it is set when
    filming begins and taken back at the end: who is not filmed pays nothing. An environment that cannot draw, or
    fails to, is filmed without pictures. Drawing takes no random numbers, so the run stays the same.

    Args:
        frames: after so many the camera stops.
    """

    def __init__(self, env: gymnasium.Env, frames: int) -> None:
        self._env = env
        self._frames = frames
        self._mode_before = getattr(env.unwrapped, "render_mode", None)
        self._draws = "rgb_array" in (env.metadata.get("render_modes") or ())
        if self._draws:
            self._set_mode("rgb_array")
        self._stride = max(1, round((env.metadata.get("render_fps") or GAME_FPS) / GAME_FPS))
        self._encoder = PictureEncoder()
        self._shape: tuple[int, int, int] | None = None
        self._taken = 0
        self._step = 0
        self._begun_at = 0
        self._reels()

    def _reels(self) -> None:
        self._steps: list[int] = []
        self._pictures: list[bytes] = []
        self._scores: list[float | None] = []
        self._lives: list[int | None] = []

    @property
    def full(self) -> bool:
        return self._taken >= self._frames or self._encoder.nbytes >= MAX_BYTES

    def shoot(self) -> None:
        """Called before each step; takes a frame if one is due."""
        if self._step % self._stride == 0 and not self.full:
            if self._draws:
                self._draw()
            self._steps.append(self._step - self._begun_at)
            self._scores.append(self._attribute("episode_return"))
            self._lives.append(self._attribute("lives"))
            self._taken += 1
        self._step += 1

    def fetch_recording(self) -> RecordedFrames:
        """The frames since the last call."""
        strip = RecordedFrames(self._steps, self._pictures, self._shape, self._scores, self._lives, self.full)
        self._begun_at = self._step
        self._reels()
        return strip

    def close(self) -> None:
        self._set_mode(self._mode_before)

    def _set_mode(self, mode: str | None) -> None:
        with contextlib.suppress(AttributeError):  # of an environment that keeps its mode to itself
            self._env.unwrapped.render_mode = mode

    def _draw(self) -> None:
        """Take a picture; an environment that cannot is not asked again."""
        try:
            picture = fit_picture(self._env.render())
            encoded = self._encoder.encode(picture)
        except Exception as error:  # whatever someone else's drawing raises
            print(f"the game is shown without pictures: rendering failed ({type(error).__name__}: {error})")
            self._draws = False
            self._pictures = []
            self._shape = None
            return
        self._shape = picture.shape
        self._pictures.append(encoded)

    def _attribute(self, name: str) -> Any:
        with contextlib.suppress(AttributeError):
            return self._env.get_wrapper_attr(name)
        return None


def fit_picture(picture: Any) -> np.ndarray:
    """A picture as uint8 `[H, W, C]` of at most `MAX_HEIGHT` × `MAX_WIDTH`, shrunk by a whole number of times.

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
