"""The parent's side of the actor-learners."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from torch import nn

from ...config import Config
from ...envs import EnvInfo
from ...errors import WorkerError
from ...protocol import WatchGame
from ...workers import wire
from ...workers.handle import ReplyWaiter, WorkerHandle
from ...workers.memory import allocate
from ...workers.pool import CLOSE_SECONDS
from ...workers.process import start_worker
from ...workers.wire import Request
from ..start import boot_workers
from .shared import SharedLayout, SharedMemory, lay_out
from .worker import A3CSetup, actor_learner


class ActorLearners:
    """One process for each environment, all learning from the start of `go` on.

    Args:
        policy: its weights become views of the shared ones, with the values that they have.
        log_path: file that the workers' stdout and stderr are appended to; None leaves them as they are.

    Attributes:
        shared: what parent and workers share.
        restarts: how often each worker has been replaced: never, as nobody could say where it stood.

    Raises:
        WorkerError: a worker could not be started.
    """

    def __init__(self, config: Config, info: EnvInfo, policy: nn.Module, log_path: Path | None) -> None:
        self.num_envs = self.num_workers = self.num_groups = config.rollout.num_envs
        self._timeout, self._start_timeout = config.workers.step_timeout, config.workers.start_timeout
        layout = SharedLayout(
            num_workers=self.num_workers,
            num_parameters=sum(parameter.numel() for parameter in policy.parameters()),
            optimizer=config.optim.name,
        )
        context = boot_workers(config)
        memory = allocate(layout, context)
        self.shared = SharedMemory(layout, memory)
        self.shared.held = True
        self.shared.weights.copy_(nn.utils.parameters_to_vector(policy.parameters()).detach())
        lay_out(policy, self.shared.weights)
        self.restarts = [0] * self.num_workers
        self.workers: list[WorkerHandle] = []
        try:
            for index in range(self.num_workers):
                setup = A3CSetup(index, config, info, layout, None if log_path is None else str(log_path))
                started = start_worker(context, setup, memory, actor_learner)
                handle = WorkerHandle(index, slice(index, index + 1), *started, streams=True)
                handle.replied = False
                self.workers.append(handle)
        except BaseException:
            self.close()
            raise
        self._heard_at = [time.monotonic()] * self.num_workers
        self._poll = select.poll()
        self._by_descriptor = {handle.pipe.fileno(): handle for handle in self.workers}
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.POLLIN)

    def group_envs(self, group: int) -> slice:
        """Each worker decides for its own environment alone."""
        return slice(group, group + 1)

    def wait_until_ready(self) -> None:
        """Wait until every worker has made its environment and its networks.

        Raises:
            WorkerError: a worker died, hung, or raised.
        """
        ReplyWaiter(self.workers).wait(self._start_timeout)

    def hold(self, held: bool) -> None:
        """Let the workers wait after their next gradient, or go on."""
        self._heard_at = [time.monotonic()] * self.num_workers
        self.shared.held = held

    def receive(self, seconds: float) -> Iterator[tuple[int, Any]]:
        """What has arrived, waiting up to `seconds` for the first of it: (worker, what it sent).

        Raises:
            WorkerError: a worker died, raised, or has been silent for too long.
        """
        for descriptor, _ in self._poll.poll(seconds * 1000):
            handle = self._by_descriptor[descriptor]  # also readable where the process is gone
            handle.replied = False
            payload = handle.receive()
            self._heard_at[handle.index] = time.monotonic()
            if handle.replied:
                yield handle.index, payload
        now = time.monotonic()
        for handle, heard_at in zip(self.workers, self._heard_at, strict=True):
            if now - heard_at > self._timeout:
                raise WorkerError(
                    f"no word from worker {handle.index} (pid {handle.process.pid}) for {self._timeout:g} s",
                    hint="its environment hangs, or is slower than workers.step_timeout allows",
                )

    def watch(self, command: WatchGame) -> None:
        """Let the worker of this environment send clips of it, and the others none."""
        for handle in self.workers:
            own = msgspec.structs.replace(command, env=0 if handle.index == command.env else None)
            handle.send(wire.encode(Request.FILM, own))

    def close(self) -> None:
        """End the workers; those that have not after `CLOSE_SECONDS` are killed."""
        deadline = time.monotonic() + CLOSE_SECONDS
        for handle in self.workers:
            handle.ask_to_end()
        for handle in self.workers:
            handle.join(deadline)
        self.workers: Sequence[WorkerHandle] = []
