"""The environment of an actor-learner, in its own process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from ...envs import EnvInfo
from ...envs.numbers import MOST_NUMBERS
from ...envs.tolerance import Remark
from ...workers import wire
from ...workers.clip_recorder import RecordedFrames
from ...workers.shared_memory import Layout, allocate_private, map_arrays
from ...workers.wire import Request
from ...workers.worker import EnvHost, WorkerSetup


class OwnEnvs:
    """One environment in this process, with the interface of a pool.

    It has those methods of `WorkerPool` that `Collector` and `GameClips` use.

    Args:
        slots: rows of the arrays.
        seed: of the global random generators that the environment draws from.
    """

    num_envs = 1
    num_groups = 1

    def __init__(self, env_fn: Callable[[], gymnasium.Env], info: EnvInfo, slots: int, seed: int) -> None:
        layout = Layout(
            slots=slots,
            num_envs=1,
            num_workers=1,
            observation_shape=info.observation_space.shape,
            observation_dtype=info.observation_space.dtype.str,
            action_shape=info.action_space.shape or (),
            action_dtype=np.dtype(info.action_space.dtype).str,
            num_masked=info.num_masked,
            num_numbers=MOST_NUMBERS,
        )
        self.shared = map_arrays(layout, allocate_private(layout))
        self.shared.numbers.fill(np.nan)
        setup = WorkerSetup(
            index=0,
            env_fns=cloudpickle.dumps([env_fn]),
            spaces=cloudpickle.dumps((info.observation_space, info.action_space)),
            first_env=0,
            num_envs=1,
            layout=layout,
            autoreset_mode=AutoresetMode.SAME_STEP,
            infos=False,
            log_path=None,
            seeds=(seed,),
        )
        self._torch = TorchSettings()
        device = torch.get_default_device()
        with self._torch.of_env():
            self._host = EnvHost(setup, self.shared)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        self._remarks_on_observations = self._call("has_wrapper_attr", "observation_remarks")
        self._taken = 0

    def group_envs(self, group: int) -> slice:
        return slice(0, 1)

    def send_step(self, group: int, actions: np.ndarray, slot: int) -> None:
        self.shared.actions[:] = actions
        self._ask(Request.STEP, wire.encode_step(slot))

    def wait_step(self, group: int) -> None:
        """The step is done already."""

    def reset_into(self, slot: int, seeds: Sequence[int]) -> None:
        self._ask(Request.RESET, wire.encode(Request.RESET, (slot, list(seeds), [True], None)))

    def start_recording(self, env: int, frames: int, every: int = 1, pictures: bool = True) -> None:
        self._ask(Request.START_RECORDING, wire.encode(Request.START_RECORDING, (env, frames, every, pictures)))

    def fetch_recording(self, env: int, *, stop: bool) -> RecordedFrames | None:
        return self._ask(Request.FETCH_RECORDING, wire.encode(Request.FETCH_RECORDING, (env, stop)))

    def take_remarks(self) -> list[Remark]:
        """The remarks on observations since the last call."""
        if not self._remarks_on_observations:
            return []
        remarks = self._call("observation_remarks")
        self._taken, taken = len(remarks), self._taken
        return remarks[taken:]

    def _call(self, name: str, *arguments: Any) -> Any:
        """The environment's attribute, or the result of this method of it."""
        return self._ask(Request.CALL, wire.encode(Request.CALL, (name, arguments, {})))[0]

    def close(self) -> None:
        self._host.close()

    def _ask(self, request: Request, message: bytes) -> Any:
        with self._torch.of_env():
            return wire.decode(self._host.handle(request, message))


class TorchSettings:
    """The environment's settings of PyTorch, apart from the learner's.

    Both are in one process. They are the default type and whether gradients are computed. Reading the default device
    would cost as much as a step of a small environment, so it is set back once, when the environment has been made.
    """

    def __init__(self) -> None:
        self._of_env: tuple[torch.dtype, bool] | None = None

    @contextlib.contextmanager
    def of_env(self) -> Iterator[None]:
        """Have the environment's own settings while the context lasts."""
        before = _read_settings()
        if self._of_env is not None:
            _apply_settings(self._of_env)
        try:
            yield
        finally:
            now = _read_settings()
            self._of_env = None if now == before else now
            if now != before:
                _apply_settings(before)


def _read_settings() -> tuple[torch.dtype, bool]:
    return torch.get_default_dtype(), torch.is_grad_enabled()


def _apply_settings(settings: tuple[torch.dtype, bool]) -> None:
    dtype, gradients = settings
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(gradients)
