"""Worker processes: several environments each, driven by messages, writing into shared memory."""

from __future__ import annotations

import contextlib
import copy
import io
import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode

from ..envs.clean import starts_clean
from ..envs.luck import Luck, LuckSwitch, draw_seed, seed_luck, seed_spaces
from ..envs.numbers import NumberTable
from ..envs.probing import close_quietly
from ..envs.spaces import read_mask
from ..envs.state import CannotRestoreError, restore_env, save_env
from ..envs.tolerance import TolerantEnv
from ..streams import guard_streams
from ..system.processes import signal_when_parent_dies, wait_for_free_core, when_process_ends
from ..text import printable
from . import wire
from .clip_recorder import ClipRecorder
from .process import end_own_group, leave_signals_to_parent, release_fork_server
from .shared_memory import Layout, SharedArrays, map_arrays
from .wire import ParentGoneError, RaisedError, Reply, Request

FAILURES = "ppo_tui.failures"
"""Key of the list of `EnvFailure`s in an environment's info."""

REMARKS = "ppo_tui.remarks"
"""Key of the list of `Remark`s on an environment's observations in its info."""


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """Everything a worker is started with.

    Attributes:
        index: names the worker in messages.
        env_fns: pickled list of the constructors of its environments.
        spaces: pickled observation and action space that each of them must have.
        first_env: index of its first environment among all N.
        seeds: of the global random generators, one for each of its environments; None for seeds by chance.
        infos: send the environments' info dictionaries back.
        log_path: file that its stdout and stderr are appended to; None leaves them as they are.
    """

    index: int
    env_fns: bytes
    spaces: bytes
    first_env: int
    num_envs: int
    layout: Layout
    autoreset_mode: AutoresetMode
    infos: bool
    log_path: str | None
    seeds: tuple[int, ...] | None = None


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
    pid = os.getpid()
    while True:
        request = None
        try:
            message = wire.receive(pipe)
            request = message[0]
            if request == Request.CLOSE:
                return
            reply = host.handle(request, message)
        except ParentGoneError:
            return
        except BaseException as error:
            if os.getpid() != pid:
                end_child(error)
            if request is None:  # raised by a handler of signals, which an environment has left behind
                traceback.print_exc()
                continue
            reply = error_reply(host.current_env, error)
        if not _send(pipe, reply):
            return


class EnvHost:
    """The environments of one worker, and their share of the arrays."""

    def __init__(self, setup: WorkerSetup, arrays: SharedArrays) -> None:
        self._setup = setup
        self._arrays = arrays
        self.current_env: int | None = None
        self._luck = LuckSwitch([Luck(seed) for seed in setup.seeds or [None] * setup.num_envs])
        env_fns: Sequence[Callable[[], gymnasium.Env]] = pickle.loads(setup.env_fns)
        self._envs = [self._make(i, env_fn) for i, env_fn in enumerate(env_fns)]
        self._refuse_other_spaces(*pickle.loads(setup.spaces))
        self._uses_luck = [not starts_clean(env) for env in self._envs]
        self._needs_reset = np.zeros(len(self._envs), dtype=bool)
        self._scalar_actions = isinstance(self._envs[0].action_space, Discrete)
        self._shown_slot = 0
        self._numbers = NumberTable(arrays.number_names[setup.index]) if setup.layout.num_numbers else None
        self._recorders: dict[int, ClipRecorder] = {}  # by environment of this worker, counted from 0

    def _refuse_other_spaces(self, *expected: gymnasium.Space) -> None:
        for n, env in enumerate(self._envs, self._setup.first_env):
            for what, space, wanted in zip(
                ("observation", "action"), (env.observation_space, env.action_space), expected, strict=True
            ):
                if space != wanted:
                    raise RuntimeError(f"environment {n} has the {what} space {space}, but the pool's is {wanted}")

    def _make(self, i: int, env_fn: Callable[[], gymnasium.Env]) -> gymnasium.Env:
        self._enter(i)
        env = env_fn()
        if self._setup.seeds is not None:
            seed_spaces(env, self._setup.seeds[i])
        return env

    def _enter(self, i: int) -> int:
        """Turn to environment `i`; return its number among all.

        Its global random generators become the process's.
        """
        self.current_env = self._setup.first_env + i
        self._luck.enter(i)
        return self.current_env

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
            reply = self._fetch_recording(*wire.decode(message))
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
            if self._uses_luck[i]:
                self._luck.enter(i)
            if recorder := self._recorders.get(i):
                recorder.before_step()
            info = self._step(env, i, n, slot)
            if self._setup.infos and info:
                infos.append((n, info))
            self._add_reports(infos, n, env)
        self._shown_slot = slot
        return wire.encode(Reply.DONE, infos or None)

    def _add_reports(self, infos: list[tuple[int, dict[str, Any]]], n: int, env: gymnasium.Env) -> None:
        """Add failures and remarks of a tolerant environment, even without `infos`."""
        if not isinstance(env, TolerantEnv):
            return
        if failures := env.take_failures():
            infos.append((n, {FAILURES: failures}))
        if remarks := env.take_remarks():
            infos.append((n, {REMARKS: remarks}))

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
            self._write_numbers(slot, n, {})
            return info
        # As Gymnasium's vector environments: a NumPy scalar or an array of its own, also of shape ().
        action = arrays.actions[n] if self._scalar_actions else arrays.actions[n, ...].copy()
        observation, reward, terminated, truncated, info = env.step(action)
        if observation is None:  # a failed episode, which ends with its last observation
            observation = arrays.observations[self._shown_slot, n].copy()
        self._write(slot, n, observation, reward, terminated, truncated)
        self._write_episode(slot, n, info)
        self._write_numbers(slot, n, info)
        if not (terminated or truncated):
            self._write_mask(slot, n, env, info)
        else:
            if mode is not AutoresetMode.SAME_STEP:
                self._needs_reset[i] = True
                return info
            arrays.final_observations[n] = observation
            final_info, final_observation = info, copy.deepcopy(observation) if self._setup.infos else None
            observation, info = env.reset()
            self._write_episode(slot, n, info)
            self._write_observation(slot, n, observation)
            self._write_mask(slot, n, env, info)
            if self._setup.infos:
                info = {"final_obs": final_observation, "final_info": final_info, **info}
        return info

    def _write(self, slot: int, n: int, observation: Any, reward: Any, terminated: bool, truncated: bool) -> None:
        arrays = self._arrays
        self._write_observation(slot, n, observation)
        arrays.rewards[slot, n] = reward
        arrays.terminations[slot, n] = terminated
        arrays.truncations[slot, n] = truncated
        arrays.episode_lengths[slot, n] = 0

    def _write_observation(self, slot: int, n: int, observation: Any) -> None:
        # NumPy would repeat a smaller array to fill the larger one.
        if np.shape(observation) != self._setup.layout.observation_shape:
            expected = self._setup.layout.observation_shape
            raise ValueError(f"the observation has the shape {np.shape(observation)} instead of {expected}")
        self._arrays.observations[slot, n] = observation

    def _write_mask(self, slot: int, n: int, env: gymnasium.Env, info: dict[str, Any]) -> None:
        """Write the action mask of the state, if actions are masked."""
        if self._setup.layout.num_masked:
            self._arrays.action_masks[slot, n] = read_mask(env, info)

    def _write_numbers(self, slot: int, n: int, info: dict[str, Any]) -> None:
        """Write the numbers in a step's info; a reset has none."""
        if self._numbers is not None and (info or self._numbers.width):
            self._numbers.write(info, self._arrays.numbers[slot, n])

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
            if not chosen:
                continue
            n = self._enter(i)
            if seed is not None and self._setup.seeds is not None:
                seed_luck(seed, env)
            observation, info = env.reset(seed=seed, options=options)
            self._needs_reset[i] = False
            self._write(slot, n, observation, 0.0, False, False)
            self._write_mask(slot, n, env, info)
            self._write_numbers(slot, n, {})
            if self._setup.infos and info:
                infos.append((n, info))
            self._add_reports(infos, n, env)
        self._shown_slot = slot
        return wire.encode(Reply.DONE, infos or None)

    def _call(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> bytes:
        if name in ("reset", "step", "close", "set_wrapper_attr"):
            raise ValueError(f"call {name!r} through the pool's own method of that name")
        results = []
        for i, env in enumerate(self._envs):
            self._enter(i)
            attribute = env.get_wrapper_attr(name)
            results.append(attribute(*args, **kwargs) if callable(attribute) else attribute)
        return wire.encode(Reply.RESULT, results)

    def _set_attr(self, name: str, values: Sequence[Any]) -> bytes:
        for i, (env, value) in enumerate(zip(self._envs, values, strict=True)):
            self._enter(i)
            env.set_wrapper_attr(name, value)
        return wire.encode(Reply.DONE)

    def _save_states(self) -> bytes:
        states = []
        for i, env in enumerate(self._envs):
            self._enter(i)
            states.append(save_env(env, ended=bool(self._needs_reset[i])))
        return wire.encode(Reply.RESULT, states)

    def _restore_states(self, slot: int, states: Sequence[bytes]) -> bytes:
        """Restore each environment, or else begin a new episode.

        Its first observation goes into `slot`.
        """
        restarted = []
        self._shown_slot = slot
        self._reload_numbers()
        for i, (env, state) in enumerate(zip(self._envs, states, strict=True)):
            n = self._enter(i)
            try:
                self._needs_reset[i] = restore_env(env, state)
            except CannotRestoreError as error:
                restarted.append((n, str(error)))
                observation, info = env.reset(seed=draw_seed())
                self._needs_reset[i] = False
                self._write(slot, n, observation, 0.0, False, False)
                self._write_mask(slot, n, env, info)
        return wire.encode(Reply.RESULT, restarted)

    def _reload_numbers(self) -> None:
        """Take over the columns set by the parent.

        The old values belong to other names perhaps.
        """
        if self._numbers is not None:
            self._numbers.reload()
            first = self._setup.first_env
            self._arrays.numbers[:, first : first + self._setup.num_envs] = np.nan

    def _start_recording(self, env: int, frames: int, every: int, pictures: bool) -> bytes:
        self._stop_recording(env)
        index = env - self._setup.first_env
        self._recorders[index] = ClipRecorder(self._envs[index], frames, every, pictures)
        return wire.encode(Reply.DONE)

    def _fetch_recording(self, env: int, stop: bool) -> bytes:
        recorder = self._recorders.get(env - self._setup.first_env)
        if recorder is None:  # this worker replaces the one that recorded
            return wire.encode(Reply.DONE)
        recorded = recorder.fetch_recording()
        if stop:
            self._stop_recording(env)
        return wire.encode(Reply.RESULT, recorded)

    def _stop_recording(self, env: int) -> None:
        if recorder := self._recorders.pop(env - self._setup.first_env, None):
            recorder.close()

    def close(self) -> None:
        """Close every environment, and print their exceptions."""
        for env in self._envs:
            close_quietly(env)


def _send(pipe: Connection, message: bytes) -> bool:
    """Send a message; returns whether the parent was still there."""
    try:
        wire.send(pipe, message)
    except ParentGoneError:
        return False
    return True


def error_reply(env: int | None, error: BaseException) -> bytes:
    """The reply for an exception; make it inside the except clause.

    Args:
        env: index of the environment that raised it; None where none did.
    """
    known = (kind for kind in type(error).__mro__ if kind.__module__ in ("builtins", gymnasium.error.__name__))
    text = f"{type(error).__name__}: {error}"
    return wire.encode(Reply.ERROR, RaisedError(env, text, traceback.format_exc(), next(known).__name__))


def end_child(error: BaseException) -> NoReturn:
    """End a process forked by an environment.

    It neither speaks to the parent nor cleans up, both of which are the worker's.
    """
    code = error.code if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
    os._exit(code if isinstance(code, int) else int(code is not None))


def become_worker(log_path: str | None) -> None:
    """Leave signals to the parent, end with it, and log output.

    Args:
        log_path: file that stdout and stderr are appended to; None leaves them as they are.
    """
    leave_signals_to_parent()
    _yield_cores_to_parent()
    _die_with_parent()
    if log_path is not None:
        _redirect_output(log_path)
    else:  # a terminal perhaps, which environments are not to steer
        guard_streams()


def _redirect_output(log_path: str) -> None:
    """Send file descriptors 1 and 2 to the log.

    C libraries print there too, and the screen is drawn on stderr.
    """
    try:
        descriptor = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError:  # the run directory was removed, or the log is none of its files
        descriptor = os.open(os.devnull, os.O_WRONLY)
    send_output_to(descriptor)
    os.close(descriptor)


def send_output_to(descriptor: int) -> None:
    """Send stdout and stderr, C's included, to an open file."""
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = sys.stderr = _Log(io.FileIO(1, "w", closefd=False))


class _Log(io.TextIOWrapper):
    """stdout and stderr of environments; survives a full disk."""

    def __init__(self, file: io.FileIO) -> None:
        super().__init__(file, encoding="utf-8", errors="backslashreplace", write_through=True)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(printable(text, lines=True))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def _yield_cores_to_parent() -> None:
    """Wait for a free core instead of preempting the parent.

    The share of the processor stays the same.

    Otherwise the parent, which wakes one worker after the other, is often preempted by the first before it gets to the
    second.
    """
    wait_for_free_core()


def _die_with_parent() -> None:
    """End with the parent, even when it is killed.

    Not even a stopped or hung worker is left behind.

    Under forkserver the process that created this one is the fork server. Once the workers release it, it ends with
    the parent, and the kernel then kills this process, whatever its state. A kernel that does not is watched for by a
    thread, which an environment that hangs in C code may keep from its turn.
    """
    release_fork_server()
    if not signal_when_parent_dies(signal.SIGKILL):
        when_process_ends(os.getppid(), end_own_group)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # it has died before anything was to tell of it
        end_own_group()
