"""The work that everybody is given: the shipped Breakout preset, from which the peers' settings are read as well."""

from __future__ import annotations

from ppo_tui import Config, load_preset

GAME = "breakout"
"""The ROM's name in ale-py."""

MAX_FRAMES = 108_000
"""Emulator frames after which a game is cut: 30 minutes of play, the rule of all contenders."""


def breakout(*, num_updates: int, num_envs: int = 8, overrides: tuple[str, ...] = ()) -> Config:
    """Canonical PPO on Breakout, on the CPU, for one warm-up update and `num_updates` that are measured."""
    settings = (f"rollout.num_envs={num_envs}", "run.device=cpu", *overrides)
    batch_size = load_preset("breakout", overrides=settings).batch_size
    return load_preset("breakout", overrides=(*settings, f"run.total_steps={batch_size * (1 + num_updates)}"))
