"""Worker processes: several environments each, driven by messages, writing into shared memory."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from ..envs.spaces import read_mask
from ..envs.state import CannotRestoreError, restore_env, save_env
from ..envs.tolerance import TolerantEnv
from ..system import signal_when_parent_dies
from . import wire
from .clip_recorder import ClipRecorder
from .process import release_fork_server
from .shared_memory import Layout, SharedArrays, map_arrays
from .wire import RaisedError, Reply, Request

FAILURES = "ppo_tui.failures"
"""Key of the list of `EnvFailure`s in an environment's info."""


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """Everything a worker is started with.

    Attributes:
        index: names the worker in messages.
        env_fns: pickled list of the constructors of its environments.
        first_env: index of its first environment among all N.
        infos: send the environments' info dictionaries back.
        log_path: file that its stdout and stderr are appended to; None leaves them as they are.
    """

    index: int
    env_fns: bytes
    first_env: int
    num_envs: int
    layout: Layout
    autoreset_mode: AutoresetMode
    infos: bool
    log_path: str | None


def worker_main(pipe: Connection, setup: WorkerSetup, shared_memory: Any) -> None:
    """Serve requests until asked to close or until the parent is gone."""
    become_worker(setup.log_path)
    try:
        host = EnvHost(setup, map_arrays(setup.layout, shared_memory))
    except BaseException as error:
        _send(pipe, error_reply(None, error))
        return
    _send(pipe, wire.encode(Reply.READY))
    try:
        _serve(pipe, host)
    finally:
        host.close()


def _serve(pipe: Connection, host: EnvHost) -> None:
    while True:
        try:
            message = wire.receive(pipe)
        except (EOFError, OSError):
            return  # the parent closed its end or died
        request = message[0]
        if request == Request.CLOSE:
            return
        try:
            reply = host.handle(request, message)
        except Exception as error:
            reply = error_reply(host.current_env, error)
        if not _send(pipe, reply):
            return


class EnvHost:
    """The environments of one worker, and their share of the arrays."""

    def __init__(self, setup: WorkerSetup, arrays: SharedArrays) -> None:
        self._setup = setup
        self._arrays = arrays
        self.current_env: int | None = None
        env_fns: Sequence[Callable[[], gymnasium.Env]] = pickle.loads(setup.env_fns)
        self._envs = [env_fn() for env_fn in env_fns]
        self._needs_reset = np.zeros(len(self._envs), dtype=bool)
        self._scalar_actions = not setup.layout.action_shape
        self._shown_slot = 0
        self._recorder: ClipRecorder | None = None
        self._recorded_env: int | None = None  # of this worker's, counted from 0

    def handle(self, request: int, message: bytes) -> bytes:
        """Obey `message`, of kind `request`, and return the reply."""
        started = time.perf_counter()
        if request == Request.STEP:
            reply = self._step_all(wire.decode_step(message))
        elif request == Request.RESET:
            reply = self._reset_all(*wire.decode(message))
        elif request == Request.CALL:
            reply = self._call(*wire.decode(message))
        elif request == Request.SET_ATTR:
            reply = self._set_attr(*wire.decode(message))
        elif request == Request.SAVE_STATES:
            reply = self._save_states()
        elif request == Request.RESTORE_STATES:
            reply = self._restore_states(*wire.decode(message))
        elif request == Request.START_RECORDING:
            reply = self._start_recording(*wire.decode(message))
        elif request == Request.FETCH_RECORDING:
            reply = self._fetch_recording(wire.decode(message))
        else:
            raise ValueError(f"unknown request {request}")
        answered = self._arrays.answered_at[self._setup.index] = time.perf_counter()
        self._arrays.busy_seconds[self._setup.index] += answered - started
        self.current_env = None
        return reply

    def _step_all(self, slot: int) -> bytes:
        infos = []
        for i, env in enumerate(self._envs):
            n = self.current_env = self._setup.first_env + i
            if self._recorder is not None and i == self._recorded_env:
                self._recorder.before_step()
            info = self._step(env, i, n, slot)
            if self._setup.infos and info:
                infos.append((n, info))
            self._add_failures(infos, n, env)
        self._shown_slot = slot
        return wire.encode(Reply.DONE, infos or None)

    def _add_failures(self, infos: list[tuple[int, dict[str, Any]]], n: int, env: gymnasium.Env) -> None:
        """Add the failures of a tolerant environment, even without `infos`."""
        if isinstance(env, TolerantEnv) and (failures := env.take_failures()):
            infos.append((n, {FAILURES: failures}))

    def _step(self, env: gymnasium.Env, i: int, n: int, slot: int) -> dict[str, Any]:
        """Step environment `n`, write the result into `slot`, return its info."""
        arrays, mode = self._arrays, self._setup.autoreset_mode
        if self._needs_reset[i]:
            if mode is AutoresetMode.DISABLED:
                raise RuntimeError("stepped after its episode ended; autoreset is disabled: reset it first")
            observation, info = env.reset()
            self._needs_reset[i] = False
            self._write(slot, n, observation, 0.0, False, False)
            self._write_mask(slot, n, env, info)
            return info
        action = arrays.actions[n].item() if self._scalar_actions else arrays.actions[n].copy()
        observation, reward, terminated, truncated, info = env.step(action)
        if observation is None:  # a failed episode, which ends with its last observation
            observation = arrays.observations[self._shown_slot, n].copy()
        self._write(slot, n, observation, reward, terminated, truncated)
        self._write_episode(slot, n, info)
        if not (terminated or truncated):
            self._write_mask(slot, n, env, info)
        else:
            if mode is not AutoresetMode.SAME_STEP:
                self._needs_reset[i] = True
                return info
            arrays.final_observations[n] = observation
            final_info = info
            observation, info = env.reset()
            self._write_episode(slot, n, info)
            arrays.observations[slot, n] = observation
            self._write_mask(slot, n, env, info)
            if self._setup.infos:
                info = {"final_obs": arrays.final_observations[n].copy(), "final_info": final_info, **info}
        return info

    def _write(self, slot: int, n: int, observation: Any, reward: Any, terminated: bool, truncated: bool) -> None:
        arrays = self._arrays
        arrays.observations[slot, n] = observation
        arrays.rewards[slot, n] = reward
        arrays.terminations[slot, n] = terminated
        arrays.truncations[slot, n] = truncated
        arrays.episode_lengths[slot, n] = 0

    def _write_mask(self, slot: int, n: int, env: gymnasium.Env, info: dict[str, Any]) -> None:
        """Write the action mask of the state, if actions are masked."""
        if self._setup.layout.num_masked:
            self._arrays.action_masks[slot, n] = read_mask(env, info)

    def _write_episode(self, slot: int, n: int, info: dict[str, Any]) -> None:
        """Write return and length of an ended episode.

        It ended in a step, or in the reset after a lost life.
        """
        if episode := info.get("episode"):
            self._arrays.episode_returns[slot, n] = episode["r"]
            self._arrays.episode_lengths[slot, n] = episode["l"]

    def _reset_all(self, slot: int, seeds: Sequence[int | None], mask: Sequence[bool], options: Any) -> bytes:
        infos = []
        for i, (env, seed, chosen) in enumerate(zip(self._envs, seeds, mask, strict=True)):
            n = self.current_env = self._setup.first_env + i
            if not chosen:
                continue
            observation, info = env.reset(seed=seed, options=options)
            self._needs_reset[i] = False
            self._write(slot, n, observation, 0.0, False, False)
            self._write_mask(slot, n, env, info)
            if self._setup.infos and info:
                infos.append((n, info))
            self._add_failures(infos, n, env)
        self._shown_slot = slot
        return wire.encode(Reply.DONE, infos or None)

    def _call(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> bytes:
        if name in ("reset", "step", "close", "set_wrapper_attr"):
            raise ValueError(f"call {name!r} through the pool's own method of that name")
        results = []
        for i, env in enumerate(self._envs):
            self.current_env = self._setup.first_env + i
            attribute = env.get_wrapper_attr(name)
            results.append(attribute(*args, **kwargs) if callable(attribute) else attribute)
        return wire.encode(Reply.RESULT, results)

    def _set_attr(self, name: str, values: Sequence[Any]) -> bytes:
        for i, (env, value) in enumerate(zip(self._envs, values, strict=True)):
            self.current_env = self._setup.first_env + i
            env.set_wrapper_attr(name, value)
        return wire.encode(Reply.DONE)

    def _save_states(self) -> bytes:
        states = []
        for i, env in enumerate(self._envs):
            self.current_env = self._setup.first_env + i
            states.append(save_env(env, ended=bool(self._needs_reset[i])))
        return wire.encode(Reply.RESULT, states)

    def _restore_states(self, slot: int, states: Sequence[bytes]) -> bytes:
        """Restore each environment, or else begin a new episode.

        Its first observation goes into `slot`.
        """
        restarted = []
        self._shown_slot = slot
        for i, (env, state) in enumerate(zip(self._envs, states, strict=True)):
            n = self.current_env = self._setup.first_env + i
            try:
                self._needs_reset[i] = restore_env(env, state)
            except CannotRestoreError as error:
                restarted.append((n, str(error)))
                observation, info = env.reset()
                self._needs_reset[i] = False
                self._write(slot, n, observation, 0.0, False, False)
                self._write_mask(slot, n, env, info)
        return wire.encode(Reply.RESULT, restarted)

    def _start_recording(self, env: int, frames: int) -> bytes:
        self._stop_recording()
        self._recorded_env = env - self._setup.first_env
        self._recorder = ClipRecorder(self._envs[self._recorded_env], frames)
        return wire.encode(Reply.DONE)

    def _fetch_recording(self, stop: bool) -> bytes:
        if self._recorder is None:  # this worker replaces the one that recorded
            return wire.encode(Reply.DONE)
        recorded = self._recorder.fetch_recording()
        if stop:
            self._stop_recording()
        return wire.encode(Reply.RESULT, recorded)

    def _stop_recording(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
        self._recorder = self._recorded_env = None

    def close(self) -> None:
        for env in self._envs:
            env.close()


def _send(pipe: Connection, message: bytes) -> bool:
    """Send a message; returns whether the parent was still there."""
    try:
        wire.send(pipe, message)
    except OSError:
        return False
    return True


def error_reply(env: int | None, error: BaseException) -> bytes:
    """The reply for an exception; make it inside the except clause.

    Args:
        env: index of the environment that raised it; None where none did.
    """
    raised = RaisedError(env, f"{type(error).__name__}: {error}", traceback.format_exc())
    return wire.encode(Reply.ERROR, raised)


def become_worker(log_path: str | None) -> None:
    """Leave signals to the parent, end with it, and log output."""
    # A terminal or service manager sends these to the whole process group; the parent decides how the workers end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _yield_cores_to_parent()
    _die_with_parent()
    if log_path is not None:
        _redirect_output(log_path)


def _redirect_output(log_path: str) -> None:
    """Send file descriptors 1 and 2 to the log.

    C libraries print there too, and the screen is drawn on stderr.
    """
    try:
        descriptor = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError:  # the run directory was removed, or the log is none of its files
        descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = sys.stderr = _Log(io.FileIO(1, "w", closefd=False))


class _Log(io.TextIOWrapper):
    """stdout and stderr of environments; survives a full disk."""

    def __init__(self, file: io.FileIO) -> None:
        super().__init__(file, encoding="utf-8", errors="backslashreplace", write_through=True)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def _yield_cores_to_parent() -> None:
    """Wait for a free core instead of preempting the parent.

    The share of the processor stays the same.

    Otherwise the parent, which wakes one worker after the other, is often preempted by the first before it gets to the
    second. See `man 7 sched`, SCHED_BATCH; Linux alone has it.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _die_with_parent() -> None:
    """End with the parent, even when it is killed.

    Not even a stopped or hung worker is left behind.

    Under forkserver the process that created this one is the fork server. Once the workers release it, it ends with
    the parent, and the kernel then kills this process, whatever its state. Without that, a worker ends when it finds
    its pipe closed.
    """
    release_fork_server()
    signal_when_parent_dies(signal.SIGKILL)
