"""Settings of collecting: environments, workers and rollouts."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .declaring import Outside, Section, setting

_ATARI_IDS = (re.compile(r"ALE/\w+-v5"), re.compile(r"\w+NoFrameskip-v[04]"))


def is_atari(env_id: str) -> bool:
    """Whether this id belongs to the Atari pipeline on the emulator itself."""
    return any(pattern.fullmatch(env_id) for pattern in _ATARI_IDS)


class AtariConfig(Section, frozen=True, kw_only=True):
    """Preprocessing of Atari.

    It follows the Nature DQN (Mnih et al., 2015) and PPO's baselines.
    """

    frame_skip: Annotated[
        int, setting("Emulator frames that each action is repeated for.", on_resume="inexact", ge=1, le=60)
    ] = 4
    noop_max: Annotated[
        int,
        setting("A new game starts with 1 to this many NOOP frames; 0 for none.", on_resume="inexact", ge=0, le=1000),
    ] = 30
    life_loss: Annotated[
        Literal["terminal", "reset", "none"],
        setting(
            "What a lost life does: end the learner's episode while the game continues (terminal), start a new game "
            "(reset), or nothing (none).",
            on_resume="inexact",
        ),
    ] = "terminal"
    fire_reset: Annotated[
        bool,
        setting("Press FIRE after a reset and after each lost life, in games that wait for it.", on_resume="inexact"),
    ] = True
    fire_then_second: Annotated[
        bool,
        setting(
            "After that FIRE, also take the game's action number 2, as Stable-Baselines3 and baselines do.",
            on_resume="inexact",
        ),
    ] = False
    clip_reward: Annotated[
        bool,
        setting("Train on the sign of the reward; the reported return stays raw.", on_resume="inexact"),
    ] = True
    sticky_actions: Annotated[
        float,
        setting(
            "Probability, per frame, that the emulator repeats the previous action.", on_resume="inexact", ge=0, le=1
        ),
    ] = 0.0
    screen_size: Annotated[
        int, setting("Width and height of the grey frame that the network sees.", on_resume="fixed", ge=36, le=210)
    ] = 84
    max_frames: Annotated[
        int,
        setting(
            "Emulator frames after which a game is truncated (108,000 are 30 minutes).",
            on_resume="inexact",
            ge=1,
            le=10**9,
        ),
    ] = 108_000
    full_action_space: Annotated[
        bool, setting("Offer all 18 joystick actions instead of the game's own minimal set.", on_resume="fixed")
    ] = False


class EnvConfig(Section, frozen=True, kw_only=True):
    """The environment and its preprocessing."""

    id: Annotated[
        str,
        setting(
            "Gymnasium id, such as ALE/Breakout-v5.",
            on_resume="fixed",
            outside=Outside(party="code", pattern=":"),
            min_length=1,
            max_length=200,
        ),
    ]
    frame_stack: Annotated[
        int, setting("Newest observations that the network sees together.", on_resume="fixed", ge=1, le=32)
    ] = 1
    hide: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=2**31 - 1)], ...],
        setting(
            "Indices of numbers in an observation vector to hide from the policy, such as velocities.",
            on_resume="fixed",
            max_length=4096,
        ),
    ] = ()
    action_masks: Annotated[
        bool | Literal["auto", "info"],
        setting(
            "Never take actions that the environment masks by info['action_mask'], a method action_masks() or an entry "
            "'action_mask' of Dict observations; auto: where it has masks; info: not by the observations.",
            on_resume="fixed",
        ),
    ] = "auto"
    on_bad_value: Annotated[
        Literal["drop", "stop"],
        setting(
            "An observation or reward that is NaN, infinite, of a wrong shape or not of its type drops its episode, or "
            "stops the run.",
            on_resume="harmless",
        ),
    ] = "drop"
    kwargs: Annotated[
        dict[str, Any],
        setting(
            "Keyword arguments for gymnasium.make, such as continuous = true.", on_resume="inexact", max_length=1000
        ),
    ] = msgspec.field(default_factory=dict)
    atari: AtariConfig | None = None


class WorkersConfig(Section, frozen=True, kw_only=True):
    """The worker processes of the environments."""

    count: Annotated[
        Annotated[int, Meta(le=4096)] | Literal["auto"],
        setting("Worker processes; auto fits the machine's cores and the environments.", on_resume="harmless"),
    ] = "auto"
    groups: Annotated[
        Literal["auto", 1, 2],
        setting(
            "Worker groups; with 2, one half of the workers steps while actions for the other half are computed. "
            "auto: 2 wherever there are two workers.",
            on_resume="harmless",
        ),
    ] = "auto"
    step_timeout: Annotated[
        float,
        setting("Seconds without a reply until a worker counts as hung.", on_resume="harmless", gt=0, le=86_400),
    ] = 10.0
    max_restarts: Annotated[
        int,
        setting(
            "Replacements of failed workers without a whole rollout between; 0: a failure ends the run.",
            on_resume="harmless",
            ge=0,
            le=1000,
        ),
    ] = 5
    start_timeout: Annotated[
        float, setting("Seconds for a worker to start.", on_resume="harmless", gt=0, le=86_400)
    ] = 120.0


class RolloutConfig(Section, frozen=True, kw_only=True):
    """The experience of each update."""

    num_envs: Annotated[int, setting("Environments stepped side by side (N).", on_resume="fixed", ge=1, le=65_536)] = 8
    steps: Annotated[
        int, setting("Steps of each environment in a rollout (T).", on_resume="inexact", ge=1, le=1_000_000)
    ] = 128
    whole_episodes: Annotated[
        bool,
        setting(
            "End a rollout with its episode, at the latest after `steps`; for a single environment.",
            on_resume="inexact",
        ),
    ] = False
