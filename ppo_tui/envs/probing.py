"""Examine an environment once, before any process is started for it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import io
import itertools
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete, Space

from ..config.schema import EnvConfig, is_atari
from ..errors import ConfigError, did_you_mean
from ..text import printable
from .making import find_spec, make_env, newest_id
from .spaces import count_masked

MAX_NAME = 40
"""Characters of the name of an action."""


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Discard warnings and all output to stdout and stderr, C's included.

    It acts on the whole process, so no other thread should write anything meanwhile.
    """
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        _to_null(1),
        _to_null(2),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _to_null(descriptor: int) -> Iterator[None]:
    """Point an open file descriptor at the null device."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and not stream.closed:
            stream.flush()
    try:
        saved = os.dup(descriptor)
    except OSError:
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
    try:
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)


_PIP_COMMANDS = {
    "gymnasium.envs.box2d": "pip install 'ppo-tui[box2d]'",
    "gymnasium.envs.mujoco": "pip install 'ppo-tui[mujoco]'",
    "gymnasium.envs.classic_control": "pip install 'gymnasium[classic-control]'",
    "gymnasium.envs.toy_text": "pip install 'gymnasium[toy-text]'",
}


@dataclasses.dataclass(frozen=True, slots=True)
class EnvInfo:
    """Facts about an environment, known without playing it.

    Attributes:
        observation_space: of one frame, as `make_env` gives it.
        action_space: as `make_env` gives it.
        reward_threshold: mean return from which the environment counts as solved, or None where none is registered.
        action_meanings: a name for each discrete action, or None where the environment has none.
        num_masked: actions that the environment's masks cover, all choices together; 0 where nothing is masked.
    """

    observation_space: Box
    action_space: Space
    reward_threshold: float | None
    action_meanings: tuple[str, ...] | None
    num_masked: int = 0


def probe_env(config: EnvConfig) -> EnvInfo:
    """Make the environment, read its facts, and close it, without any output.

    Raises:
        ConfigError: no run can use this environment; with the reason and what to do about it.
    """
    with silenced():
        spec = find_spec(config.id)
        try:
            _check_kwargs(config, spec)
            env = make_env(config)
            try:
                return _read(env, config, spec)
            finally:
                env.close()
        except ConfigError:
            raise
        # The environment is third-party code: whatever it raises, sys.exit included, becomes one message.
        except (Exception, SystemExit) as error:
            raise _explain(error, config, spec) from error


def _read(env: gymnasium.Env, config: EnvConfig, spec: EnvSpec) -> EnvInfo:
    atari = is_atari(spec.id)
    observation_space = env.observation_space
    assert isinstance(observation_space, Box), "make_env gives no other"
    return EnvInfo(
        observation_space=observation_space,
        action_space=env.action_space,
        reward_threshold=spec.reward_threshold,
        action_meanings=action_names(env),
        num_masked=0 if atari and config.action_masks == "auto" else count_masked(env, config),
    )


def action_names(env: gymnasium.Env) -> tuple[str, ...] | None:
    """A printable name for each discrete action; None without names.

    ``get_action_meanings`` is a custom of Atari's, so that others return a dictionary, numbers, or fewer names than
    actions, or raise. Names are for people to read: none is worth refusing the environment.
    """
    if not isinstance(env.action_space, Discrete):
        return None
    count = int(env.action_space.n)
    try:
        given = env.unwrapped.get_action_meanings()  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(given, Mapping):
            start = int(getattr(env.unwrapped.action_space, "start", 0))
            given = [given.get(start + index, start + index) for index in range(count)]
        elif isinstance(given, str):
            return None
        names = [printable(str(name))[:MAX_NAME] for name in itertools.islice(given, count)]
    except (Exception, SystemExit):
        return None
    return tuple(names + [f"action {index}" for index in range(len(names), count)])


def _check_kwargs(config: EnvConfig, spec: EnvSpec) -> None:
    """Refuse arguments unknown to the environment's constructor.

    Raises:
        ConfigError: naming the argument and the nearest one that exists.
    """
    if "render_mode" in config.kwargs:
        raise ConfigError(
            f"env.kwargs.render_mode = {config.kwargs['render_mode']!r}: the screen decides how to render",
            hint="remove it",
        )
    accepted = ["mode", "difficulty"] if is_atari(spec.id) else _parameters(_constructor(spec))
    if accepted is None:
        return
    for key in config.kwargs:
        if key not in accepted:
            known = f"it takes {', '.join(accepted)}" if accepted else "it takes no arguments"
            raise ConfigError(
                f"env.kwargs.{key}: {config.id!r} does not take it", hint=did_you_mean(key, accepted, otherwise=known)
            )


def _constructor(spec: EnvSpec) -> Callable[..., Any]:
    if callable(spec.entry_point):
        return spec.entry_point
    module, _, name = str(spec.entry_point).partition(":")
    return getattr(importlib.import_module(module), name)


def _parameters(constructor: Callable[..., Any]) -> list[str] | None:
    """The configurable keyword arguments, `gymnasium.make`'s included; None for any."""
    try:
        parameters = inspect.signature(constructor).parameters.values()
    except (TypeError, ValueError):  # written in C, without a signature
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    named = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]
    return [*(name for name in named if name != "render_mode"), "max_episode_steps"]


def _explain(error: BaseException, config: EnvConfig, spec: EnvSpec) -> ConfigError:
    """The error to show for one raised by the environment."""
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    newest = newest_id(spec.id)
    if isinstance(error, (gymnasium.error.DependencyNotInstalled, ModuleNotFoundError)):
        return ConfigError(
            f"env.id = {config.id!r}: a package that it needs is not installed ({reason})", hint=_install_hint(spec)
        )
    if newest not in (None, spec.id):
        hint = f"use the newer {newest!r}"
    elif config.kwargs:
        hint = f"the environment itself raised this; check env.kwargs = {config.kwargs!r}"
    else:
        hint = "the environment itself raised this"
    return ConfigError(f"env.id = {config.id!r}: it cannot be created ({reason})", hint=hint)


def _install_hint(spec: EnvSpec) -> str:
    module = spec.entry_point.__module__ if callable(spec.entry_point) else str(spec.entry_point).partition(":")[0]
    for package, command in _PIP_COMMANDS.items():
        if module.startswith(package):
            return command
    return f"install what the module {module!r} imports"
