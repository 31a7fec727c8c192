"""Examine an environment once, before a run uses it."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import itertools
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete, Space

from ..config.collecting import EnvConfig, is_atari
from ..errors import ConfigError, did_you_mean
from ..extras import install_command
from ..text import printable
from .making import find_spec, make_env, newest_id
from .spaces import MASK_HINT, choice_sizes, count_masked, describe_masks, describe_texts, given_spaces, read_mask
from .tolerance import MAX_FAILED_RESETS, BadValueError

MAX_NAME = 40
"""Characters of the name of an action."""

_ANY_ERROR = (Exception, SystemExit, KeyboardInterrupt)
"""What an environment may raise."""

_EXTRAS = {"gymnasium.envs.box2d": "box2d", "gymnasium.envs.mujoco": "mujoco"}


@dataclasses.dataclass(frozen=True, slots=True)
class EnvInfo:
    """Facts about an environment, known without playing it.

    Attributes:
        observation_space: of one frame, as `make_env` gives it; a `PackedBox` where images are among other parts.
        action_space: as `make_env` gives it.
        reward_threshold: mean return from which the environment counts as solved, or None where none is registered.
        action_meanings: a name for each discrete action, or None where the environment has none.
        num_masked: actions that the environment's masks cover, all choices together; 0 where nothing is masked.
        given_observation_space, given_action_space: as the environment has them, before `make_env` adapts them; without
            texts.
        notes: remarks for the user of a run.
    """

    observation_space: Box
    action_space: Space
    reward_threshold: float | None
    action_meanings: tuple[str, ...] | None
    num_masked: int
    given_observation_space: Space
    given_action_space: Space
    notes: tuple[str, ...] = ()


def probe_env(config: EnvConfig) -> EnvInfo:
    """Make the environment here, try it, read its facts, and close it.

    A process that does more than this learns them from `ppo_tui.workers.probing.examine_env`.

    Raises:
        ConfigError: no run can use this environment; with the reason and what to do about it.
    """
    info, *_ = probing(config)
    return info


def probing(config: EnvConfig) -> Iterator[EnvInfo]:
    """Yield the facts of the environment twice, and close it.

    They come after it is made and reset, and again after a step.

    If the step ends this process, they have come once already.

    Raises:
        ConfigError: no run can use this environment; with the reason and what to do about it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = find_spec(config.id)
        try:
            _check_kwargs(config, spec)
            env, facts = _make_and_reset(config, spec)
            try:
                info = _read(env, config, spec, facts)
                yield info
                if facts is not None:
                    _step_once(env, info, facts)
                yield info
            finally:
                close_quietly(env)
        except ConfigError:
            raise
        # The environment is third-party code: whatever it raises, sys.exit included, becomes one message.
        except _ANY_ERROR as error:
            raise _explain(error, config, spec) from error


def close_quietly(env: gymnasium.Env) -> None:
    """Close `env`; print its exception, if any."""
    try:
        env.close()
    except _ANY_ERROR as error:
        print(f"close() raised {_reason(error)}", file=sys.stderr)


def _make_and_reset(config: EnvConfig, spec: EnvSpec) -> tuple[gymnasium.Env, dict[str, Any] | None]:
    """The environment, and the info of its first reset.

    The info is None for an Atari game, which needs no reset to be known. A reset that fails is tried again on a new
    environment, as in a run.
    """
    if is_atari(spec.id) and config.action_masks in ("auto", "info"):
        return make_env(config), None
    for attempt in range(1, MAX_FAILED_RESETS + 1):
        env = make_env(config)
        try:
            return env, env.reset(seed=attempt)[1]
        except BaseException as error:
            close_quietly(env)
            if isinstance(error, BadValueError) or not isinstance(error, Exception):
                raise
            if attempt == MAX_FAILED_RESETS:
                raise ConfigError(
                    f"env.id = {config.id!r}: its reset() raised {_reason(error)}, {attempt} times in a row",
                    hint="the environment itself raised this",
                ) from error
    raise AssertionError("the last attempt returns or raises")


def _read(env: gymnasium.Env, config: EnvConfig, spec: EnvSpec, facts: dict[str, Any] | None) -> EnvInfo:
    observation_space = env.observation_space
    assert isinstance(observation_space, Box), "make_env gives no other"
    given_observations, given_actions = given_spaces(env)
    notes = describe_masks(env, config), describe_texts(env)
    try:
        num_masked = 0 if facts is None else count_masked(env, config, facts)
    except BadValueError as error:
        raise ConfigError(f"env.id = {config.id!r}: {error}", hint=MASK_HINT) from error
    return EnvInfo(
        observation_space=observation_space,
        action_space=env.action_space,
        reward_threshold=_number(spec.reward_threshold),
        action_meanings=action_names(env),
        num_masked=num_masked,
        given_observation_space=given_observations,
        given_action_space=given_actions,
        notes=tuple(note for note in notes if note is not None),
    )


def _number(value: Any) -> float | None:
    """A registration's number as such, or None."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def action_names(env: gymnasium.Env) -> tuple[str, ...] | None:
    """A printable name for each discrete action; None without names.

    ``get_action_meanings`` is a custom of Atari's, so that others return a dictionary, numbers, or fewer names than
    actions, or raise. Names are for people to read: none is worth refusing the environment.
    """
    if not isinstance(env.action_space, Discrete):
        return None
    count = int(env.action_space.n)
    try:
        meanings = getattr(env.unwrapped, "get_action_meanings", None)
        given = meanings() if meanings is not None else ""
        if isinstance(given, Mapping):
            start = int(getattr(env.unwrapped.action_space, "start", 0))
            given = [given.get(start + index, start + index) for index in range(count)]
        elif isinstance(given, str):
            return None
        names = [printable(str(name))[:MAX_NAME] for name in itertools.islice(given, count)]
    except _ANY_ERROR as error:
        print(f"get_action_meanings() raised {_reason(error)}", file=sys.stderr)
        return None
    return tuple(names + [f"action {index}" for index in range(len(names), count)])


def _step_once(env: gymnasium.Env, info: EnvInfo, facts: dict[str, Any]) -> None:
    """Take an action, to see whether `step` keeps to Gymnasium's API.

    An environment that raises there is left to the run, which survives it.
    """
    env.action_space.seed(0)
    action = env.action_space.sample()
    try:
        if info.num_masked:
            choices = np.split(read_mask(env, facts), np.cumsum(choice_sizes(env.action_space))[:-1])
            action = np.array([choice.argmax() for choice in choices]).reshape(np.shape(action))
        env.step(action.item() if np.ndim(action) == 0 else action)
    except BadValueError:
        raise
    except _ANY_ERROR as error:
        print(f"step() raised {_reason(error)}", file=sys.stderr)


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


def _reason(error: BaseException) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _explain(error: BaseException, config: EnvConfig, spec: EnvSpec) -> ConfigError:
    """The error to show for one raised by the environment."""
    if isinstance(error, BadValueError):
        return ConfigError(
            f"env.id = {config.id!r}: {error}", hint="Gymnasium's rules: https://gymnasium.farama.org/api/env"
        )
    reason = _reason(error)
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
    for package, extra in _EXTRAS.items():
        if module.startswith(package):
            return install_command(extra)
    return f"install what the module {module!r} imports"
