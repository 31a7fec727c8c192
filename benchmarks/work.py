"""The common work of all contenders: the shipped Breakout preset.

The peers' settings are read from it as well.
"""

from __future__ import annotations

import gymnasium
from gymnasium import spaces

from ppo_tui import Config, load_preset
from ppo_tui.config import AtariConfig

GAME = "breakout"
"""The ROM's name in ale-py."""

MAX_FRAMES = 108_000
"""Limit of an episode in emulator frames: 30 minutes of play, the rule of all contenders."""


def atari_rules(config: Config) -> AtariConfig:
    """The ``[env.atari]`` section of a configuration of Breakout."""
    assert config.env.atari is not None
    return config.env.atari


def num_actions(space: gymnasium.Space) -> int:
    """The number of actions in a `Discrete` space."""
    assert isinstance(space, spaces.Discrete)
    return int(space.n)


def breakout(*, num_updates: int, num_envs: int = 8, overrides: tuple[str, ...] = ()) -> Config:
    """Canonical PPO on Breakout, on the CPU.

    For one warm-up update and `num_updates` measured ones.
    """
    settings = (f"rollout.num_envs={num_envs}", "run.device=cpu", *overrides)
    batch_size = load_preset("breakout", overrides=settings).batch_size
    return load_preset("breakout", overrides=(*settings, f"run.total_steps={batch_size * (1 + num_updates)}"))
