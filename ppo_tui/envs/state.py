"""Save an environment in mid-episode, and restore it elsewhere.

A state is a `bytes` that is safe to read from any source: a header in JSON, then raw bytes; nothing is pickled.
Three kinds of environment can be saved:

- `AtariEnv`, with the emulator and everything around it;
- environments with the methods of `StatefulEnv`;
- any other deterministic one, whose actions are recorded and replayed (`ppo_tui.envs.replay`).

With each goes the state of the global random generators that it draws from (`ppo_tui.envs.luck`).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium
import numpy as np

from .clean import STATELESS
from .luck import LuckError, apply_luck, capture_luck


def episode_info(episode_return: float, length: int) -> dict[str, Any]:
    """``info["episode"]``: `r`, the raw undiscounted return, and `l`, the agent steps.

    The keys are those of `gymnasium.wrappers.RecordEpisodeStatistics`.
    """
    return {"r": episode_return, "l": length}


_HEADER = struct.Struct("<I")


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
    luck = {"luck": capture_luck()}
    try:
        return pack({"ended": ended}, {"env": _stateful_layer(env).save_state(), **luck})
    except CannotRestoreError as error:
        return pack({"ended": ended, "unsaved": str(error)}, luck)


def restore_env(env: gymnasium.Env, state: bytes) -> bool:
    """Restore the state of `env`; return whether its episode is over.

    Args:
        env: made from the same configuration as the saved one.

    Raises:
        CannotRestoreError: it could not be saved, or is not proved to be as it was. `env` needs a reset then; the
            global random generators are those of the state.
    """
    facts, blobs = unpack(state)
    luck = blobs.get("luck")
    try:
        if "unsaved" in facts:
            raise CannotRestoreError(facts["unsaved"])
        _stateful_layer(env).restore_state(blobs.get("env", b""))
    finally:
        if luck is not None:  # a version before saved none
            restore_luck(luck)
    return bool(facts.get("ended"))


def restore_luck(luck: bytes) -> None:
    """Restore the global random generators from `capture_luck`.

    Raises:
        CannotRestoreError: these bytes are no state of theirs.
    """
    try:
        apply_luck(luck)
    except LuckError as error:
        raise CannotRestoreError(str(error)) from None


def unsaved_reason(state: bytes) -> str | None:
    """The reason for an environment not being saved, or None."""
    return unpack(state).facts.get("unsaved")


def _stateful_layer(env: gymnasium.Env) -> StatefulEnv:
    """The outermost layer of `env` with a state, below stateless layers alone."""
    layer = env
    while not isinstance(layer, StatefulEnv):
        if not isinstance(layer, STATELESS):
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
