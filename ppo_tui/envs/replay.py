"""Record an environment, to bring another instance to the same state.

What is recorded are actions, seeds and the states of random generators, and a hash of every observation and reward. A
replay counts only if it is proved to lead to the same state: all hashes agree, the generators stand where they stood,
and so does all state in Python (`ppo_tui.envs.portrait`).

An environment that starts each episode clean (`ppo_tui.envs.clean`) is replayed from its newest reset. Any other may
keep something from one episode to the next. It is replayed from the moment it was made, as long as that is not too
long ago; after that from a reset, unless it keeps state outside Python that outlives an episode.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, SupportsFloat

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.wrappers import TimeLimit

from .clean import kept_its_world, only_known_layers, renew_physics, starts_clean
from .luck import capture_luck, forget_second_normal, own_spaces, set_space_states, space_states
from .portrait import TooLargeError, opaque_parts, portrait
from .state import (
    CannotRestoreError,
    StatefulEnv,
    episode_info,
    generator_state,
    pack,
    restore_luck,
    set_generator_state,
    unpack,
)

MAX_RECORDED_STEPS = 100_000
"""Steps that are recorded. A longer episode cannot be restored: a new one starts instead."""

MAX_HISTORY_STEPS = 5_000
"""Steps of earlier episodes that are replayed, of environments not known to start clean; seconds at most."""

CHECKED_RESETS = 8
"""Resets in which something that outlives an episode is looked for."""

_ELAPSED_STEPS = "_elapsed_steps"
"""Private counter of Gymnasium's `TimeLimit`. Without it an episode is saved as its actions, like any other."""

_OUTCOME = struct.Struct("<d??")


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

    @property
    def episode_length(self) -> int:
        """The agent's steps in the episode so far."""
        return self._length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._return = 0.0
        self._length = 0
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, _without_episode(info)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        self._length += 1
        if terminated or truncated:
            info = {**info, "episode": episode_info(self._return, self._length)}
        else:
            info = _without_episode(info)
        return observation, reward, terminated, truncated, info


def _without_episode(info: dict[str, Any]) -> dict[str, Any]:
    """`info` without an ``"episode"`` of the environment's own."""
    return {key: value for key, value in info.items() if key != "episode"} if "episode" in info else info


class _Generators(NamedTuple):
    """The states of all random generators before a reset.

    Attributes:
        luck: of the global ones; empty for an environment that does not use them.
        spaces: of those of its spaces; empty likewise.
        own: of the environment's own; None before it has one.
    """

    luck: bytes
    spaces: list[Mapping[str, Any]]
    own: Mapping[str, Any] | None


class _Start(NamedTuple):
    """A reset.

    Attributes:
        step: steps of the history before it.
        generators: None if they follow from what is replayed before.
    """

    step: int
    seed: int | None
    generators: _Generators | None


@dataclass
class _History:
    """All causes of the present state.

    Attributes:
        made_with: the global generators before the environment was made, if the history begins there.
        obstacle: why it cannot be replayed; None where it can.
        outcomes: hash of all observations, rewards and flags.
    """

    made_with: bytes | None = None
    obstacle: str | None = None
    starts: list[_Start] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    outcomes: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))


class RecordedEpisode(EpisodeReturn):
    """Save an episode by the environment itself, else as its actions.

    Recording costs an append and a hash a step.

    Args:
        make: makes the environment; it is called again where an instance that has played cannot be used.
    """

    def __init__(self, make: Callable[[], gymnasium.Env]) -> None:
        made_with = capture_luck()
        super().__init__(own_spaces(make()))
        self._make = make
        self._made_with = made_with
        self._used = False
        self._scalar_actions = isinstance(self.env.action_space, Discrete)
        inner = self.env.unwrapped
        self._stateful = inner if isinstance(inner, StatefulEnv) and _can_be_saved(self.env) else None
        self._clean = starts_clean(self.env)
        self._records = self._stateful is None
        self._history = _History(None if self._clean else made_with)
        self._checks_left = CHECKED_RESETS
        self._outliving: str | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        history = self._history
        if self._clean or history.obstacle or len(history.actions) > MAX_HISTORY_STEPS:
            history = self._history = _History()
        self._used = True
        if self._records:
            if not self._clean:
                forget_second_normal()
            generators = self._generators() if seed is not None or not history.starts else None
            history.starts.append(_Start(len(history.actions), None if seed is None else int(seed), generators))
            if options:
                history.obstacle = "it was reset with options, which are not recorded"
        else:
            history.starts.append(_Start(0, None, None))
        observation, info = self._reset(history, seed, options)
        if self._records:
            _feed(history.outcomes.update, observation)
        return observation, info

    def _reset(self, history: _History, seed: int | None, options: Any) -> tuple[Any, dict[str, Any]]:
        before = self._opaque_parts() if history.made_with is None else {}
        renew_physics(self.env)
        try:
            observation, info = super().reset(seed=seed, options=options)
        except BaseException:
            history.obstacle = "its reset failed"
            raise
        if before:
            parts = self._opaque_parts()
            self._outliving = next((parts[same][0] for same in parts if same in before), None)
        return observation, info

    def _opaque_parts(self) -> dict[int, tuple[str, Any]]:
        """The parts with state outside Python, in the first few resets."""
        if self._clean or not self._records or not self._checks_left or self._outliving:
            return {}
        self._checks_left -= 1
        try:
            return opaque_parts(self.env)
        except TooLargeError:  # which is found again when it is saved
            return {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        history = self._history
        if not self._records:
            return super().step(action)
        if not self._clean:
            forget_second_normal()
        if len(history.actions) <= MAX_RECORDED_STEPS:
            history.actions.append(action if self._scalar_actions else np.array(action))
        try:
            result = super().step(action)
        except BaseException:
            history.obstacle = "its step failed"
            raise
        _feed(history.outcomes.update, result[0])
        history.outcomes.update(_OUTCOME.pack(result[1], result[2], result[3]))
        return result

    def _generators(self) -> _Generators:
        own = generator_state(self)
        return _Generators(b"", [], own) if self._clean else _Generators(capture_luck(), space_states(self.env), own)

    # ── Saving ──────────────────────────────────────────────────────────────────────────────────────────────

    def save_state(self) -> bytes:
        """The episode so far.

        Raises:
            CannotRestoreError: it is longer than `MAX_RECORDED_STEPS`, or nothing would prove a replay.
        """
        history = self._history
        if not history.starts:
            raise CannotRestoreError("it has not been reset yet")
        counters = {"return": self._return, "length": self._length}
        if self._stateful is not None:
            facts = counters | {"limits": [getattr(layer, _ELAPSED_STEPS) for layer in _time_limits(self)]}
            return pack(facts, {"own": self._stateful.save_state()})
        if history.obstacle is not None:
            raise CannotRestoreError(history.obstacle)
        if len(history.actions) > MAX_RECORDED_STEPS:
            raise CannotRestoreError(
                f"its episode is longer than {MAX_RECORDED_STEPS:,} steps, the most that is recorded"
            )
        actions = np.asarray(history.actions)
        starts, blobs = _packed_starts(history.starts)
        facts = counters | {
            "starts": starts,
            "outcomes": history.outcomes.hexdigest(),
            "after": self._unseen(),
            "actions": [actions.dtype.str, list(actions.shape)],
        }
        blobs["actions"] = actions.tobytes()
        if history.made_with is not None:
            blobs["made_with"] = history.made_with
        try:
            return pack(facts, blobs)
        except TypeError:
            raise CannotRestoreError("the state of its random generator is not made of plain numbers") from None

    def _unseen(self) -> dict[str, Any]:
        """The state not shown by outcomes, to be compared after a replay.

        Raises:
            CannotRestoreError: it cannot be compared, and the history does not begin with the making.
        """
        generators = self._generators()
        unseen = {
            "luck": hashlib.blake2b(generators.luck, digest_size=16).hexdigest(),
            "own": generators.own,
            "spaces": generators.spaces,
        }
        if self._clean:
            return unseen
        whole = self._history.made_with is not None
        too_long = f"since it was made, it has played more than the {MAX_HISTORY_STEPS:,} steps that are replayed"
        if self._outliving and not whole:
            raise CannotRestoreError(f"its {self._outliving.rpartition('env.')[2]} outlives an episode, and {too_long}")
        try:
            return unseen | {"portrait": portrait(self.env)}
        except TooLargeError:
            if whole:
                return unseen
            raise CannotRestoreError(f"it has too much state to be compared, and {too_long}") from None

    # ── Restoring ───────────────────────────────────────────────────────────────────────────────────────────

    def restore_state(self, state: bytes) -> None:
        """Restore a state from `save_state`.

        Raises:
            CannotRestoreError: replaying the actions is not proved to lead there.
        """
        facts, blobs = unpack(state)
        try:
            if self._stateful is not None:
                self._restore_own(self._stateful, facts, blobs["own"])
            else:
                self._replay(facts, blobs)
        except CannotRestoreError:
            self._history = _History(obstacle="it could not be restored")
            raise
        except BaseException as error:
            self._history = _History(obstacle="it could not be restored")
            raise CannotRestoreError(f"{type(error).__name__} while restoring it: {error}") from error

    def _restore_own(self, env: StatefulEnv, facts: dict[str, Any], own: bytes) -> None:
        self.reset()  # the wrappers around the environment refuse a step before the first reset
        env.restore_state(own)
        self._return, self._length = facts["return"], facts["length"]
        for layer, elapsed in zip(_time_limits(self), facts["limits"], strict=True):
            setattr(layer, _ELAPSED_STEPS, elapsed)

    def _replay(self, facts: dict[str, Any], blobs: dict[str, bytes]) -> None:
        """Repeat the resets, and replay the same actions."""
        dtype, shape = facts["actions"]
        recorded = np.frombuffer(blobs["actions"], dtype=dtype).reshape(shape)
        actions = list(recorded) if self._scalar_actions else [np.array(action) for action in recorded]
        made_with = blobs.get("made_with")
        if not self._clean and (self._used or made_with not in (None, self._made_with)):
            self._remake(made_with)
        self._history = _History(made_with)
        starts, observation = list(_unpacked_starts(facts, blobs)), None
        for start, end in itertools.pairwise([*starts, _Start(len(actions), None, None)]):
            if start.generators:
                self._set_generators(start.generators)
            observation, _ = self.reset(seed=start.seed)
            for action in actions[start.step : end.step]:
                observation, *_ = self.step(action)
        if "starts" not in facts:
            self._compare_with_former(facts, observation)
            return
        counters = self._return, self._length
        if counters != (facts["return"], facts["length"]) or self._history.outcomes.hexdigest() != facts["outcomes"]:
            raise CannotRestoreError(
                "replaying its episode led to another observation or reward: it is not deterministic"
            )
        if self._unseen() != facts["after"]:
            raise CannotRestoreError(
                "replaying its episode led to another state: it keeps something that outlives an episode, or is not "
                "deterministic"
            )

    def _compare_with_former(self, facts: dict[str, Any], observation: Any) -> None:
        """Compare with the newest observation, as former versions did."""
        array = np.ascontiguousarray(observation)
        digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()
        same = digest == facts["observation"] and generator_state(self) == facts["generator_after"]
        known = self._clean and not kept_its_world(self.env)
        if not (known and same and (self._return, self._length) == (facts["return"], facts["length"])):
            raise CannotRestoreError("the version that saved it did not record enough to prove a replay")

    def _set_generators(self, generators: _Generators) -> None:
        if generators.luck:
            restore_luck(generators.luck)
            set_space_states(self.env, generators.spaces)
        set_generator_state(self, generators.own)

    def _remake(self, made_with: bytes | None) -> None:
        """Replace an instance after its episodes by a new one."""
        mode = getattr(self.env.unwrapped, "render_mode", None)
        with contextlib.suppress(Exception):
            self.env.close()
        if made_with is not None:
            restore_luck(made_with)
        self.env = own_spaces(self._make())
        self._made_with, self._used, self._checks_left = made_with or capture_luck(), False, CHECKED_RESETS
        self._outliving = None
        if getattr(self.env.unwrapped, "render_mode", None) != mode:  # while it is recorded
            with contextlib.suppress(AttributeError):
                self.env.unwrapped.render_mode = mode


def _packed_starts(starts: list[_Start]) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Resets as facts for JSON, and as raw bytes by name."""
    facts, blobs = [], {}
    for number, (step, seed, generators) in enumerate(starts):
        fact: dict[str, Any] = {"step": step, "seed": seed}
        if generators:
            fact |= {"own": generators.own, "spaces": generators.spaces}
            blobs[f"luck{number}"] = generators.luck
        facts.append(fact)
    return facts, blobs


def _unpacked_starts(facts: dict[str, Any], blobs: dict[str, bytes]) -> Iterator[_Start]:
    if "starts" not in facts:  # of a former version
        yield _Start(0, facts["seed"], _Generators(b"", [], facts["generator_before"]))
    for number, fact in enumerate(facts.get("starts", ())):
        luck = blobs.get(f"luck{number}")
        generators = None if luck is None else _Generators(luck, fact["spaces"], fact["own"])
        yield _Start(fact["step"], fact["seed"], generators)


def _feed(update: Callable[[bytes], None], observation: Any) -> None:
    """Add an observation of any space to a hash."""
    if isinstance(observation, np.ndarray | np.generic) and not observation.dtype.hasobject:
        update(observation.tobytes())
    elif isinstance(observation, Mapping):
        for key, value in observation.items():
            update(repr(key).encode())
            _feed(update, value)
    elif isinstance(observation, tuple | list):
        for value in observation:
            _feed(update, value)
    else:
        update(repr(observation).encode())


def _can_be_saved(env: gymnasium.Env) -> bool:
    """Whether only time limits among the layers have state of their own."""
    return only_known_layers(env) and all(hasattr(layer, _ELAPSED_STEPS) for layer in _time_limits(env))


def _time_limits(env: gymnasium.Env) -> list[TimeLimit]:
    layers, layer = [], env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, TimeLimit):
            layers.append(layer)
        layer = layer.env
    return layers
