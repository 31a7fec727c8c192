"""The worker pool: a `gymnasium.vector.VectorEnv` over worker processes."""

from __future__ import annotations

import builtins
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import gymnasium
import numpy as np

from ..errors import WorkerError
from . import wire
from .groups import PoolState, WorkerGroups
from .pipes import RaisedInWorkerError
from .wire import Request

CLOSE_SECONDS = 2.0
"""Time for workers to end by themselves when the pool closes."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _raising_own_types(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Raise an environment's exceptions as `WorkerError`s of their own type, too.

    They have it in Gymnasium's methods alone. Elsewhere they are not to be taken for exceptions of this process.
    """

    @functools.wraps(method)
    def raising(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except RaisedInWorkerError as error:
            raise _of_own_type(error) from None

    return raising


def _of_own_type(error: RaisedInWorkerError) -> WorkerError:
    typed = _raised_class(error.kind)(str(error))
    for note in error.__notes__:
        typed.add_note(note)
    return typed


@functools.cache
def _raised_class(kind: str) -> type[WorkerError]:
    """A class of `WorkerError` and of the exception `kind` at once."""
    own = getattr(builtins, kind, None) or getattr(gymnasium.error, kind, None)
    if own in (None, Exception) or not issubclass(own, Exception):  # SystemExit is not to end this process
        return WorkerError
    try:
        raised = type(f"Worker{kind}", (WorkerError, own), {"__doc__": f"{kind} in a worker."})
        raised("")
    except TypeError:  # it wants other arguments, or no class can inherit from both
        return WorkerError
    return raised


class WorkerPool(WorkerGroups):
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
        num_numbers: columns for the numbers in infos, which are then in ``shared.numbers``: ``MOST_NUMBERS`` (see
            `ppo_tui.envs.numbers`) or 0.
        observation_space, action_space: of one environment. Where they are not given, one environment is made
            and closed in a process of its own to learn them.
        autoreset_mode: what happens when an episode ends; Gymnasium's three modes, or their names.
        seeds: one for each environment, of the global random generators (numpy's, Python's, PyTorch's) and of those
            of its spaces, which it may draw from: all numbers repeat then, and a reset with a seed seeds these too.
            None seeds them by chance. No two environments share any in either case.
        infos: collect the environments' info dictionaries (each costs a pickle).
        copy: return copies of the observations rather than views that later steps overwrite.
        log_path: file for the workers' stdout and stderr, appended to; None leaves them as they are.
        step_timeout, start_timeout: seconds after which a silent worker counts as hung.
        max_restarts: how often each worker may be lost before the first request is answered; it is replaced then, and
            `start_failures` lists it.
        preload: modules that the fork server imports once for all workers.
        wait: whether to return only when every worker is ready; else `wait_until_ready` waits for that.

    Raises:
        ConfigError: a space is no array of a fixed shape.
        WorkerError: a worker died, hung, or an environment could not be made, or has other spaces than the first.
    """

    __init__ = _raising_own_types(WorkerGroups.__init__)

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
        self.reset_async(seed=seed, options=options)
        return self.reset_wait()

    def reset_async(
        self,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Ask for new episodes, as `reset` does; `reset_wait` collects their first observations."""
        if seed is None or isinstance(seed, int):
            seed = [None if seed is None else seed + i for i in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds for {self.num_envs} environments: give one each, or a single one")
        options = dict(options) if options is not None else None
        mask = np.ones(self.num_envs, dtype=bool)
        if options and "reset_mask" in options:
            mask = _checked_mask(options.pop("reset_mask"), self.num_envs)
        self._send_reset("reset_async", self._slot, seed, mask, options)
        self._awaited = PoolState.RESETTING

    @_raising_own_types
    def reset_wait(self, timeout: float | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """First observations ``[N, *S]`` and infos, after `reset_async`.

        Raises:
            NoAsyncCallError: none were asked for.
            WorkerError: a worker died, was silent for `timeout` seconds, or an environment raised.
        """
        self._expect_all(PoolState.RESETTING, "reset_wait")
        self._awaited = None
        pairs = self._receive_reset(timeout)
        return self._observations(), self._merged(pairs)

    def step_async(self, actions: Any) -> None:
        """Send every environment its action; `step_wait` collects the results."""
        self._expect_all(PoolState.IDLE, "step_async")
        if np.ndim(actions) == 0:
            raise TypeError(f"actions {actions!r}: expected one for each of {self.num_envs} environments")
        actions = np.asarray(actions, dtype=self._layout.action_dtype)
        if actions.shape != (self.num_envs, *self._layout.action_shape):
            raise ValueError(
                f"actions of shape {actions.shape}: expected {(self.num_envs, *self._layout.action_shape)}"
            )
        self._slot = (self._slot + 1) % self._slots
        for group in range(self.num_groups):
            self.send_step(group, actions[self.group_envs(group)], self._slot)
        self._awaited = PoolState.STEPPING

    @_raising_own_types
    def step_wait(
        self, timeout: float | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """The results of the actions sent by `step_async`, as `step` returns them."""
        self._expect_all(PoolState.STEPPING, "step_wait")
        self._awaited = None
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
        self.call_async(name, *args, **kwargs)
        return self.call_wait()

    def call_async(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Ask for the results of `call`; `call_wait` collects them."""
        message = wire.encode(Request.CALL, (name, args, kwargs))
        self._send_all(PoolState.CALLING, "call_async", [message] * self.num_workers)
        self._awaited = PoolState.CALLING

    @_raising_own_types
    def call_wait(self, timeout: float | None = None) -> tuple[Any, ...]:
        """The results asked for by `call_async`; raises as `reset_wait` does."""
        self._expect_all(PoolState.CALLING, "call_wait")
        self._awaited = None
        return tuple(result for reply in self._receive_all(timeout) for result in reply)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """The attribute `name` of each environment."""
        return self.call(name)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleMethodOverride], as in Gymnasium
        """``[N]``: the seed of each environment's generator."""
        return self.get_attr("np_random_seed")

    @property
    def np_random(self) -> tuple[np.random.Generator, ...]:  # pyright: ignore[reportIncompatibleMethodOverride], as in Gymnasium
        """``[N]``: a copy of each environment's generator."""
        return self.get_attr("np_random")

    @_raising_own_types
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

        `terminate` kills them at once. A warning says if an ``…_async`` call still waits for its results.
        """
        if self._awaited is not None:
            gymnasium.logger.warn(
                f"Calling `close` while waiting for a pending call to `{self._awaited.value}` to complete."
            )
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


def _checked_mask(mask: Any, num_envs: int) -> np.ndarray:
    what = "`options['reset_mask']` must"
    if not isinstance(mask, np.ndarray):
        raise TypeError(f"{what} be a numpy array, got {type(mask)}")
    if mask.shape != (num_envs,):
        raise ValueError(f"{what} have shape `({num_envs},)`, got {mask.shape}")
    if mask.dtype != np.bool_:
        raise TypeError(f"{what} have `dtype=np.bool_`, got {mask.dtype}")
    if not mask.any():
        raise ValueError(f"{what} contain a boolean array with at least one True value, got reset_mask={mask}")
    return mask
