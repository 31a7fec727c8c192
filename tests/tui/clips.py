"""Clips of a moving game, as an engine sends them."""

from __future__ import annotations

import numpy as np

from ppo_tui.pictures import PictureEncoder
from ppo_tui.protocol import GameClip, GameFrame, Gaze

NAMES = ("NOOP", "FIRE", "RIGHT", "LEFT")


def pong(t: int) -> np.ndarray:
    """A white ball on its way across a dark field, uint8 `[H, W, 3]`."""
    picture = np.full((210, 160, 3), 16, np.uint8)
    picture[:10] = 120
    row, column = 40 + 2 * t % 150, 20 + 3 * t % 120
    picture[row : row + 4, column : column + 4] = 240
    return picture


def clip(frames: int = 30, *, env: int = 0, first: int = 0, gaze: Gaze = Gaze.NONE, **fields) -> GameClip:
    encoder = PictureEncoder()
    return GameClip(
        env=env,
        step=1024,
        fps=15.0,
        height=210,
        width=160,
        channels=3,
        action_names=NAMES,
        gaze=gaze,
        gaze_height=3 * (gaze is not Gaze.NONE),
        gaze_width=2 * (gaze is not Gaze.NONE),
        **fields,
        frames=tuple(
            GameFrame(
                picture=encoder.encode(pong(first + t)),
                action=t % 4,
                probabilities=(0.1, 0.2, 0.3, 0.4),
                value=1.25,
                entropy=1.28,
                score=float(first + t),
                lives=5,
                t=first + t,
                advantage=0.125,
                gaze=bytes([0, 0, 0, 0, 255, 0]) if gaze is not Gaze.NONE else None,
            )
            for t in range(frames)
        ),
    )


def numbers_clip() -> GameClip:
    """Of an environment without pictures and with continuous actions."""
    return GameClip(
        env=0,
        step=0,
        fps=15.0,
        frames=tuple(
            GameFrame(
                observation=(0.5, -1.0, 0.0),
                action=(-1.5,),
                means=(-1.0,),
                stds=(0.5,),
                value=-3.0,
                entropy=0.72,
                score=-10.0,
            )
            for _ in range(5)
        ),
    )
