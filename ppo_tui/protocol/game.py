"""Clips of the game, for its watchers."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .base import Event, Whole
from .states import Gaze

Side = Annotated[int, msgspec.Meta(ge=0, le=8_192)]
"""A side of a picture; a larger one would take the memory of whoever shows it."""


class GameFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One environment before a step, and the policy's decision.

    Attributes:
        picture: difference from the picture of the frame before (see `ppo_tui.pictures`); None without pictures.
        observation: the observation as numbers, where the environment has no picture to show, or has few numbers; else
            empty.
        action: the chosen one: the number of a discrete action, or the components of one with several.
        probabilities: of each discrete action; empty for others.
        means, stds: of each component of a continuous action, in the units of the policy; empty for others.
        value: V of the state.
        entropy: of the action distribution, in nats.
        score: raw return of the episode before this step; None where the environment keeps none.
        lives: left; None in games without lives.
        t: steps of the episode before this one; None where the environment counts none.
        advantage: r + γ V(s′) − V(s) of the chosen action, over this single step; None where rewards are normalised.
        gaze: how strongly each part of the picture moves the output that the clip's `gaze` names, uint8 `[H, W]` by
            rows, 255 at the strongest; None without one.
        gradients: of that output with respect to each number of the observation, as the network reads it; empty for
            pictures.
    """

    picture: bytes | None = None
    observation: tuple[float | None, ...] = ()
    action: Whole | tuple[float | None, ...]
    probabilities: tuple[float | None, ...] = ()
    means: tuple[float | None, ...] = ()
    stds: tuple[float | None, ...] = ()
    value: float | None
    entropy: float | None
    score: float | None = None
    lives: Whole | None = None
    t: Whole | None = None
    advantage: float | None = None
    gaze: bytes | None = None
    gradients: tuple[float | None, ...] = ()


class GameClip(Event, frozen=True, kw_only=True, tag="game-clip"):
    """Transient: consecutive steps of one environment, recorded on request.

    It is published only while somebody watches (see `WatchGame`).

    The frames are consecutive: played at 15 a second they show the game at its own speed. They are recorded during
    rollouts, which are much faster, and last a few seconds: while they are played, the learner learns.

    Attributes:
        step: environment steps of the run when the recording began.
        height, width, channels: of the pictures; all 0 without pictures. One channel is grey, three are RGB.
        action_names: of the discrete actions; empty where the environment names none.
        gaze: the output that the frames' gaze belongs to.
        gaze_height, gaze_width: of the frames' `gaze`; 0 without one.
        follows: its first frame comes right after the last one of the clip before.
        scene: grows with each cut of what is played; a clip of a new scene takes the place of the one before at once.
    """

    env: Whole
    step: Whole
    fps: float
    height: Side = 0
    width: Side = 0
    channels: Side = 0
    action_names: tuple[str, ...] = ()
    gaze: Gaze = Gaze.NONE
    gaze_height: Side = 0
    gaze_width: Side = 0
    follows: bool = False
    scene: Whole = 0
    frames: tuple[GameFrame, ...]
