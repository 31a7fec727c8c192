"""One environment, ready for training, from its configuration."""

from __future__ import annotations

import os
from typing import Any

import gymnasium

from ..config.environment import AtariConfig, EnvConfig, is_atari
from .ids import find_spec
from .spaces import adapt_spaces, check_spaces, hide_numbers
from .state import RecordedEpisode


def make_env(config: EnvConfig, *, render_mode: str | None = None) -> gymnasium.Env:
    """The environment of `config`, with the spaces that the learner expects.

    Observations are a Box: uint8 images, `[H, W]` or channel first `[C, H, W]`, or float32 vectors `[D]`.
    Actions are ``Discrete(n)`` and ``MultiDiscrete`` from 0 on, ``MultiBinary``, or a Box of floats to whose bounds
    actions are clipped. Frames are single: whoever stores them stacks them (`config.frame_stack`).

    In the step that ends a full game, ``info["episode"] = {"r": raw return, "l": agent steps}``; see
    `ppo_tui.envs.atari.AtariEnv` for what a full game is there.

    The function is picklable by reference, so ``functools.partial(make_env, config)`` crosses processes.

    Args:
        render_mode: what `render` returns, as in `gymnasium.make`. Atari games render ``rgb_array`` in any case.

    Raises:
        ConfigError: the id is unknown or unsuitable, or the spaces are not supported.
        Exception: whatever the environment's own constructor raises; `probe_env` translates it.
    """
    spec = find_spec(config.id)
    # pygame, which draws most of Gymnasium's own environments, greets on stdout otherwise.
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if is_atari(spec.id):
        from .atari import AtariEnv

        # The registry knows the ROM's exact name where the id alone leaves it open (UpNDown: up_n_down).
        return AtariEnv(spec.kwargs["game"], config.atari or AtariConfig(), render_mode=render_mode, **config.kwargs)
    env = gymnasium.make(spec, disable_env_checker=True, **_make_kwargs(config, render_mode))
    try:
        check_spaces(config, env.observation_space, env.action_space)
        return hide_numbers(adapt_spaces(RecordedEpisode(env)), config)
    except BaseException:
        env.close()
        raise


def _make_kwargs(config: EnvConfig, render_mode: str | None) -> dict[str, Any]:
    """Environments that cannot render often take no `render_mode` at all: it is passed only where one is asked."""
    return config.kwargs if render_mode is None else {**config.kwargs, "render_mode": render_mode}
