"""The worker pool: a `gymnasium.vector.VectorEnv` over worker processes."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError, NoAsyncCallError
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ..errors import ConfigError, WorkerFailedError
from . import wire
from .clip_recorder import RecordedFrames
from .pipes import ReplyWaiter, WorkerHandle
from .roster import RESTORE_SECONDS, Replacement, Roster
from .shared_memory import Layout
from .sizing import group_slices, resolve_workers
from .wire import Request

CLOSE_SECONDS = 2.0
"""Time for workers to end by themselves when the pool closes."""


class PoolState(enum.Enum):
    """The pending request of a worker group."""

    IDLE = "idle"
    STEPPING = "step"
    RESETTING = "reset"
    CALLING = "call"
    SAVING = "save_states"
    RESTORING = "restore_states"


class WorkerPool(VectorEnv):
    """Several environments in each of several processes.

    Commands and small replies travel over pipes; observations, rewards and flags are written straight into shared
    memory by the workers. Two ways to use it:

    - as any `gymnasium.vector.VectorEnv`: `reset`, `step`, `call`, `render`, `close`, with Gymnasium's seeding,
      autoreset modes and ``final_obs``;
    - as a trainer does, in worker groups and slots: `send_step(group, actions, slot)` and `wait_step(group)` let one
      worker group step while the actions of another are computed, and each step's data lands in the named slot, so
      that T steps lie in `shared` as a rollout.

    Args:
        env_fns: one constructor for each of the N environments; pickled by value, lambdas are welcome.
        num_workers: processes, or ``"auto"`` for one a core.
        groups: worker groups that step independently of each other, or ``"auto"``.
        slots: moments that the shared memory holds (S ≥ 2).
        num_masked: actions that each environment masks (see `ppo_tui.envs.spaces`), whose masks are then in
            ``shared.action_masks``; 0 where none does.
        observation_space, action_space: of one environment. Where they are not given, one environment is made
            and closed in this process to learn them.
        autoreset_mode: what happens when an episode ends; Gymnasium's three modes.
        seeds: one for each environment, of the global random generators (numpy's, Python's, PyTorch's) and of those
            of its spaces, which it may draw from: all numbers repeat then, and a reset with a seed seeds these too.
            None seeds them by chance. No two environments share any in either case.
        infos: collect the environments' info dictionaries (each costs a pickle).
        copy: return copies of the observations rather than views that later steps overwrite.
        log_path: file for the workers' stdout and stderr, appended to; None leaves them as they are.
        step_timeout, start_timeout: seconds after which a silent worker counts as hung.
        preload: modules that the fork server imports once for all workers.
        wait: whether to return only when every worker is ready; else `wait_until_ready` waits for that.

    Raises:
        ConfigError: a space is no array of a fixed shape.
        WorkerError: a worker died, hung, or an environment could not be made.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gymnasium.Env]],
        *,
        num_workers: int | Literal["auto"] = "auto",
        groups: int | Literal["auto"] = 1,
        slots: int = 2,
        num_masked: int = 0,
        observation_space: gymnasium.Space | None = None,
        action_space: gymnasium.Space | None = None,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
        seeds: Sequence[int] | None = None,
        infos: bool = True,
        copy: bool = True,
        log_path: str | Path | None = None,
        step_timeout: float = 60.0,
        start_timeout: float = 120.0,
        preload: Sequence[str] = (),
        wait: bool = True,
    ) -> None:
        self.num_envs = len(env_fns)
        self.num_workers, self.num_groups = resolve_workers(num_workers, groups, self.num_envs)
        metadata: dict[str, Any] = {}
        if observation_space is None or action_space is None:
            observation_space, action_space, metadata, self.render_mode = _spaces_of(env_fns[0])
        self.metadata = {**metadata, "autoreset_mode": autoreset_mode}
        self.single_observation_space, self.single_action_space = observation_space, action_space
        self.observation_space = batch_space(observation_space, self.num_envs)
        self.action_space = batch_space(action_space, self.num_envs)
        self.copy = copy
        self.step_timeout = step_timeout
        self._slots, self._slot = slots, 0
        self._layout = Layout(
            slots=slots,
            num_envs=self.num_envs,
            num_workers=self.num_workers,
            observation_shape=_array_shape(observation_space, "observation"),
            observation_dtype=np.dtype(observation_space.dtype).str,
            action_shape=_array_shape(action_space, "action"),
            action_dtype=np.dtype(action_space.dtype).str,
            num_masked=num_masked,
        )
        self._roster = Roster(
            env_fns,
            self._layout,
            autoreset_mode=autoreset_mode,
            seeds=None if seeds is None else tuple(seeds),
            infos=infos,
            log_path=None if log_path is None else str(log_path),
            preload=preload,
        )
        self.shared = self._roster.shared
        self._groups = group_slices([worker.envs for worker in self.workers], self.num_groups)
        self._group_envs = [
            slice(self.workers[group.start].envs.start, self.workers[group.stop - 1].envs.stop)
            for group in self._groups
        ]
        self._group_states = [PoolState.IDLE] * self.num_groups
        self._all, *self._waiters = self._make_waiters()
        self._start_timeout, self._started = start_timeout, False
        if wait:
            try:
                self.wait_until_ready()
            except BaseException:
                self._roster.stop(deadline=time.monotonic())
                raise

    @property
    def workers(self) -> list[WorkerHandle]:
        """The parent's end of each worker; empty once the pool is closed."""
        return self._roster.workers

    @property
    def restarts(self) -> list[int]:
        """``[W]``: how often each worker has been replaced."""
        return self._roster.restarts

    def _make_waiters(self) -> list[ReplyWaiter]:
        """One waiter for all workers, then one for each worker group.

        A new worker needs new ones.
        """
        return [ReplyWaiter(self.workers), *(ReplyWaiter(self.workers[group]) for group in self._groups)]

    def wait_until_ready(self) -> None:
        """Wait until every worker has made its environments.

        Later calls return at once.

        Raises:
            WorkerError: a worker died, hung, or an environment could not be made.
        """
        if not self._started:
            self._all.wait(self._start_timeout)
            self._started = True

    # ── Worker groups and slots: the trainer's way ──────────────────────────────────────────────────────────

    def group_envs(self, group: int) -> slice:
        """The environments of worker group `group`."""
        return self._group_envs[group]

    def send_step(self, group: int, actions: np.ndarray, slot: int) -> None:
        """Step the environments of a worker group, into `slot`.

        Args:
            actions: ``[n, *A]``, one for each environment of the worker group.

        Raises:
            AlreadyPendingCallError: the worker group has a pending request.
        """
        self._expect(group, PoolState.IDLE, "send_step")
        self.shared.actions[self.group_envs(group)] = actions
        message = wire.encode_step(slot)
        self._group_states[group] = PoolState.STEPPING
        for worker in self.workers[self._groups[group]]:
            worker.send(message)

    def wait_step(self, group: int, timeout: float | None = None) -> list[tuple[int, dict[str, Any]]]:
        """Wait until a worker group has stepped; returns (environment, info) pairs.

        Raises:
            NoAsyncCallError: the worker group has no pending step.
            WorkerError: a worker died, hung, or an environment raised.
        """
        self._expect(group, PoolState.STEPPING, "wait_step")
        self._group_states[group] = PoolState.IDLE
        replies = self._waiters[group].wait(self.step_timeout if timeout is None else timeout)
        for worker in self.workers[self._groups[group]]:
            worker.answer_seconds += self.shared.answered_at[worker.index] - worker.sent_at
        return [pair for reply in replies if reply for pair in reply]

    def reset_into(
        self, slot: int, seeds: Sequence[int | None], *, mask: Any = None, options: dict[str, Any] | None = None
    ) -> list[tuple[int, dict[str, Any]]]:
        """Reset the environments and write their first observations into `slot`.

        Args:
            mask: ``[N]`` bool, which of them; None for all.
        """
        mask = np.ones(self.num_envs, dtype=bool) if mask is None else mask
        replies = self._ask_all(
            PoolState.RESETTING,
            [
                wire.encode(Request.RESET, (slot, list(seeds[w.envs]), list(mask[w.envs]), options))
                for w in self.workers
            ],
            timeout=max(self.step_timeout, self._start_timeout),  # first resets often load a game
        )
        return [pair for reply in replies if reply for pair in reply]

    def save_states(self) -> list[bytes]:
        """The whole state of each environment, between two steps (see `ppo_tui.envs.state`).

        Another pool of the same environments, in another process, can restore it.
        """
        message = wire.encode(Request.SAVE_STATES)
        replies = self._ask_all(PoolState.SAVING, [message] * self.num_workers)
        return [state for reply in replies for state in reply]

    def restore_states(self, states: Sequence[bytes], slot: int) -> dict[int, str]:
        """Restore each environment from its state.

        One that cannot be restored begins a new episode, and its first observation is written into `slot`. Nothing
        else is written into the shared memory: the caller keeps the last observations of the others.

        Args:
            states: one for each environment of the pool, as `save_states` gave them.

        Returns:
            Environment → the reason, of those that began a new episode.
        """
        messages = [wire.encode(Request.RESTORE_STATES, (slot, list(states[w.envs]))) for w in self.workers]
        timeout = max(self.step_timeout, RESTORE_SECONDS)
        replies = self._ask_all(PoolState.RESTORING, messages, timeout=timeout)
        return {env: reason for reply in replies for env, reason in reply}

    def replace(self, index: int) -> Replacement:
        """Replace a failed worker; the others may have pending requests.

        Args:
            index: from the `causes` of a `WorkerFailedError`.

        Raises:
            WorkerError: the new one died, hung, or an environment could not be made.
        """
        try:
            self._roster.replace(index, self._start_timeout)
        except WorkerFailedError:  # of the new one, which may be replaced as well
            self._all, *self._waiters = self._make_waiters()
            raise
        self._all, *self._waiters = self._make_waiters()
        return Replacement(self.workers[index], self.shared.actions, self.step_timeout)

    def start_recording(self, env: int, frames: int) -> None:
        """Record environment `env` from its next step on; see `ClipRecorder`.

        Args:
            frames: the recording stops after so many.

        Raises:
            AlreadyPendingCallError: its worker group has a pending request.
            WorkerError: a worker died or hung.
        """
        self._ask(env, wire.encode(Request.START_RECORDING, (env, frames)), "start_recording")

    def fetch_recording(self, env: int, *, stop: bool) -> RecordedFrames | None:
        """The frames of `env` recorded since the last call.

        None where its worker has no recording, as a new worker has none.

        Raises as `start_recording` does.

        Args:
            stop: whether to end the recording.
        """
        return self._ask(env, wire.encode(Request.FETCH_RECORDING, stop), "fetch_recording")

    def _ask(self, env: int, message: bytes, caller: str) -> Any:
        """Send the worker of `env` a message; return its reply's payload."""
        group = next(g for g, envs in enumerate(self._group_envs) if envs.start <= env < envs.stop)
        self._expect(group, PoolState.IDLE, caller)
        worker = next(worker for worker in self.workers if worker.envs.start <= env < worker.envs.stop)
        self._group_states[group] = PoolState.CALLING
        try:
            worker.send(message)
            return self._waiters[group].wait(self.step_timeout)[worker.index - self._groups[group].start]
        finally:
            self._group_states[group] = PoolState.IDLE

    def _ask_all(
        self,
        state: PoolState,
        messages: Sequence[bytes],
        *,
        timeout: float | None = None,
    ) -> list[Any]:
        """Send each worker its message and return all their payloads."""
        for group in range(self.num_groups):
            self._expect(group, PoolState.IDLE, state.value)
        self._group_states = [state] * self.num_groups
        try:
            for worker, message in zip(self.workers, messages, strict=True):
                worker.send(message)
            return self._all.wait(self.step_timeout if timeout is None else timeout)
        finally:
            self._group_states = [PoolState.IDLE] * self.num_groups

    def _expect(self, group: int, state: PoolState, caller: str) -> None:
        if self.closed:
            raise ClosedEnvironmentError(f"{caller} was called on a closed pool")
        self.wait_until_ready()
        pending = self._group_states[group]
        if pending is state:
            return
        if state is PoolState.IDLE:
            raise AlreadyPendingCallError(
                f"{caller} was called while worker group {group} has a pending {pending.value!r}: wait for it first",
                pending.value,
            )
        raise NoAsyncCallError(
            f"{caller} was called, but worker group {group} was sent no {state.value!r}", state.value
        )

    # ── gymnasium.vector.VectorEnv ──────────────────────────────────────────────────────────────────────────

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start new episodes.

        Environment i is seeded with ``seed + i``, or with ``seed[i]``.

        ``options["reset_mask"]``, ``[N]`` bool, restricts that to some of the environments.
        """
        if seed is None or isinstance(seed, int):
            seed = [None if seed is None else seed + i for i in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds for {self.num_envs} environments: give one each, or a single one")
        options = dict(options) if options is not None else None
        mask = _checked_mask(options.pop("reset_mask"), self.num_envs) if options and "reset_mask" in options else None
        pairs = self.reset_into(self._slot, seed, mask=mask, options=options)
        return self._observations(), self._merged(pairs)

    def step_async(self, actions: Any) -> None:
        """Send every environment its action; `step_wait` collects the results."""
        actions = np.asarray(actions, dtype=self._layout.action_dtype)
        if actions.shape != (self.num_envs, *self._layout.action_shape):
            raise ValueError(
                f"actions of shape {actions.shape}: expected {(self.num_envs, *self._layout.action_shape)}"
            )
        self._slot = (self._slot + 1) % self._slots
        for group in range(self.num_groups):
            self.send_step(group, actions[self.group_envs(group)], self._slot)

    def step_wait(
        self, timeout: float | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """The results of the actions sent by `step_async`, as `step` returns them."""
        pairs = [pair for group in range(self.num_groups) for pair in self.wait_step(group, timeout)]
        shared, slot = self.shared, self._slot
        return (
            self._observations(),
            shared.rewards[slot].copy(),
            shared.terminations[slot].copy(),
            shared.truncations[slot].copy(),
            self._merged(pairs),
        )

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Observations ``[N, *S]``, rewards, terminations and truncations ``[N]``, and the merged infos."""
        self.step_async(actions)
        return self.step_wait()

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The attribute or the method's result in each environment."""
        message = wire.encode(Request.CALL, (name, args, kwargs))
        replies = self._ask_all(PoolState.CALLING, [message] * self.num_workers)
        return tuple(result for reply in replies for result in reply)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """The attribute `name` of each environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute in each environment, to its own or one value."""
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(f"{len(values)} values for {self.num_envs} environments: give one each, or a single one")
        self._ask_all(
            PoolState.CALLING, [wire.encode(Request.SET_ATTR, (name, list(values[w.envs]))) for w in self.workers]
        )

    def render(self) -> tuple[Any, ...]:
        """The rendered picture of each environment."""
        return self.call("render")

    def close_extras(self, timeout: float = CLOSE_SECONDS, terminate: bool = False) -> None:
        """End the workers; kill those still alive after `timeout` seconds.

        `terminate` kills them at once.
        """
        self._roster.stop(time.monotonic() + (0.0 if terminate else timeout))

    def _observations(self) -> np.ndarray:
        view = self.shared.observations[self._slot]
        return view.copy() if self.copy else view

    def _merged(self, pairs: list[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        for n, info in pairs:
            infos = self._add_info(infos, info, n)
        return infos

    def __del__(self) -> None:
        if not self.closed and hasattr(self, "_roster"):
            self.close(terminate=True)


def _spaces_of(
    env_fn: Callable[[], gymnasium.Env],
) -> tuple[gymnasium.Space, gymnasium.Space, dict[str, Any], str | None]:
    env = env_fn()
    try:
        return env.observation_space, env.action_space, dict(env.metadata), env.render_mode
    finally:
        env.close()


def _array_shape(space: gymnasium.Space, what: str) -> tuple[int, ...]:
    if space.shape is None or space.dtype is None:
        raise ConfigError(
            f"the pool cannot share the {what} space {type(space).__name__}",
            hint="it needs an array of a fixed shape: Box, Discrete, MultiDiscrete or MultiBinary",
        )
    return space.shape


def _checked_mask(mask: Any, num_envs: int) -> np.ndarray:
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,) or not mask.any():
        raise ValueError(f"options['reset_mask'] must be a bool array of shape ({num_envs},) with a True in it")
    return mask
