"""The worker processes of a pool: start, replace and end them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cloudpickle
import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from ..errors import WorkerFailedError
from . import by_value, wire
from .pipes import ReplyWaiter, WorkerHandle
from .process import start_worker, worker_context
from .shared_memory import Layout, allocate, map_arrays
from .sizing import env_slices
from .wire import Request
from .worker import WorkerSetup, worker_main

RESTORE_SECONDS = 120.0
"""Minimum timeout for restoring environments: some play a whole episode again."""


class StartFailure(NamedTuple):
    """The loss of a worker before the first request was answered.

    Attributes:
        cause: in a few words.
        losses: how often it was lost so far.
    """

    worker: int
    cause: str
    losses: int


class Roster:
    """The W workers of one pool, on one block of shared memory.

    Args:
        env_fns: one constructor for each environment; pickled by value.
        spaces: observation and action space of each of them.
        seeds: as for `WorkerPool`.
        preload: modules that the fork server imports once for all workers.
        max_restarts: see `replace_lost`.

    Attributes:
        workers: the parent's end of each, in order.
        shared: views on the shared memory.
        restarts: ``[W]``, how often each has been replaced.
        start_failures: the losses before the first request was answered.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gymnasium.Env]],
        layout: Layout,
        *,
        spaces: tuple[gymnasium.Space, gymnasium.Space],
        autoreset_mode: AutoresetMode,
        seeds: tuple[int, ...] | None,
        infos: bool,
        log_path: str | None,
        preload: Sequence[str],
        max_restarts: int,
    ) -> None:
        self._preload, self._max_restarts = preload, max_restarts
        context = worker_context(preload)
        self._shared_memory = allocate(layout, context)
        self.shared = map_arrays(layout, self._shared_memory)
        self.shared.numbers.fill(np.nan)
        self.restarts = [0] * layout.num_workers
        self.start_failures: list[StartFailure] = []
        self._setups = [
            WorkerSetup(
                index=index,
                env_fns=by_value.dumps(list(env_fns[envs])),
                spaces=cloudpickle.dumps(spaces),
                first_env=envs.start,
                num_envs=envs.stop - envs.start,
                layout=layout,
                autoreset_mode=autoreset_mode,
                seeds=None if seeds is None else seeds[envs],
                infos=infos,
                log_path=log_path,
            )
            for index, envs in enumerate(env_slices(layout.num_envs, layout.num_workers))
        ]
        self.workers: list[WorkerHandle] = []
        try:
            for setup in self._setups:
                self.workers.append(self._start(setup))
        except BaseException:
            self.stop(deadline=time.monotonic())
            raise

    def replace(self, index: int, timeout: float, stopped_timeout: float) -> None:
        """Kill worker `index` and wait until a new one is ready.

        Any thread may call it, under a Textual screen too: the fork server is the process that starts the worker.

        Raises:
            WorkerError: the new one died, hung, or an environment could not be made.
        """
        self.workers[index].join(deadline=time.monotonic())
        self.workers[index] = self._start(self._setups[index])
        self.restarts[index] += 1
        ReplyWaiter([self.workers[index]]).wait(timeout, stopped_timeout)

    def replace_lost(self, failure: WorkerFailedError, timeout: float, stopped_timeout: float) -> list[int]:
        """Replace the workers lost at the start; return their numbers.

        New ones that are lost as well are replaced again.

        Raises:
            WorkerFailedError: one was lost more than `max_restarts` times.
        """
        replaced, causes = set(), dict(failure.causes)
        while causes:
            index = min(causes)
            cause = causes.pop(index)
            if self.restarts[index] >= self._max_restarts:
                raise failure.after_restarts(self._max_restarts, "before its first step")
            replaced.add(index)
            try:
                self.replace(index, timeout, stopped_timeout)
            except WorkerFailedError as again:
                failure, causes = again, causes | again.causes
            self.start_failures.append(StartFailure(index, cause, self.restarts[index]))
        return sorted(replaced)

    def stop(self, deadline: float) -> None:
        """End the workers; kill those still alive at `deadline` (`time.monotonic` seconds)."""
        for worker in self.workers:
            worker.ask_to_end()
        for worker in self.workers:
            worker.join(deadline)
        self.workers.clear()

    def _start(self, setup: WorkerSetup) -> WorkerHandle:
        envs = slice(setup.first_env, setup.first_env + setup.num_envs)
        boot = functools.partial(worker_context, self._preload)
        handle = WorkerHandle(setup.index, envs, *start_worker(boot, setup, self._shared_memory, worker_main))
        handle.replied = False
        return handle


class Replacement:
    """A new worker, driven alone to the state of the failed one.

    The others may be in the middle of a step. Its methods raise `WorkerError` as those of `WorkerPool` do.

    Args:
        timeout: seconds after which it counts as hung.
    """

    def __init__(self, worker: WorkerHandle, shared_actions: np.ndarray, timeout: float) -> None:
        self.index, self.envs = worker.index, worker.envs
        self._worker, self._actions, self._timeout = worker, shared_actions, timeout
        self._waiter = ReplyWaiter([worker])

    def restore(self, states: Sequence[bytes], slot: int) -> dict[int, str]:
        """Restore its environments, as `WorkerPool.restore_states` does, from one state each."""
        reply = self._ask(
            wire.encode(Request.RESTORE_STATES, (slot, list(states))), max(self._timeout, RESTORE_SECONDS)
        )
        return dict(reply)

    def step(self, actions: np.ndarray, slot: int) -> list[tuple[int, dict[str, Any]]]:
        """Step its n environments with actions ``[n, *A]``, into `slot`."""
        self._actions[self.envs] = actions
        return self._ask(wire.encode_step(slot)) or []

    def reset(self, seeds: Sequence[int | None], slot: int, mask: Sequence[bool]) -> list[tuple[int, dict[str, Any]]]:
        """Reset its environments in `mask`; their first observations go into `slot`."""
        return self._ask(wire.encode(Request.RESET, (slot, list(seeds), list(mask), None))) or []

    def _ask(self, message: bytes, timeout: float | None = None) -> Any:
        self._worker.send(message)
        return self._waiter.wait(self._timeout if timeout is None else timeout, self._timeout)[0]
