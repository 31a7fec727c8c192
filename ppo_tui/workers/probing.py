"""Make environments known to this process without making them in it.

Whatever they do to their process (threads, signals, PyTorch's settings, a crash, a hang) ends with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pickle
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import gymnasium
from gymnasium.spaces import Space

from ..config.collecting import EnvConfig, WorkersConfig
from ..envs.plain import plain_space, space_of
from ..envs.probing import EnvInfo, close_quietly, probing
from ..errors import ConfigError, WorkerError, WorkerFailedError
from ..text import printable
from . import by_value, wire
from .pipes import ReplyWaiter, WorkerHandle
from .process import WorkerContext, start_worker
from .wire import Reply
from .worker import become_worker, error_reply, send_output_to

CLOSE_SECONDS = 2.0
"""Time for an environment to close."""

PRINTED_LINES, PRINTED_CHARACTERS = 3, 200
"""How much of its last output an error shows."""

_SPACES = ("observation_space", "action_space", "given_observation_space", "given_action_space")
"""Facts that travel as `plain_space`."""

_CHANCES = 2
"""How often a process may be killed or stopped from outside before that counts as the environment's own doing."""

Boot = Callable[[], WorkerContext]
"""Starts the fork server unless it is running, as `worker_context` does."""


def examine_env(config: EnvConfig, workers: WorkersConfig, boot: Boot) -> EnvInfo:
    """The facts of the environment.

    It is made, tried and closed in a process of its own.

    Raises:
        ConfigError: no run can use this environment; with the reason, what to do about it, and what it printed.
    """
    task = functools.partial(_examination, config)
    for chance in range(1, _CHANCES + 1):
        with _Probe(task, boot) as probe:
            try:
                facts = probe.answer(workers.start_timeout, workers.step_timeout)
            except WorkerFailedError as failure:
                cause = failure.causes[probe.index]
                if chance < _CHANCES and cause.startswith(_FROM_OUTSIDE):
                    continue
                raise ConfigError(
                    f"env.id = {config.id!r}: making and resetting it {_ending(cause)}",
                    hint=_with_output(_remedy(cause), probe.printed()),
                ) from failure
            _raise_refusal(facts, probe)
            with contextlib.suppress(WorkerFailedError):  # lost in a step, which a run survives
                _raise_refusal(probe.answer(workers.step_timeout, workers.step_timeout), probe)
            return _env_info(facts)
    raise AssertionError("the last chance returns or raises")


class EnvDescription(NamedTuple):
    """Facts about the environment of any constructor.

    Attributes:
        metadata: its numbers and texts, and lists of them.
    """

    observation_space: Space
    action_space: Space
    metadata: dict[str, Any]
    render_mode: str | None


def describe_env(env_fn: Callable[[], gymnasium.Env], boot: Boot, timeout: float) -> EnvDescription:
    """Describe the environment of a constructor, in a process of its own.

    Raises:
        ConfigError: a space is none of arrays.
        WorkerError: the environment could not be made.
    """
    with _Probe(functools.partial(_description, env_fn), boot) as probe:
        try:
            facts = probe.answer(timeout, timeout)
        except WorkerFailedError as failure:
            cause = failure.causes[probe.index]
            raise WorkerError(
                f"making an environment {_ending(cause)}",
                hint=_with_output(_remedy(cause), probe.printed()),
            ) from failure
    spaces = []
    for name in ("observation_space", "action_space"):
        if facts[name] is None:
            raise ConfigError(
                f"the pool cannot share the {name.replace('_', ' ')} {facts['types'][name]}",
                hint="it needs an array of a fixed shape: Box, Discrete, MultiDiscrete or MultiBinary",
            )
        spaces.append(space_of(facts[name]))
    observation_space, action_space = spaces
    return EnvDescription(observation_space, action_space, facts["metadata"], facts["render_mode"])


# ── In this process ─────────────────────────────────────────────────────────────────────────────────────────

_FROM_OUTSIDE = ("killed (SIGKILL)", "stopped")


def _ending(cause: str) -> str:
    """The cause of a loss, to follow "making it" in a sentence."""
    first, _, rest = cause.partition(" ")
    if first in ("killed", "hung", "stopped"):
        verb = {"killed": "killed its process", "hung": "did not end", "stopped": "stopped its process"}[first]
        return f"{verb} {rest}"
    return f"ended its process: it {cause}"


def _remedy(cause: str) -> str:
    if cause.startswith("hung"):
        return "it hangs, or needs more time than workers.start_timeout"
    if cause.startswith(_FROM_OUTSIDE[0]):
        return "SIGKILL often means that the machine ran out of memory"
    return "the environment itself did this; try it alone in Python"


def _with_output(hint: str | None, printed: str) -> str | None:
    if not printed:
        return hint
    return "; ".join([*([hint] if hint else []), f"it printed: {printed}"])


def _raise_refusal(answer: dict[str, Any], probe: _Probe) -> None:
    """Raise here the `ConfigError` raised there, if any."""
    if "refused" in answer:
        printed = probe.printed() if answer["traceback"] else ""
        error = ConfigError(answer["refused"], hint=_with_output(answer["hint"], printed))
        if answer["traceback"]:
            error.add_note(answer["traceback"])
        raise error


def _env_info(facts: dict[str, Any]) -> EnvInfo:
    read: dict[str, Any] = {name: space_of(fact) if name in _SPACES else fact for name, fact in facts.items()}
    return EnvInfo(**read)


class _Probe:
    """A process for one task with several answers.

    Args:
        task: runs there; pickled by value.

    Attributes:
        index: of the process, in the causes of a `WorkerFailedError`.

    Raises:
        WorkerError: no process could be started.
    """

    index = 0

    def __init__(self, task: Callable[[], Iterator[dict[str, Any]]], boot: Boot) -> None:
        self._output = _temporary_file()
        with Connection(os.dup(self._output), readable=False) as output:
            setup = _ProbeSetup(self.index, by_value.dumps(task), output)
            process, pipe = start_worker(boot, setup, None, _probe_main)
        self._handle = WorkerHandle(self.index, slice(0, 1), process, pipe, streams=True)
        self._deadline = time.monotonic()

    def answer(self, timeout: float, stopped_timeout: float) -> dict[str, Any]:
        """The next answer.

        Raises:
            WorkerFailedError: the process died, hung, or was stopped.
            WorkerError: the task raised.
        """
        self._handle.replied = False
        (answer,) = ReplyWaiter([self._handle]).wait(timeout, stopped_timeout)
        self._deadline = time.monotonic() + CLOSE_SECONDS
        return answer

    def printed(self) -> str:
        """The last lines of its stdout and stderr, in one."""
        length = os.fstat(self._output).st_size
        size = PRINTED_LINES * PRINTED_CHARACTERS * 4
        content = os.pread(self._output, size, max(0, length - size)).decode("utf-8", "replace")
        lines = [printable(line.strip()) for line in content.splitlines() if line.strip()]
        return " / ".join(line[:PRINTED_CHARACTERS] for line in lines[-PRINTED_LINES:])

    def __enter__(self) -> _Probe:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Give the environment time to close, unless something is wrong with it."""
        self._handle.join(time.monotonic() if kind is not None else self._deadline)
        os.close(self._output)


def _temporary_file() -> int:
    """The descriptor of an empty file without a name.

    Without room for one, it is the null device.
    """
    try:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
    except OSError:
        return os.open(os.devnull, os.O_RDWR)


# ── In the other process ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _ProbeSetup:
    """Everything the process is started with.

    Attributes:
        output: takes all that it prints.
    """

    index: int
    task: bytes
    output: Connection


def _probe_main(pipe: Connection, setup: _ProbeSetup, _shared_memory: None) -> None:
    become_worker(None)
    send_output_to(setup.output.fileno())
    try:
        for answer in pickle.loads(setup.task)():
            wire.send(pipe, wire.encode(Reply.RESULT, answer))
    except ConfigError as error:
        raised = "" if error.__cause__ is None else "".join(traceback.format_exception(error.__cause__))
        refusal = {"refused": error.message, "hint": error.hint, "traceback": raised}
        wire.send(pipe, wire.encode(Reply.RESULT, refusal))
    except BaseException as error:
        wire.send(pipe, error_reply(None, error))


def _examination(config: EnvConfig) -> Iterator[dict[str, Any]]:
    for info in probing(config):
        facts = {field.name: getattr(info, field.name) for field in dataclasses.fields(info)}
        yield {name: plain_space(fact) if name in _SPACES else fact for name, fact in facts.items()}


def _description(env_fn: Callable[[], gymnasium.Env]) -> Iterator[dict[str, Any]]:
    env = env_fn()
    try:
        spaces = {name: getattr(env, name) for name in ("observation_space", "action_space")}
        yield {
            **{name: plain_space(space) for name, space in spaces.items()},
            "types": {name: type(space).__name__ for name, space in spaces.items()},
            "metadata": {str(key): value for key, value in dict(env.metadata or {}).items() if _is_plain(value)},
            "render_mode": str(env.render_mode) if env.render_mode is not None else None,
        }
    finally:
        close_quietly(env)


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(_is_plain(entry) for entry in value)
    return value is None or type(value) in (bool, int, float, str)
