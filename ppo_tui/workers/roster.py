"""The worker processes of a pool: start, replace and end them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from . import wire
from .pipes import ReplyWaiter, WorkerHandle
from .process import start_worker, worker_context
from .shared_memory import Layout, allocate, map_arrays
from .sizing import env_slices
from .wire import Request
from .worker import WorkerSetup, worker_main

RESTORE_SECONDS = 120.0
"""Minimum timeout for restoring environments: some play a whole episode again."""


class Roster:
    """The W workers of one pool, on one block of shared memory.

    Args:
        env_fns: one constructor for each environment; pickled by value.
        seeds: as for `WorkerPool`.
        preload: modules that the fork server imports once for all workers.

    Attributes:
        workers: the parent's end of each, in order.
        shared: views on the shared memory.
        restarts: ``[W]``, how often each has been replaced.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gymnasium.Env]],
        layout: Layout,
        *,
        autoreset_mode: AutoresetMode,
        seeds: tuple[int, ...] | None,
        infos: bool,
        log_path: str | None,
        preload: Sequence[str],
    ) -> None:
        self._preload = preload
        context = worker_context(preload)
        self._shared_memory = allocate(layout, context)
        self.shared = map_arrays(layout, self._shared_memory)
        self.restarts = [0] * layout.num_workers
        self._setups = [
            WorkerSetup(
                index=index,
                env_fns=cloudpickle.dumps(list(env_fns[envs])),
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

    def replace(self, index: int, timeout: float) -> None:
        """Kill worker `index` and wait until a new one is ready.

        Any thread may call it, under a Textual screen too: the fork server is the process that starts the worker.

        Raises:
            WorkerError: the new one died, hung, or an environment could not be made.
        """
        self.workers[index].join(deadline=time.monotonic())
        self.workers[index] = self._start(self._setups[index])
        self.restarts[index] += 1
        ReplyWaiter([self.workers[index]]).wait(timeout)

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
        return self._waiter.wait(self._timeout if timeout is None else timeout)[0]
