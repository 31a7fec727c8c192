"""The actor-learners, as the parent process sees them."""

from __future__ import annotations

import dataclasses
import functools
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from torch import nn

from ...config import Config
from ...envs import EnvInfo, make_env
from ...errors import WorkerError, WorkerFailedError
from ...protocol import WatchGame
from ...system.processes import CoreWaits
from ...workers import StartFailure, by_value, wire
from ...workers.pipes import SLICE_SECONDS, ReplyWaiter, WorkerHandle
from ...workers.pool import CLOSE_SECONDS
from ...workers.process import start_worker
from ...workers.shared_memory import allocate
from ...workers.wire import Request
from ..start import boot_workers
from .shared import SharedLayout, SharedMemory, lay_out
from .worker import A3CSetup, actor_learner


class ActorLearners:
    """One process for each environment, all learning unless they are paused.

    Args:
        policy: its weights become views of the shared ones, and keep their values.
        log_path: file for the workers' stdout and stderr; None leaves them as they are.

    Attributes:
        shared: the shared memory of parent and workers.
        restarts: replacements of each worker so far.
        start_failures: the workers lost before they were ready.

    Raises:
        WorkerError: a worker could not be started.
    """

    def __init__(self, config: Config, info: EnvInfo, policy: nn.Module, log_path: Path | None) -> None:
        self.num_envs = self.num_workers = self.num_groups = config.rollout.num_envs
        self._timeout, self._start_timeout = config.workers.step_timeout, config.workers.start_timeout
        self._max_restarts = config.workers.max_restarts
        self.start_failures: list[StartFailure] = []
        layout = SharedLayout(
            num_workers=self.num_workers,
            num_parameters=sum(parameter.numel() for parameter in policy.parameters()),
            optimizer=config.optim.name,
        )
        env_fn = by_value.dumps(functools.partial(make_env, config.env))
        self._setup = A3CSetup(0, 0, config, info, env_fn, layout, None if log_path is None else str(log_path))
        self._memory = allocate(layout, boot_workers(config))
        self.shared = SharedMemory(layout, self._memory)
        self.shared.paused = True
        self.shared.weights.copy_(nn.utils.parameters_to_vector(policy.parameters()).detach())
        lay_out(policy, self.shared.weights)
        self.restarts = [0] * self.num_workers
        self.workers: list[WorkerHandle] = []
        self._poll = select.poll()
        self._by_descriptor: dict[int, WorkerHandle] = {}
        self._silent = [0.0] * self.num_workers
        self._core_waits = CoreWaits()
        self._unseen = 0.0  # seconds since the last look at who waits for a core
        self._asked_at = time.monotonic()
        self._watched: WatchGame | None = None
        try:
            for index in range(self.num_workers):
                self.workers.append(self._start(index))
        except BaseException:
            self.close()
            raise

    def _start(self, index: int) -> WorkerHandle:
        setup = dataclasses.replace(self._setup, index=index, restarts=self.restarts[index])
        boot = functools.partial(boot_workers, setup.config)
        process, pipe = start_worker(boot, setup, self._memory, actor_learner)
        handle = WorkerHandle(index, slice(index, index + 1), process, pipe, streams=True)
        handle.replied = False
        self._by_descriptor[pipe.fileno()] = handle
        self._poll.register(pipe.fileno(), select.POLLIN)
        return handle

    def group_envs(self, group: int) -> slice:
        """The environments of a worker group: each worker is one."""
        return slice(group, group + 1)

    def wait_until_ready(self) -> None:
        """Wait until every worker has made its environment and its networks.

        Those lost meanwhile are replaced, and listed in `start_failures`.

        Raises:
            WorkerError: a worker was lost too often, or raised.
        """
        while True:
            try:
                ReplyWaiter(self.workers).wait(self._start_timeout, self._timeout)
                return
            except WorkerFailedError as failure:
                for index, cause in failure.causes.items():
                    if self.restarts[index] >= self._max_restarts:
                        raise failure.after_restarts(self._max_restarts, "before its first step") from None
                    self.replace(index)
                    self.start_failures.append(StartFailure(index, cause, self.restarts[index]))

    def pause(self, paused: bool) -> None:
        """Pause the workers after their next gradient, or let them continue."""
        self._silent = [min(seconds, 0.0) for seconds in self._silent]
        self.shared.paused = paused

    def receive(self, seconds: float) -> Iterator[tuple[int, Any]]:
        """Receive (worker, payload) pairs, waiting up to `seconds` for the first.

        The payload is a `WorkerError` for a worker that died, raised, or has been silent for too long.
        """
        for descriptor, _ in self._poll.poll(seconds * 1000):
            handle = self._by_descriptor[descriptor]  # also readable where the process is gone
            handle.replied = False
            try:
                payload = handle.receive()
            except WorkerError as error:
                yield handle.index, error
                continue
            self._silent[handle.index] = 0.0
            if handle.replied and payload is not None:  # None comes from a new worker that is ready
                yield handle.index, payload
        now = time.monotonic()
        elapsed, self._asked_at = min(now - self._asked_at, SLICE_SECONDS), now
        self._unseen += elapsed
        if self._unseen >= SLICE_SECONDS:
            for handle in self.workers:
                self._silent[handle.index] -= self._core_waits.within(handle.pid, self._unseen)
            self._unseen = 0.0
        for handle in list(self.workers):
            self._silent[handle.index] += elapsed
            if self._silent[handle.index] > self._timeout:
                yield handle.index, handle.fail(handle.hang_error(self._timeout))

    def replace(self, index: int) -> None:
        """Kill worker `index` if it is alive, and start a new one.

        The new worker begins a new episode.
        """
        lost = self.workers[index]
        self._poll.unregister(lost.pipe)
        del self._by_descriptor[lost.pipe.fileno()]
        lost.join(deadline=time.monotonic())
        self.restarts[index] += 1
        self._silent[index] = self._timeout - self._start_timeout  # a starting worker has the start timeout
        self.workers[index] = self._start(index)
        if self._watched:
            self._send_watch(self.workers[index], self._watched)

    def watch(self, command: WatchGame) -> None:
        """Let the worker of this environment send clips, and the others none."""
        self._watched = command
        for handle in self.workers:
            self._send_watch(handle, command)

    def _send_watch(self, handle: WorkerHandle, command: WatchGame) -> None:
        watched = () if command.env is None else (command.env, *command.beside)
        own = msgspec.structs.replace(
            command,
            env=0 if handle.index in watched else None,
            fps=command.fps / max(1, len(watched)),
            beside=(),
        )
        handle.send(wire.encode(Request.START_RECORDING, own))

    def close(self) -> None:
        """End the workers; kill any still alive after `CLOSE_SECONDS`."""
        deadline = time.monotonic() + CLOSE_SECONDS
        for handle in self.workers:
            handle.ask_to_end()
        for handle in self.workers:
            handle.join(deadline)
        self.workers = []
