"""The settings of what is played."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .section import Section

_ATARI_IDS = (re.compile(r"ALE/\w+-v5"), re.compile(r"\w+NoFrameskip-v[04]"))


def is_atari(env_id: str) -> bool:
    """Whether this id is one of the Atari pipeline, which drives the emulator itself."""
    return any(pattern.fullmatch(env_id) for pattern in _ATARI_IDS)


class AtariConfig(Section, frozen=True, kw_only=True):
    """Preprocessing of an Atari game, as in the Nature DQN (Mnih et al., 2015) and PPO's baselines."""

    frame_skip: Annotated[int, Meta(ge=1, le=60, description="Emulator frames that each action is repeated for.")] = 4
    noop_max: Annotated[
        int,
        Meta(ge=0, le=1000, description="A new game starts with 1 to this many no-op frames; 0 for none."),
    ] = 30
    life_loss: Annotated[
        Literal["terminal", "reset", "none"],
        Meta(
            description="What a lost life is: the end of the learner's episode while the game goes on (terminal), "
            "the start of a new game (reset), or nothing (none)."
        ),
    ] = "terminal"
    fire_reset: Annotated[
        bool,
        Meta(description="Press FIRE after a reset and after each lost life, in games that wait for it."),
    ] = True
    clip_reward: Annotated[
        bool, Meta(description="Train on the sign of the reward; the reported return is always the raw one.")
    ] = True
    sticky_actions: Annotated[
        float,
        Meta(ge=0, le=1, description="Probability, per frame, that the emulator repeats the previous action."),
    ] = 0.0
    screen_size: Annotated[
        int, Meta(ge=36, le=210, description="Width and height of the grey frame that the network sees.")
    ] = 84
    max_frames: Annotated[
        int,
        Meta(ge=1, description="Emulator frames after which a game is truncated (108,000 are 30 minutes)."),
    ] = 108_000
    full_action_space: Annotated[
        bool, Meta(description="Offer all 18 joystick actions instead of the game's own minimal set.")
    ] = False


class EnvConfig(Section, frozen=True, kw_only=True):
    """What is played."""

    id: Annotated[str, Meta(min_length=1, max_length=200, description="Gymnasium id, such as ALE/Breakout-v5.")]
    frame_stack: Annotated[int, Meta(ge=1, le=32, description="Newest observations that the network sees at once.")] = 1
    hide: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...],
        Meta(
            max_length=4096,
            description="Indices of the numbers of an observation vector that the policy is not shown, such as the "
            "velocities.",
        ),
    ] = ()
    action_masks: Annotated[
        bool | Literal["auto"],
        Meta(
            description="Never take actions that the environment masks, by info['action_mask'] or a method "
            "action_masks(); auto does so where it has masks."
        ),
    ] = "auto"
    on_bad_value: Annotated[
        Literal["drop", "stop"],
        Meta(
            description="An observation or reward that is NaN, infinite or of a wrong shape drops its episode, or "
            "stops the run."
        ),
    ] = "drop"
    kwargs: Annotated[
        dict[str, Any], Meta(description="Keyword arguments for gymnasium.make, such as continuous = true.")
    ] = msgspec.field(default_factory=dict)
    atari: AtariConfig | None = None
