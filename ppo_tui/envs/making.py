"""Make one environment, ready for training, from its configuration."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, SupportsFloat

import gymnasium
from gymnasium.envs.registration import EnvSpec

from ..config.collecting import AtariConfig, EnvConfig, is_atari
from ..errors import ConfigError, nearest
from .contract import checked_spec
from .luck import seed_luck
from .replay import RecordedEpisode
from .spaces import adapt_spaces, check_spaces, hide_numbers
from .state import episode_info


def make_env(config: EnvConfig, *, render_mode: str | None = None) -> gymnasium.Env:
    """Make the environment of `config`, with spaces for the learner.

    Observations are a Box: uint8 images and boards, `[H, W]` or channel first `[C, H, W]`, float32 vectors `[D]`, or
    images and vectors packed into bytes (`PackedBox`). Actions are ``Discrete(n)`` and ``MultiDiscrete`` from 0 on,
    ``MultiBinary``, or a Box of floats to whose bounds actions are clipped. Frames are single; the rollout stacks them
    (`config.frame_stack`).

    In the step that ends an episode, ``info["episode"] = {"r": raw return, "l": agent steps}``; with Atari's lost lives
    an episode may go on after a step that is terminated, see `ppo_tui.envs.atari.AtariEnv`.

    The function is pickled by reference, so ``functools.partial(make_env, config)`` crosses processes.

    Args:
        render_mode: as in `gymnasium.make`. Atari games render ``rgb_array`` in any case.

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
    make = functools.partial(
        gymnasium.make, checked_spec(spec), disable_env_checker=True, **_make_kwargs(config, render_mode)
    )
    env = RecordedEpisode(make)
    try:
        check_spaces(config, env.observation_space, env.action_space)
        return hide_numbers(adapt_spaces(env, config), config)
    except BaseException:
        with contextlib.suppress(Exception):
            env.close()
        raise


def _make_kwargs(config: EnvConfig, render_mode: str | None) -> dict[str, Any]:
    """Arguments for the constructor; `render_mode` only if asked for.

    Environments that cannot render often take no such argument.
    """
    return config.kwargs if render_mode is None else {**config.kwargs, "render_mode": render_mode}


_LEGACY_ATARI = re.compile(r"(\w+?)(?:-ram)?(?:Deterministic)?-v[04]")
_VERSION = re.compile(r"-v\d+$")
_VARIANT = re.compile(r"(-ram)?(Deterministic|NoFrameskip)?$")


def find_spec(env_id: str) -> EnvSpec:
    """The registration of `env_id`; of ``module:Name-v0`` after importing the module.

    Raises:
        ConfigError: the id is not registered, its module cannot be imported, or it is a legacy Atari id that skips
            frames itself. The message names the nearest id that would do.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        _import_module(env_id, module)
    if name not in gymnasium.registry:
        _register_atari()
    if modern := _modern_atari_id(name):
        raise ConfigError(
            f"env.id = {env_id!r}: this old Atari id skips frames by itself, on top of env.atari.frame_skip",
            hint=f"use id = {modern!r}; [env.atari] sets frame skip and sticky actions",
        )
    if (spec := gymnasium.registry.get(name)) is None:
        raise _unknown_id(env_id, name)
    return spec


def newest_id(env_id: str) -> str | None:
    """The registered id of this name with the highest version, or None."""
    return _newest_ids().get(_bare_name(env_id))


def _register_atari() -> None:
    import ale_py

    gymnasium.register_envs(ale_py)


def _import_module(env_id: str, module: str) -> None:
    _look_here_last()
    try:
        importlib.import_module(module)
    # A module runs whatever it likes while it is imported, sys.exit included.
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"env.id = {env_id!r}: the module {module!r} cannot be imported ({type(error).__name__}: {error})",
            hint="install the package that provides it, or start ppo-tui in the directory that holds it; "
            "omit the module if the id is registered already",
        ) from error


def _look_here_last() -> None:
    """Look for modules in the working directory, too.

    It comes last, so that no file in it takes the place of an installed package.
    """
    with contextlib.suppress(OSError):  # the directory may be gone
        here = os.getcwd()
        if here not in sys.path and "" not in sys.path:
            sys.path.append(here)


def _modern_atari_id(name: str) -> str | None:
    """The ``ALE/…-v5`` id for a legacy id such as ``BreakoutDeterministic-v4``, or None."""
    if not (match := _LEGACY_ATARI.fullmatch(name)):
        return None
    modern = f"ALE/{match[1]}-v5"
    registered = gymnasium.registry.get(name)
    if registered and not str(registered.entry_point).startswith("ale_py."):
        return None
    return modern if modern in gymnasium.registry else None


def _unknown_id(env_id: str, name: str) -> ConfigError:
    ids = _newest_ids()
    meant = nearest(_bare_name(name), ids)
    return ConfigError(
        f"env.id = {env_id!r}: Gymnasium has no environment of this name and version",
        hint=f"did you mean {ids[meant]!r}?"
        if meant
        else 'python -c "import gymnasium; gymnasium.pprint_registry()" lists them; '
        "'module:Name-v0' imports the module that registers one",
    )


def _newest_ids() -> dict[str, str]:
    """Bare name → id of the highest version (Atari: ``ALE/…-v5``)."""
    newest: dict[str, EnvSpec] = {}
    for spec in gymnasium.registry.values():
        rival = newest.get(_bare_name(spec.id))
        if rival is None or (spec.version or 0) > (rival.version or 0):
            newest[_bare_name(spec.id)] = spec
    return {name: spec.id for name, spec in newest.items()}


def _bare_name(env_id: str) -> str:
    """``breakout`` for ``ALE/Breakout-v5``, ``breakout`` and ``BreakoutNoFrameskip-v4``."""
    return _VARIANT.sub("", _VERSION.sub("", env_id).rpartition("/")[2]).lower()


class SeededEpisodes(gymnasium.Wrapper):
    """Seed resets from `seeds`, in order, while they last.

    Args:
        max_steps: a longer episode is truncated, and counts with its return so far.
    """

    def __init__(self, env: gymnasium.Env, seeds: Sequence[int], max_steps: int) -> None:
        super().__init__(env)
        self._seeds = iter(seeds)
        self._max_steps = max_steps
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        seed = next(self._seeds, None) if seed is None else seed
        if seed is not None:
            seed_luck(seed, self.env)
        self._steps = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        if self._steps >= self._max_steps and not (terminated or truncated):
            truncated = True
            info = {**info, "episode": episode_info(self.get_wrapper_attr("episode_return"), self._steps)}
        return observation, reward, terminated, truncated, info


def make_seeded_env(config: EnvConfig, seeds: Sequence[int], max_steps: int) -> gymnasium.Env:
    """`make_env` with seeds for episodes, and a limit of steps.

    Raises as `make_env` does.
    """
    return SeededEpisodes(make_env(config), seeds, max_steps)
