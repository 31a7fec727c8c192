"""Saving an environment whole, in the middle of an episode, and restoring it elsewhere.

A state is a `bytes` that is safe to read back from anywhere: a header in JSON, then raw bytes; nothing is pickled.
Three kinds of environment can be saved:

- ours for Atari, with the emulator and everything around it;
- one that offers `StatefulEnv`'s pair of methods;
- any other that is deterministic: the state of its random generator before the newest reset and the actions since
  are kept, and played again. Where that does not lead to the same observation, restoring it says so.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, SupportsFloat, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.wrappers import (
    OrderEnforcing,
    PassiveEnvChecker,
    TimeLimit,
    TransformAction,
    TransformObservation,
    TransformReward,
)

from .tolerance import TolerantEnv


def episode_info(episode_return: float, length: int) -> dict[str, Any]:
    """What ``info["episode"]`` holds: `r`, the raw undiscounted return, and `l`, the agent steps.

    The keys are those of `gymnasium.wrappers.RecordEpisodeStatistics`.
    """
    return {"r": episode_return, "l": length}


class EpisodeReturn(gymnasium.Wrapper):
    """Put ``info["episode"]`` into the step that ends an episode, and into no other."""

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
"""Steps of an episode that are kept to play it again. A longer episode starts anew when it is restored."""

_HEADER = struct.Struct("<I")
_STATELESS = (OrderEnforcing, PassiveEnvChecker, TolerantEnv, TransformAction, TransformObservation, TransformReward)


class CannotRestoreError(Exception):
    """This environment cannot go on where it was saved; says why, to a person."""


@runtime_checkable
class StatefulEnv(Protocol):
    """What an environment may offer to be saved directly, its random generator included.

    After ``restore_state(save_state())``, in another process too, it must behave as it would have without.
    """

    def save_state(self) -> bytes: ...

    def restore_state(self, state: bytes) -> None: ...


class Unpacked(NamedTuple):
    """A state taken apart: what JSON holds of it, and the rest by name."""

    facts: dict[str, Any]
    blobs: dict[str, bytes]


def pack(facts: Mapping[str, Any], blobs: Mapping[str, bytes]) -> bytes:
    """One state out of facts, as JSON knows them, and raw bytes by name."""
    sizes = {name: len(blob) for name, blob in blobs.items()}
    header = json.dumps({"facts": facts, "blobs": sizes}).encode()
    return b"".join([_HEADER.pack(len(header)), header, *blobs.values()])


def unpack(state: bytes) -> Unpacked:
    """What `pack` was given.

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
            raise ValueError("of another length than its header says")
        return Unpacked(header["facts"], blobs)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CannotRestoreError("what was saved of it is not an environment's state") from None


def save_env(env: gymnasium.Env, *, ended: bool = False) -> bytes:
    """The state of `env`; of one that cannot be saved, a state that says why (see `unsaved_reason`).

    Args:
        ended: its episode is over and it waits for its reset.
    """
    try:
        return pack({"ended": ended}, {"env": _stateful_layer(env).save_state()})
    except CannotRestoreError as error:
        return pack({"ended": ended, "unsaved": str(error)}, {})


def restore_env(env: gymnasium.Env, state: bytes) -> bool:
    """Let `env`, made as the one that was saved, stand where that stood; whether it waits for its reset.

    Raises:
        CannotRestoreError: it could not be saved or does not lead to the same observation. `env` needs a reset then.
    """
    facts, blobs = unpack(state)
    if "unsaved" in facts:
        raise CannotRestoreError(facts["unsaved"])
    _stateful_layer(env).restore_state(blobs.get("env", b""))
    return bool(facts.get("ended"))


def unsaved_reason(state: bytes) -> str | None:
    """Why the environment of this state could not be saved; None where it was."""
    return unpack(state).facts.get("unsaved")


def _stateful_layer(env: gymnasium.Env) -> StatefulEnv:
    """The outermost layer of `env` that can be saved, where no layer around it has a state of its own."""
    layer = env
    while not (isinstance(layer, RecordedEpisode) or (layer is layer.unwrapped and isinstance(layer, StatefulEnv))):
        if not isinstance(layer, _STATELESS):
            raise CannotRestoreError(f"{type(layer).__name__} has no save_state and restore_state")
        layer = layer.env
    return layer


def generator_state(env: gymnasium.Env) -> dict[str, Any] | None:
    """The state of the environment's random generator, as JSON knows it; None where it has none of NumPy's."""
    generator = getattr(env.unwrapped, "np_random", None)
    return generator.bit_generator.state if isinstance(generator, np.random.Generator) else None


def set_generator_state(env: gymnasium.Env, state: dict[str, Any] | None) -> None:
    """Put the generator where `generator_state` found it."""
    if state is not None:
        env.unwrapped.np_random.bit_generator.state = state


class RecordedEpisode(EpisodeReturn):
    """An episode that can be saved: by the environment itself where it can, else by its actions, to be played again.

    Recording costs an append a step and one look at the random generator an episode.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._scalar_actions = env.action_space.shape == ()
        self._saves_itself = isinstance(env.unwrapped, StatefulEnv) and _only_known_layers(env)
        self._forget("it has not been reset yet")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._forget("it was reset with options, which are not kept" if options else None)
        self._seed = seed
        self._generator_before = None if seed is not None or self._saves_itself else generator_state(self)
        self._observation, info = super().reset(seed=seed, options=options)
        return self._observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = super().step(action)
        self._observation = result[0]
        if not self._saves_itself and len(self._actions) <= MAX_RECORDED_STEPS:
            self._actions.append(action if self._scalar_actions else np.array(action))
        return result

    def _forget(self, obstacle: str | None) -> None:
        self._actions: list[Any] = []
        self._seed: int | None = None
        self._generator_before: dict[str, Any] | None = None
        self._observation: Any = None
        self._obstacle = obstacle

    def save_state(self) -> bytes:
        """The episode so far.

        Raises:
            CannotRestoreError: it is longer than `MAX_RECORDED_STEPS`, or was begun in a way that is not kept.
        """
        if self._obstacle is not None:
            raise CannotRestoreError(self._obstacle)
        counters = {"return": self._return, "length": self._length}
        if self._saves_itself:
            facts = counters | {"limits": [layer._elapsed_steps for layer in _time_limits(self)]}
            return pack(facts, {"own": self.unwrapped.save_state()})
        if len(self._actions) > MAX_RECORDED_STEPS:
            raise CannotRestoreError(f"its episode is longer than {MAX_RECORDED_STEPS:,} steps, which are all we keep")
        actions = np.asarray(self._actions)
        facts = {
            "seed": self._seed,
            "generator_before": self._generator_before,
            "generator_after": generator_state(self),
            "observation": _digest(self._observation),
            "actions": [actions.dtype.str, list(actions.shape)],
        }
        try:
            return pack(counters | facts, {"actions": actions.tobytes()})
        except TypeError:
            raise CannotRestoreError("the state of its random generator is not one of plain numbers") from None

    def restore_state(self, state: bytes) -> None:
        """Go on where `save_state` was called.

        Raises:
            CannotRestoreError: playing the actions again does not lead there.
        """
        facts, blobs = unpack(state)
        try:
            if self._saves_itself:
                self._restore_own(facts, blobs["own"])
            else:
                self._replay(facts, blobs["actions"])
        except CannotRestoreError:
            raise
        except Exception as error:
            raise CannotRestoreError(f"{type(error).__name__} while restoring it: {error}") from error

    def _restore_own(self, facts: dict[str, Any], own: bytes) -> None:
        self.reset()  # the wrappers around the environment want one before they let a step through
        self.unwrapped.restore_state(own)
        self._return, self._length = facts["return"], facts["length"]
        for layer, elapsed in zip(_time_limits(self), facts["limits"], strict=True):
            layer._elapsed_steps = elapsed

    def _replay(self, facts: dict[str, Any], raw: bytes) -> None:
        """Reset as was reset before, and play the same actions."""
        dtype, shape = facts["actions"]
        actions = np.frombuffer(raw, dtype=dtype).reshape(shape)
        set_generator_state(self, facts["generator_before"])
        self.reset(seed=facts["seed"])
        self._generator_before = facts["generator_before"]
        for action in actions.tolist() if self._scalar_actions else actions:
            self.step(action)
        same = _digest(self._observation) == facts["observation"] and generator_state(self) == facts["generator_after"]
        if not same or (self._return, self._length) != (facts["return"], facts["length"]):
            set_generator_state(self, facts["generator_after"])
            self._forget("it could not be restored")
            raise CannotRestoreError("playing its episode again led to another observation: it is not deterministic")


def _only_known_layers(env: gymnasium.Env) -> bool:
    """Whether every wrapper in `env` is one whose state we know how to keep, or that has none."""
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if not isinstance(layer, (TimeLimit, *_STATELESS)):
            return False
        layer = layer.env
    return True


def _time_limits(env: gymnasium.Env) -> list[TimeLimit]:
    layers, layer = [], env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, TimeLimit):
            layers.append(layer)
        layer = layer.env
    return layers


def _digest(observation: Any) -> str:
    """A fingerprint of an observation: its values, type and shape."""
    array = np.ascontiguousarray(observation)
    return hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()
