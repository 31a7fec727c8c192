"""Save an environment in mid-episode, and restore it elsewhere.

A state is a `bytes` that is safe to read from any source: a header in JSON, then raw bytes; nothing is pickled.
Three kinds of environment can be saved:

- `AtariEnv`, with the emulator and everything around it;
- environments with the methods of `StatefulEnv`;
- any other deterministic one: the state of its random generator before the newest reset and the actions since are
  recorded, and replayed. Where that does not lead to the same observation, restoring fails.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, SupportsFloat, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.wrappers import (
    OrderEnforcing,
    PassiveEnvChecker,
    TimeLimit,
    TransformAction,
    TransformObservation,
    TransformReward,
)

from .contract import CheckedEnv
from .tolerance import TolerantEnv


def episode_info(episode_return: float, length: int) -> dict[str, Any]:
    """``info["episode"]``: `r`, the raw undiscounted return, and `l`, the agent steps.

    The keys are those of `gymnasium.wrappers.RecordEpisodeStatistics`.
    """
    return {"r": episode_return, "l": length}


class EpisodeReturn(gymnasium.Wrapper):
    """Add ``info["episode"]`` to the last step of each episode alone."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._return = 0.0
        self._length = 0

    @property
    def episode_return(self) -> float:
        """The raw return of the episode so far."""
        return self._return

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._return = 0.0
        self._length = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        self._length += 1
        if terminated or truncated:
            info = {**info, "episode": episode_info(self._return, self._length)}
        elif "episode" in info:
            info = {key: value for key, value in info.items() if key != "episode"}
        return observation, reward, terminated, truncated, info


MAX_RECORDED_STEPS = 100_000
"""Steps of an episode that are recorded. A longer episode cannot be restored: a new one starts instead."""

_HEADER = struct.Struct("<I")
_STATELESS = (
    CheckedEnv,
    OrderEnforcing,
    PassiveEnvChecker,
    TolerantEnv,
    TransformAction,
    TransformObservation,
    TransformReward,
)


class CannotRestoreError(Exception):
    """An environment cannot continue from its saved state; with the reason."""


@runtime_checkable
class StatefulEnv(Protocol):
    """An environment with methods to save and restore it, random generator included.

    After ``restore_state(save_state())``, in another process too, it must behave as if nothing had happened.
    """

    def save_state(self) -> bytes: ...

    def restore_state(self, state: bytes) -> None: ...


class Unpacked(NamedTuple):
    """The parts of a state: facts for JSON, raw bytes by name."""

    facts: dict[str, Any]
    blobs: dict[str, bytes]


def pack(facts: Mapping[str, Any], blobs: Mapping[str, bytes]) -> bytes:
    """Join facts for JSON and raw bytes by name into one state."""
    sizes = {name: len(blob) for name, blob in blobs.items()}
    header = json.dumps({"facts": facts, "blobs": sizes}).encode()
    return b"".join([_HEADER.pack(len(header)), header, *blobs.values()])


def unpack(state: bytes) -> Unpacked:
    """Split a state of `pack` into its parts.

    Raises:
        CannotRestoreError: these bytes are no state.
    """
    try:
        (length,) = _HEADER.unpack_from(state)
        offset = _HEADER.size + length
        header = json.loads(state[_HEADER.size : offset])
        blobs = {}
        for name, size in header["blobs"].items():
            blobs[name] = state[offset : offset + size]
            offset += size
        if offset != len(state):
            raise ValueError("its length differs from that in its header")
        return Unpacked(header["facts"], blobs)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CannotRestoreError("its saved state is damaged") from None


def save_env(env: gymnasium.Env, *, ended: bool = False) -> bytes:
    """The state of `env`, or the reason why it has none (`unsaved_reason`).

    Args:
        ended: its episode is over and it needs a reset next.
    """
    try:
        return pack({"ended": ended}, {"env": _stateful_layer(env).save_state()})
    except CannotRestoreError as error:
        return pack({"ended": ended, "unsaved": str(error)}, {})


def restore_env(env: gymnasium.Env, state: bytes) -> bool:
    """Restore the state of `env`; return whether its episode is over.

    Args:
        env: made from the same configuration as the saved one.

    Raises:
        CannotRestoreError: it could not be saved or does not lead to the same observation. `env` needs a reset then.
    """
    facts, blobs = unpack(state)
    if "unsaved" in facts:
        raise CannotRestoreError(facts["unsaved"])
    _stateful_layer(env).restore_state(blobs.get("env", b""))
    return bool(facts.get("ended"))


def unsaved_reason(state: bytes) -> str | None:
    """The reason for an environment not being saved, or None."""
    return unpack(state).facts.get("unsaved")


def _stateful_layer(env: gymnasium.Env) -> StatefulEnv:
    """The outermost layer of `env` with a state, below stateless layers alone."""
    layer = env
    while not (isinstance(layer, RecordedEpisode) or (layer is layer.unwrapped and isinstance(layer, StatefulEnv))):
        if not isinstance(layer, _STATELESS):
            raise CannotRestoreError(f"{type(layer).__name__} has no save_state and restore_state")
        layer = layer.env
    return layer


def generator_state(env: gymnasium.Env) -> Mapping[str, Any] | None:
    """The state of the environment's NumPy generator for JSON; None without one."""
    generator = getattr(env.unwrapped, "np_random", None)
    return generator.bit_generator.state if isinstance(generator, np.random.Generator) else None


def set_generator_state(env: gymnasium.Env, state: Mapping[str, Any] | None) -> None:
    """Restore the generator from `generator_state`."""
    if state is not None:
        env.unwrapped.np_random.bit_generator.state = state


_ELAPSED_STEPS = "_elapsed_steps"
"""Private counter of Gymnasium's `TimeLimit`. Without it an episode is saved as its actions, like any other."""


@dataclass
class _Recording:
    """An episode so far, as far as replaying it needs.

    Attributes:
        obstacle: why it cannot be replayed; None where it can.
        seed: of its reset.
        generator_before: state of the random generator before a reset without a seed.
        observation: the newest one.
    """

    obstacle: str | None = None
    seed: int | None = None
    generator_before: Mapping[str, Any] | None = None
    observation: Any = None
    actions: list[Any] = field(default_factory=list)


class RecordedEpisode(EpisodeReturn):
    """Save an episode by the environment itself, else as its actions.

    Recording costs an append a step and a copy of the random generator's state an episode.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._scalar_actions = isinstance(env.action_space, Discrete)
        inner = env.unwrapped
        self._stateful = inner if isinstance(inner, StatefulEnv) and _can_be_saved(env) else None
        self._recording = _Recording(obstacle="it has not been reset yet")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        recording = self._recording = _Recording(
            obstacle="it was reset with options, which are not recorded" if options else None,
            seed=seed,
            generator_before=None if seed is not None or self._stateful is not None else generator_state(self),
        )
        recording.observation, info = super().reset(seed=seed, options=options)
        return recording.observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result, recording = super().step(action), self._recording
        recording.observation = result[0]
        if self._stateful is None and len(recording.actions) <= MAX_RECORDED_STEPS:
            recording.actions.append(action if self._scalar_actions else np.array(action))
        return result

    def save_state(self) -> bytes:
        """The episode so far.

        Raises:
            CannotRestoreError: it is longer than `MAX_RECORDED_STEPS`, or began in a way that is not recorded.
        """
        recording = self._recording
        if recording.obstacle is not None:
            raise CannotRestoreError(recording.obstacle)
        counters = {"return": self._return, "length": self._length}
        if self._stateful is not None:
            facts = counters | {"limits": [getattr(layer, _ELAPSED_STEPS) for layer in _time_limits(self)]}
            return pack(facts, {"own": self._stateful.save_state()})
        if len(recording.actions) > MAX_RECORDED_STEPS:
            raise CannotRestoreError(
                f"its episode is longer than {MAX_RECORDED_STEPS:,} steps, the most that is recorded"
            )
        actions = np.asarray(recording.actions)
        facts = {
            "seed": recording.seed,
            "generator_before": recording.generator_before,
            "generator_after": generator_state(self),
            "observation": _digest(recording.observation),
            "actions": [actions.dtype.str, list(actions.shape)],
        }
        try:
            return pack(counters | facts, {"actions": actions.tobytes()})
        except TypeError:
            raise CannotRestoreError("the state of its random generator is not made of plain numbers") from None

    def restore_state(self, state: bytes) -> None:
        """Restore a state from `save_state`.

        Raises:
            CannotRestoreError: replaying the actions does not lead there.
        """
        facts, blobs = unpack(state)
        try:
            if self._stateful is not None:
                self._restore_own(self._stateful, facts, blobs["own"])
            else:
                self._replay(facts, blobs["actions"])
        except CannotRestoreError:
            raise
        except Exception as error:
            raise CannotRestoreError(f"{type(error).__name__} while restoring it: {error}") from error

    def _restore_own(self, env: StatefulEnv, facts: dict[str, Any], own: bytes) -> None:
        self.reset()  # the wrappers around the environment refuse a step before the first reset
        env.restore_state(own)
        self._return, self._length = facts["return"], facts["length"]
        for layer, elapsed in zip(_time_limits(self), facts["limits"], strict=True):
            setattr(layer, _ELAPSED_STEPS, elapsed)

    def _replay(self, facts: dict[str, Any], raw: bytes) -> None:
        """Repeat the reset, and replay the same actions."""
        dtype, shape = facts["actions"]
        actions = np.frombuffer(raw, dtype=dtype).reshape(shape)
        set_generator_state(self, facts["generator_before"])
        self.reset(seed=facts["seed"])
        self._recording.generator_before = facts["generator_before"]
        for action in actions:
            self.step(action if self._scalar_actions else np.array(action))
        same = (
            _digest(self._recording.observation) == facts["observation"]
            and generator_state(self) == facts["generator_after"]
        )
        if not same or (self._return, self._length) != (facts["return"], facts["length"]):
            set_generator_state(self, facts["generator_after"])
            self._recording = _Recording(obstacle="it could not be restored")
            raise CannotRestoreError("replaying its episode led to another observation: it is not deterministic")


def _only_known_layers(env: gymnasium.Env) -> bool:
    """Whether every wrapper in `env` is stateless or has a known state."""
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if not isinstance(layer, (TimeLimit, *_STATELESS)):
            return False
        layer = layer.env
    return True


def _can_be_saved(env: gymnasium.Env) -> bool:
    """Whether only time limits among the layers have state of their own."""
    return _only_known_layers(env) and all(hasattr(layer, _ELAPSED_STEPS) for layer in _time_limits(env))


def _time_limits(env: gymnasium.Env) -> list[TimeLimit]:
    layers, layer = [], env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, TimeLimit):
            layers.append(layer)
        layer = layer.env
    return layers


def _digest(observation: Any) -> str:
    """A hash of an observation's values, type and shape."""
    array = np.ascontiguousarray(observation)
    return hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()
