"""Worker processes in groups, stepping into slots of shared memory."""

from __future__ import annotations

import enum
import functools
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
from .probing import describe_env
from .process import worker_context
from .roster import RESTORE_SECONDS, Replacement, Roster, StartFailure
from .shared_memory import Layout
from .sizing import group_slices, resolve_workers
from .wire import Request


class PoolState(enum.Enum):
    """The pending request of a worker group."""

    IDLE = "idle"
    STEPPING = "step"
    RESETTING = "reset"
    CALLING = "call"
    SAVING = "save_states"
    RESTORING = "restore_states"


_SENDERS = {
    "wait_step": "send_step",
    "step_wait": "step_async",
    "reset_wait": "reset_async",
    "call_wait": "call_async",
}
"""A method that waits → the one to call before it."""


class WorkerGroups(VectorEnv):
    """The pool as a trainer drives it, in worker groups and slots.

    Arguments and errors are those of `WorkerPool`, which adds Gymnasium's methods.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gymnasium.Env]],
        *,
        num_workers: int | Literal["auto"] = "auto",
        groups: int | Literal["auto"] = 1,
        slots: int = 2,
        num_masked: int = 0,
        num_numbers: int = 0,
        observation_space: gymnasium.Space | None = None,
        action_space: gymnasium.Space | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        seeds: Sequence[int] | None = None,
        infos: bool = True,
        copy: bool = True,
        log_path: str | Path | None = None,
        step_timeout: float = 60.0,
        start_timeout: float = 120.0,
        max_restarts: int = 5,
        preload: Sequence[str] = (),
        wait: bool = True,
    ) -> None:
        self.num_envs = len(env_fns)
        self.num_workers, self.num_groups = resolve_workers(num_workers, groups, self.num_envs)
        metadata: dict[str, Any] = {}
        if observation_space is None or action_space is None:
            boot = functools.partial(worker_context, preload)
            description = describe_env(env_fns[0], boot, start_timeout)
            observation_space, action_space, metadata, self.render_mode = description
        autoreset_mode = AutoresetMode(autoreset_mode)
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
            num_numbers=num_numbers,
        )
        self._roster = Roster(
            env_fns,
            self._layout,
            spaces=(observation_space, action_space),
            autoreset_mode=autoreset_mode,
            seeds=None if seeds is None else tuple(seeds),
            infos=infos,
            log_path=None if log_path is None else str(log_path),
            preload=preload,
            max_restarts=max_restarts,
        )
        self.shared = self._roster.shared
        self._groups = group_slices([worker.envs for worker in self.workers], self.num_groups)
        self._group_envs = [
            slice(self.workers[group.start].envs.start, self.workers[group.stop - 1].envs.stop)
            for group in self._groups
        ]
        self._group_states = [PoolState.IDLE] * self.num_groups
        self._awaited: PoolState | None = None  # by the user of an `…_async` method
        self._sent: Sequence[bytes] = ()  # to each worker, by `_send_all`
        self._all, *self._waiters = self._make_waiters()
        self._start_timeout, self._started = start_timeout, False
        self._unused = True
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
    def ready(self) -> int:
        """How many workers have made their environments; any thread may ask."""
        return len(self.workers) if self._started else sum(worker.has_answered for worker in self.workers)

    @property
    def restarts(self) -> list[int]:
        """``[W]``: how often each worker has been replaced."""
        return self._roster.restarts

    @property
    def start_failures(self) -> list[StartFailure]:
        """Losses before the first answer; the caller may empty the list."""
        return self._roster.start_failures

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
            self._wait_for_all(self._start_timeout)
            self._started = True

    def _wait_for_all(self, timeout: float, messages: Sequence[bytes] | None = None) -> list[Any]:
        """All workers' payloads; before their first answer, those lost are replaced.

        Args:
            messages: their requests, which a new worker gets too.
        """
        earlier: dict[int, Any] = {}
        while True:
            try:
                replies = self._all.wait(timeout, self.step_timeout)
            except WorkerFailedError as failure:
                if not self._unused:
                    raise
                earlier |= failure.replies
                try:
                    replaced = self._roster.replace_lost(failure, self._start_timeout, self.step_timeout)
                finally:
                    self._all, *self._waiters = self._make_waiters()
                for index in replaced:
                    if messages is not None:
                        self.workers[index].send(messages[index])
            else:
                return [earlier.get(index, reply) for index, reply in enumerate(replies)]

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
        self._unused = False
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
        replies = self._waiters[group].wait(self.step_timeout if timeout is None else timeout, self.step_timeout)
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
        self._send_reset("reset", slot, seeds, mask, options)
        return self._receive_reset()

    def _send_reset(self, caller: str, slot: int, seeds: Sequence[int | None], mask: Any, options: Any) -> None:
        messages = [
            wire.encode(Request.RESET, (slot, list(seeds[w.envs]), list(mask[w.envs]), options)) for w in self.workers
        ]
        self._send_all(PoolState.RESETTING, caller, messages)

    def _receive_reset(self, timeout: float | None = None) -> list[tuple[int, dict[str, Any]]]:
        # First resets often load a game.
        replies = self._receive_all(timeout, own_timeout=max(self.step_timeout, self._start_timeout))
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
            self._roster.replace(index, self._start_timeout, self.step_timeout)
        except WorkerFailedError:  # of the new one, which may be replaced as well
            self._all, *self._waiters = self._make_waiters()
            raise
        self._all, *self._waiters = self._make_waiters()
        return Replacement(self.workers[index], self.shared.actions, self.step_timeout)

    def start_recording(self, env: int, frames: int, every: int = 1, pictures: bool = True) -> None:
        """Record environment `env` from its next step on.

        Args:
            frames, every, pictures: as for `ClipRecorder`.

        Raises:
            AlreadyPendingCallError: its worker group has a pending request.
            WorkerError: a worker died or hung.
        """
        self._ask(env, wire.encode(Request.START_RECORDING, (env, frames, every, pictures)), "start_recording")

    def fetch_recording(self, env: int, *, stop: bool) -> RecordedFrames | None:
        """The frames of `env` recorded since the last call.

        None where its worker has no recording, as a new worker has none.

        Raises as `start_recording` does.

        Args:
            stop: whether to end the recording.
        """
        return self._ask(env, wire.encode(Request.FETCH_RECORDING, (env, stop)), "fetch_recording")

    def _ask(self, env: int, message: bytes, caller: str) -> Any:
        """Send the worker of `env` a message; return its reply's payload."""
        group = next(g for g, envs in enumerate(self._group_envs) if envs.start <= env < envs.stop)
        self._expect(group, PoolState.IDLE, caller)
        worker = next(worker for worker in self.workers if worker.envs.start <= env < worker.envs.stop)
        self._group_states[group] = PoolState.CALLING
        self._unused = False
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
        self._send_all(state, state.value, messages)
        return self._receive_all(own_timeout=timeout)

    def _send_all(self, state: PoolState, caller: str, messages: Sequence[bytes]) -> None:
        self._expect_all(PoolState.IDLE, caller)
        self._group_states = [state] * self.num_groups
        self._sent = messages
        for worker, message in zip(self.workers, messages, strict=True):
            worker.send(message)

    def _receive_all(self, timeout: float | None = None, *, own_timeout: float | None = None) -> list[Any]:
        """All payloads.

        Args:
            timeout: the user's, after which no worker is replaced.
            own_timeout: instead of `step_timeout`.
        """
        try:
            if timeout is None:
                replies = self._wait_for_all(self.step_timeout if own_timeout is None else own_timeout, self._sent)
            else:
                replies = self._all.wait(timeout)
            self._unused = False
            return replies
        finally:
            self._group_states = [PoolState.IDLE] * self.num_groups

    def _expect_all(self, state: PoolState, caller: str) -> None:
        for group in range(self.num_groups):
            self._expect(group, state, caller)

    def _expect(self, group: int, state: PoolState, caller: str) -> None:
        if self.closed:
            raise ClosedEnvironmentError(f"{caller} was called on a closed pool")
        self.wait_until_ready()
        pending = self._group_states[group]
        if pending is state:
            return
        if state is PoolState.IDLE:
            raise AlreadyPendingCallError(
                f"Calling `{caller}` while waiting for a pending call to `{pending.value}` to complete", pending.value
            )
        raise NoAsyncCallError(f"Calling `{caller}` without any prior call to `{_SENDERS[caller]}`.", state.value)


def _array_shape(space: gymnasium.Space, what: str) -> tuple[int, ...]:
    if space.shape is None or space.dtype is None:
        raise ConfigError(
            f"the pool cannot share the {what} space {type(space).__name__}",
            hint="it needs an array of a fixed shape: Box, Discrete, MultiDiscrete or MultiBinary",
        )
    return space.shape
