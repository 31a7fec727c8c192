"""Going on after workers and environments have failed, with the bits of a run in which nobody did wherever possible."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..envs.tolerance import EnvFailure
from ..errors import RunFailedError, WorkerFailedError
from ..ppo import ActorCritic, RolloutBuffer
from ..protocol import Alarm, Event, Level
from ..workers import Replacement, WorkerPool
from ..workers.worker import FAILURES

MAX_ENV_FAILURES = 5
"""Failures of one environment in a row, without a finished episode or a whole rollout between, that end the run."""

MAX_REPLAYS = 2
"""A worker that is lost more often than this at the same step dies of its episodes: they are given up."""

_PER_ROW = (
    "observations",
    "rewards",
    "terminations",
    "truncations",
    "episode_returns",
    "episode_lengths",
    "action_masks",
)

Pairs = list[tuple[int, dict[str, Any]]]


class Recovery:
    """Replaces lost workers: their environments are restored from the start of the rollout and play its actions again.

    What they write is compared with what they wrote before. An environment that cannot be restored, or comes to other
    observations, begins a new episode; the part of its episode that was played counts, and ends as truncated.

    Args:
        max_restarts: of one worker in a row, without a whole rollout between; one more ends the run.
        env_seeds: one for each environment.
        on_change: called when a worker is being restarted, and when it has been.
    """

    def __init__(
        self,
        pool: WorkerPool,
        policy: ActorCritic,
        rollout: RolloutBuffer,
        *,
        max_restarts: int,
        env_seeds: Sequence[int],
        emit: Callable[[Event], None],
        on_change: Callable[[], None],
    ) -> None:
        self._pool, self._policy, self._rollout = pool, policy, rollout
        self._max_restarts, self._env_seeds = max_restarts, env_seeds
        self._emit, self._on_change = emit, on_change
        self._first_row = rollout.frame_stack - 1
        self._step_timeout = pool.step_timeout
        self._losses: Counter[int] = Counter()
        self._losses_at: Counter[tuple[int, int]] = Counter()
        self._lost_in_rollout: set[int] = set()
        self._env_failures: Counter[int] = Counter()
        self._failed_in_rollout: dict[int, int] = {}
        self._told: tuple[str, ...] = ()

    def rollout_begins(self) -> None:
        """From here on it counts who gets through."""
        self._lost_in_rollout.clear()
        self._losses_at.clear()
        self._failed_in_rollout.clear()

    def rollout_done(self) -> None:
        """Who got through the whole rollout has a clean record again."""
        for index in self._losses.keys() - self._lost_in_rollout:
            del self._losses[index]
        for env in self._env_failures.keys() - self._failed_in_rollout.keys():
            del self._env_failures[env]
        self._pool.step_timeout = self._step_timeout

    # ── Workers ─────────────────────────────────────────────────────────────────────────────────────────────

    def between_rollouts(self, lost: WorkerFailedError, states: Sequence[bytes] | None, steps: int) -> list[int]:
        """Bring the environments of the lost workers to where the next rollout starts.

        Args:
            states: of all environments, `steps` steps ago; None where they were reset with their seeds.

        Returns:
            Environments that have begun a new episode there instead.

        Raises:
            WorkerError: a worker was lost too often.
        """
        begun: list[int] = []

        def lead(replacement: Replacement) -> None:
            anew, _ = self._play_again(replacement, states, steps, known=steps)
            self._begin_anew(replacement, anew, self._first_row)
            begun.extend(anew)

        self._replace_all(lost, lead, place=-1)
        return begun

    def in_step(self, lost: WorkerFailedError, states: Sequence[bytes] | None, t: int) -> Pairs:
        """Let the environments of the lost workers take step `t` of the rollout, as the others of their group have.

        Args:
            states: of all environments at the rollout's start; None where they were reset with their seeds.

        Returns:
            What all workers of the group replied to that step.

        Raises:
            WorkerError: a worker was lost too often.
        """
        pairs = [pair for reply in lost.replies.values() if reply for pair in reply]
        shared, row = self._pool.shared, self._first_row + t + 1

        def lead(replacement: Replacement) -> None:
            anew, of_step = self._play_again(replacement, states, t + 1, known=t)
            self._begin_anew(replacement, anew, row)
            for env in anew:
                shared.final_observations[env] = shared.observations[row - 1, env]
                shared.truncations[row, env] = True
            pairs.extend(pair for pair in of_step if pair[0] not in anew)

        self._replace_all(lost, lead, place=t)
        return pairs

    def _replace_all(self, lost: WorkerFailedError, lead: Callable[[Replacement], None], place: int) -> None:
        """Replace the lost workers, and `lead` each new one to its place; who is lost on the way is replaced again."""
        causes = dict(lost.causes)
        while causes:
            index = min(causes)
            cause = causes.pop(index)
            self._losses[index] += 1
            self._lost_in_rollout.add(index)
            self._losses_at[index, place] += 1
            if self._losses[index] > self._max_restarts:
                raise self._beyond_recovery(lost)
            if self._losses[index] > 1:  # a machine under load gets more and more time
                self._pool.step_timeout = self._step_timeout * 2 ** (self._losses[index] - 1)
            self._on_change()
            began = time.monotonic()
            try:
                lead(self._pool.replace(index))
            except WorkerFailedError as again:
                lost, causes = again, causes | again.causes
                continue
            self._tell_restarted(index, cause, time.monotonic() - began)
            self._on_change()

    def _beyond_recovery(self, lost: WorkerFailedError) -> WorkerFailedError:
        if not self._max_restarts:
            return lost
        return WorkerFailedError(
            f"{lost.message}, after {self._max_restarts} restarts without a whole rollout between",
            lost.causes,
            hint=lost.hint,
        )

    def _tell_restarted(self, index: int, cause: str, seconds: float) -> None:
        count = f"{self._losses[index]}/{self._max_restarts}"
        message = f"worker {index} {cause}, restarted {count}, where it was after {seconds:.1f} s"
        self._emit(Alarm(level=Level.WARNING, message=message))

    # ── Their environments ──────────────────────────────────────────────────────────────────────────────────

    def _play_again(
        self, replacement: Replacement, states: Sequence[bytes] | None, steps: int, *, known: int
    ) -> tuple[dict[int, str], Pairs]:
        """Restore the environments of `replacement` and let them take the first `steps` steps of the rollout again.

        What had been written of the first `known` of these steps stays as it was.

        Returns:
            The environments that did not come to the same, each with the reason, and the replies to the last step.
        """
        envs, first = replacement.envs, self._first_row
        rows = slice(first, first + known + 1)
        before = {name: array[rows, envs].copy() for name, array in self._arrays()}
        pairs: Pairs = []
        if max(count for (index, _), count in self._losses_at.items() if index == replacement.index) > MAX_REPLAYS:
            reason = f"its worker was lost {MAX_REPLAYS + 1} times at the same step"
            anew = dict.fromkeys(range(envs.start, envs.stop), reason)
        else:
            anew = self._restore(replacement, states)
            for t in range(steps):
                pairs = replacement.step(self._env_actions(t, envs), first + t + 1)
            for env in self._differing(before, rows, envs):
                anew.setdefault(env, "playing its episode again led to another observation: it is not deterministic")
        for name, array in self._arrays():
            for env in anew:
                array[rows, env] = before[name][:, env - envs.start]
        return anew, pairs

    def _restore(self, replacement: Replacement, states: Sequence[bytes] | None) -> dict[int, str]:
        envs = replacement.envs
        if states is not None:
            return replacement.restore(states[envs], self._first_row)
        replacement.reset(self._env_seeds[envs], self._first_row, [True] * (envs.stop - envs.start))
        return {}

    def _arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """Everything that workers write for each row and environment."""
        for name in _PER_ROW:
            yield name, getattr(self._pool.shared, name)

    def _env_actions(self, t: int, envs: slice) -> np.ndarray:
        """What these environments were told in step `t`, `[n, *A]`, computed for their whole group as it was then."""
        group = next(
            group
            for group in map(self._pool.group_envs, range(self._pool.num_groups))
            if group.start <= envs.start < group.stop
        )
        actions = self._policy.env_actions(self._rollout.actions[t, group])
        return actions[envs.start - group.start : envs.stop - group.start]

    def _differing(self, before: dict[str, np.ndarray], rows: slice, envs: slice) -> list[int]:
        """The environments whose rows after the first are not what they were."""
        same = np.ones(envs.stop - envs.start, dtype=bool)
        for name, array in self._arrays():
            now = array[rows, envs][1:]
            equal = (now == before[name][1:]) | ((now != now) & (before[name][1:] != before[name][1:]))
            same &= equal.all(axis=(0, *range(2, equal.ndim)))
        return [envs.start + int(i) for i in np.flatnonzero(~same)]

    def _begin_anew(self, replacement: Replacement, anew: dict[int, str], row: int) -> None:
        """Reset the environments `anew`, say so, and write what they show into `row`."""
        if not anew:
            return
        envs = range(replacement.envs.start, replacement.envs.stop)
        # A seed that no episode had before, and that is the same in another run with the same fault.
        restarts = self._pool.restarts[replacement.index]
        seeds = [(self._env_seeds[env] + restarts) % 2**31 for env in envs]
        self.note(replacement.reset(seeds, row, [env in anew for env in envs]), t=-1)
        names = ", ".join(map(str, anew))
        message = f"environments {names} begin new episodes, the old ones are truncated: {next(iter(anew.values()))}"
        self._emit(Alarm(level=Level.WARNING, message=message))

    # ── Environments that raise ─────────────────────────────────────────────────────────────────────────────

    def note(self, pairs: Pairs, t: int) -> None:
        """Tell of the failures among the replies to step `t` (−1: to a reset), each of which cost an episode.

        Raises:
            RunFailedError: an environment has failed too often in a row.
        """
        for env, info in pairs:
            for failure in info.get(FAILURES, ()):
                self._note(env, failure, t)

    def _note(self, env: int, failure: EnvFailure, t: int) -> None:
        since = self._first_row + 1 + self._failed_in_rollout.get(env, -1) + 1
        if self._pool.shared.episode_lengths[since : self._first_row + 1 + t, env].any():
            self._env_failures[env] = 0
        self._failed_in_rollout[env] = t
        self._env_failures[env] += 1
        count = self._env_failures[env]
        worker = next(worker for worker in self._pool.workers if worker.envs.start <= env < worker.envs.stop)
        where = f"step {failure.episode_step} of its episode" if failure.episode_step else "its reset"
        message = (
            f"environment {env} (worker {worker.index}, seed {self._env_seeds[env]}) failed in {where}: {failure.error}"
        )
        if count >= MAX_ENV_FAILURES:
            error = RunFailedError(
                f"{message}; that was the {count}th time in a row", hint="mend the environment, then resume the run"
            )
            error.add_note(failure.traceback)
            raise error
        details = "" if failure.error in self._told else failure.traceback
        self._told = (*self._told[-99:], failure.error)
        message += f"; it begins a new episode ({count}/{MAX_ENV_FAILURES})"
        self._emit(Alarm(level=Level.WARNING, message=message, details=details))
