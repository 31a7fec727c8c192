"""Recovery from failed workers and environments.

Where possible the run continues bit for bit.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..envs.tolerance import EnvFailure, Remark
from ..errors import RunFailedError, WorkerFailedError
from ..ppo import ActorCritic, RolloutBuffer
from ..protocol import Alarm, Level
from ..workers import Replacement, StartFailure, WorkerPool
from ..workers.worker import FAILURES, REMARKS
from .hub import RunContext
from .workers_view import WorkersView

MAX_ENV_FAILURES = 5
"""Failures of one environment, without an episode or rollout between them, that end the run."""

MAX_REPLAYS = 2
"""A worker that fails more often than this at the same step fails because of its episodes: they are given up."""

_PER_ROW = (
    "observations",
    "rewards",
    "terminations",
    "truncations",
    "episode_returns",
    "episode_lengths",
    "action_masks",
)
"""Arrays with a row for each step, equal when a step is repeated."""

_NUMBERS = "numbers"
"""Another one: what an environment measures, a clock perhaps, need not be equal."""


def start_warning(lost: StartFailure, max_restarts: int) -> str:
    """The warning for a worker lost before its first step."""
    return f"worker {lost.worker} {lost.cause} before its first step, restarted {lost.losses}/{max_restarts}"


Pairs = list[tuple[int, dict[str, Any]]]


class Recovery:
    """The replacement of failed workers within a rollout.

    Their environments are restored and repeat the rollout's actions; the outcomes are compared with those of before.
    An environment that cannot be restored, or comes to other observations, begins a new episode; the part of its
    episode that was played counts, and ends as truncated. ``workers.max_restarts`` limits the restarts of one worker
    without a whole rollout between them.

    Args:
        workers: their state, which is published when a restart begins and ends.
        env_seeds: one for each environment.
    """

    def __init__(
        self,
        context: RunContext,
        pool: WorkerPool,
        policy: ActorCritic,
        rollout: RolloutBuffer,
        workers: WorkersView,
        *,
        env_seeds: Sequence[int],
    ) -> None:
        self._context, self._workers = context, workers
        self._pool, self._policy, self._rollout = pool, policy, rollout
        self._max_restarts, self._env_seeds = context.config.workers.max_restarts, env_seeds
        self._first_row = rollout.frame_stack - 1
        self._step_timeout = pool.step_timeout
        self._failures: Counter[int] = Counter()
        self._failures_at: Counter[tuple[int, int]] = Counter()
        self._failed_workers: set[int] = set()
        self._env_failures: Counter[int] = Counter()
        self._failed_envs: dict[int, int] = {}
        self._reported: tuple[str, ...] = ()
        self._remarked: set[str] = set()

    def rollout_begins(self) -> None:
        """Start to count this rollout's failures of workers and environments."""
        self._failed_workers.clear()
        self._failures_at.clear()
        self._failed_envs.clear()

    def rollout_done(self) -> None:
        """Forget earlier failures, after a whole rollout.

        Those of workers and environments that failed in this rollout stay.
        """
        for index in self._failures.keys() - self._failed_workers:
            del self._failures[index]
        for env in self._env_failures.keys() - self._failed_envs.keys():
            del self._env_failures[env]
        self._pool.step_timeout = self._step_timeout

    # ── Workers ─────────────────────────────────────────────────────────────────────────────────────────────

    def report_start(self) -> None:
        """Report and count the pool's own replacements, before the first answer."""
        while self._pool.start_failures:
            lost = self._pool.start_failures.pop(0)
            self._failures[lost.worker] = lost.losses
            self._warn(start_warning(lost, self._max_restarts))
            self._context.publish_from_rank(self._workers.changed())

    def between_rollouts(self, failure: WorkerFailedError, states: Sequence[bytes] | None, steps: int) -> list[int]:
        """Bring failed workers' environments to the start of the next rollout.

        Args:
            states: of all environments, `steps` steps ago; None where they were reset with their seeds.

        Returns:
            The environments that have begun a new episode there instead.

        Raises:
            WorkerError: a worker failed too often.
        """
        begun: list[int] = []

        def restore(replacement: Replacement) -> None:
            restarted, _ = self._repeat(replacement, states, steps, known=steps)
            self._begin_episodes(replacement, restarted, self._first_row)
            begun.extend(restarted)

        self._replace_all(failure, restore, place=-1)
        return begun

    def in_step(self, failure: WorkerFailedError, states: Sequence[bytes] | None, t: int) -> Pairs:
        """Let the failed workers' environments take step `t`.

        The others of their worker group have taken it.

        Args:
            states: of all environments at the rollout's start; None where they were reset with their seeds.

        Returns:
            The replies of all workers of the group to that step.

        Raises:
            WorkerError: a worker failed too often.
        """
        pairs = [pair for reply in failure.replies.values() if reply for pair in reply]
        shared, row = self._pool.shared, self._first_row + t + 1

        def restore(replacement: Replacement) -> None:
            restarted, of_step = self._repeat(replacement, states, t + 1, known=t)
            self._begin_episodes(replacement, restarted, row)
            for env in restarted:
                shared.final_observations[env] = shared.observations[row - 1, env]
                shared.truncations[row, env] = True
            pairs.extend(pair for pair in of_step if pair[0] not in restarted)

        self._replace_all(failure, restore, place=t)
        return pairs

    def _replace_all(self, failure: WorkerFailedError, restore: Callable[[Replacement], None], place: int) -> None:
        """Replace the failed workers and `restore` each.

        One that fails again is replaced again.

        Args:
            place: the step of the failure (−1: between two rollouts).
        """
        causes, not_ready = dict(failure.causes), set[int]()
        while causes:
            index = min(causes)
            cause = causes.pop(index)
            self._failures[index] += 1
            self._failed_workers.add(index)
            if index not in not_ready:  # else its episodes have no part in it
                self._failures_at[index, place] += 1
            if self._failures[index] > self._max_restarts:
                raise failure.after_restarts(self._max_restarts, "without a whole rollout between")
            if self._failures[index] > 1:  # a machine under load gets more and more time
                self._pool.step_timeout = self._step_timeout * 2 ** (self._failures[index] - 1)
            self._context.publish_from_rank(self._workers.changed())
            began = time.monotonic()
            not_ready.add(index)
            try:
                replacement = self._pool.replace(index)
                not_ready.remove(index)
                restore(replacement)
            except WorkerFailedError as again:
                failure, causes = again, causes | again.causes
                continue
            count, seconds = f"{self._failures[index]}/{self._max_restarts}", time.monotonic() - began
            self._warn(f"worker {index} {cause}, restarted {count}, where it was after {seconds:.1f} s")
            self._context.publish_from_rank(self._workers.changed())

    def _warn(self, message: str, details: str = "") -> None:
        self._context.publish_from_rank(Alarm(level=Level.WARNING, message=message, details=details))

    # ── Their environments ──────────────────────────────────────────────────────────────────────────────────

    def _repeat(
        self, replacement: Replacement, states: Sequence[bytes] | None, steps: int, *, known: int
    ) -> tuple[dict[int, str], Pairs]:
        """Restore a replacement's environments and repeat the rollout's steps.

        The first `steps` steps are repeated; of these, the first `known` stay in the shared memory as they were.

        Returns:
            The environments with other outcomes, with the reasons, and the replies to the last step.
        """
        envs, first = replacement.envs, self._first_row
        rows = slice(first, first + known + 1)
        shared = self._pool.shared
        before = {name: getattr(shared, name)[rows, envs].copy() for name in (*_PER_ROW, _NUMBERS)}
        pairs: Pairs = []
        if max(count for (index, _), count in self._failures_at.items() if index == replacement.index) > MAX_REPLAYS:
            reason = f"its worker failed {MAX_REPLAYS + 1} times at the same step"
            restarted = dict.fromkeys(range(envs.start, envs.stop), reason)
        else:
            restarted = self._restore(replacement, states)
            for t in range(steps):
                pairs = replacement.step(self._env_actions(t, envs), first + t + 1)
            for env in self._differing(before, rows, envs):
                restarted.setdefault(env, "repeating its episode led to another observation: it is not deterministic")
        for name, kept in before.items():
            for env in restarted:
                getattr(shared, name)[rows, env] = kept[:, env - envs.start]
        return restarted, pairs

    def _restore(self, replacement: Replacement, states: Sequence[bytes] | None) -> dict[int, str]:
        envs = replacement.envs
        if states is not None:
            return replacement.restore(states[envs], self._first_row)
        replacement.reset(self._env_seeds[envs], self._first_row, [True] * (envs.stop - envs.start))
        return {}

    def _env_actions(self, t: int, envs: slice) -> np.ndarray:
        """The actions of these environments in step `t`, `[n, *A]`.

        They are computed for the whole worker group, as they were then.
        """
        group = next(
            group
            for group in map(self._pool.group_envs, range(self._pool.num_groups))
            if group.start <= envs.start < group.stop
        )
        actions = self._policy.env_actions(self._rollout.actions[t, group])
        return actions[envs.start - group.start : envs.stop - group.start]

    def _differing(self, before: dict[str, np.ndarray], rows: slice, envs: slice) -> list[int]:
        """The environments with rows other than `before`.

        The first row is not compared.
        """
        same = np.ones(envs.stop - envs.start, dtype=bool)
        for name in _PER_ROW:
            now = getattr(self._pool.shared, name)[rows, envs][1:]
            equal = (now == before[name][1:]) | ((now != now) & (before[name][1:] != before[name][1:]))
            same &= equal.all(axis=(0, *range(2, equal.ndim)))
        return [envs.start + int(i) for i in np.flatnonzero(~same)]

    def _begin_episodes(self, replacement: Replacement, restarted: dict[int, str], row: int) -> None:
        """Reset the environments `restarted`, write their observations into `row`, and warn."""
        if not restarted:
            return
        envs = range(replacement.envs.start, replacement.envs.stop)
        # A seed that no episode had before, and that is the same in another run with the same fault.
        restarts = self._pool.restarts[replacement.index]
        seeds = [(self._env_seeds[env] + restarts) % 2**31 for env in envs]
        self.report_failures(replacement.reset(seeds, row, [env in restarted for env in envs]), t=-1)
        names, reason = ", ".join(map(str, restarted)), next(iter(restarted.values()))
        self._warn(f"environments {names} begin new episodes, the old ones are truncated: {reason}")

    # ── Environments that raise ─────────────────────────────────────────────────────────────────────────────

    def report_failures(self, pairs: Pairs, t: int) -> None:
        """Report failed environments among the replies to step `t`, and remarks.

        −1 stands for a reset. Each failure cost an episode.

        Raises:
            RunFailedError: an environment has failed too often in a row.
        """
        for env, info in pairs:
            for failure in info.get(FAILURES, ()):
                self._report_failure(env, failure, t)
            for remark in info.get(REMARKS, ()):
                self._report_remark(env, remark)

    def _report_remark(self, env: int, remark: Remark) -> None:
        """Report a remark on observations, once for each kind."""
        if remark.kind not in self._remarked:
            self._remarked.add(remark.kind)
            self._warn(f"environment {env}: {remark.text}")

    def _report_failure(self, env: int, failure: EnvFailure, t: int) -> None:
        since = self._first_row + 1 + self._failed_envs.get(env, -1) + 1
        if self._pool.shared.episode_lengths[since : self._first_row + 1 + t, env].any():
            self._env_failures[env] = 0
        self._failed_envs[env] = t
        self._env_failures[env] += 1
        count = self._env_failures[env]
        worker = next(worker for worker in self._pool.workers if worker.envs.start <= env < worker.envs.stop)
        where = f"step {failure.episode_step} of its episode" if failure.episode_step else "its reset"
        message = (
            f"environment {env} (worker {worker.index}, seed {self._env_seeds[env]}) failed in {where}: {failure.error}"
        )
        if count >= MAX_ENV_FAILURES:
            error = RunFailedError(
                f"{message}; that was the {count}th time in a row", hint="fix the environment, then resume the run"
            )
            error.add_note(failure.traceback)
            raise error
        details = "" if failure.error in self._reported else failure.traceback
        self._reported = (*self._reported[-99:], failure.error)
        message += f"; it begins a new episode ({count}/{MAX_ENV_FAILURES})"
        self._warn(message, details)
