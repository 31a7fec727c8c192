"""Collecting experience: acting in one group of environments while the other one steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from ..envs.state import unsaved_reason
from ..errors import WorkerLostError
from ..ppo import ActorCritic, RolloutBuffer
from ..protocol import EpisodeFinished
from ..workers import WorkerPool
from .metrics import PhaseTimes
from .recovery import Recovery

_Reply = TypeVar("_Reply")


class CollectorState(NamedTuple):
    """Where a rollout starts from: frames, episode starts and the noise's generator as tensors, and each environment.

    Attributes:
        envs: one state each, as `WorkerPool.save_states` gives them.
    """

    tensors: dict[str, torch.Tensor]
    envs: tuple[bytes, ...]

    def unsaved(self) -> dict[int, str]:
        """The environments that could not be saved, each with the reason."""
        reasons = {env: unsaved_reason(state) for env, state in enumerate(self.envs)}
        return {env: reason for env, reason in reasons.items() if reason is not None}


class Collector:
    """Fills a rollout from a pool whose shared memory the rollout wraps.

    What an environment shows before step t lies in row ``K - 1 + t`` of the memory; what step t leads to is written,
    by the worker, into the row after it.

    Args:
        action_seed: of the noise that actions are sampled with; drawn for all environments at once, so that the
            split into groups changes no action's noise.
        env_seeds: one for each environment.
        recovery: replaces the workers that are lost on the way.
    """

    def __init__(
        self,
        pool: WorkerPool,
        policy: ActorCritic,
        rollout: RolloutBuffer,
        *,
        times: PhaseTimes,
        action_seed: int,
        env_seeds: Sequence[int],
        recovery: Recovery,
    ) -> None:
        self._pool, self._policy, self._rollout, self._times = pool, policy, rollout, times
        self._recovery = recovery
        self._generator = torch.Generator().manual_seed(action_seed)
        self._env_seeds = env_seeds
        self._first_row = rollout.frame_stack - 1
        self._groups = [pool.group_envs(group) for group in range(pool.num_groups)]
        self._device = next(policy.parameters()).device
        self._restore_point: tuple[bytes, ...] | None = None
        self._steps_since = 0

    def reset(self) -> None:
        """Start the first episodes."""
        self._restore_point, self._steps_since = None, 0
        pairs = self._recovering(lambda: self._pool.reset_into(self._first_row, self._env_seeds))
        self._recovery.note(pairs, t=-1)

    def _recovering(self, ask: Callable[[], _Reply]) -> _Reply:
        """What the workers answer, between two rollouts, after those lost are replaced and stand where they stood."""
        while True:
            try:
                return ask()
            except WorkerLostError as lost:
                begun = self._recovery.between_rollouts(lost, self._restore_point, self._steps_since)
                self._rollout.starts[self._first_row, begun] = self._first_row

    def save_state(self) -> CollectorState:
        """Where the next rollout starts from; between two rollouts, after `RolloutBuffer.carry_over`."""
        envs = tuple(self._recovering(self._pool.save_states))
        self._restore_point, self._steps_since = envs, 0
        tensors = {**self._rollout.state_dict(), "action_generator": self._generator.get_state()}
        return CollectorState(tensors=tensors, envs=envs)

    def load_state(self, state: CollectorState) -> dict[int, str]:
        """Stand where `save_state` was called.

        Returns:
            The environments that could not be restored and have begun a new episode, each with the reason.
        """
        rollout, row = self._rollout, self._first_row
        rollout.load_state_dict(state.tensors)
        rollout.final_values.zero_()
        self._generator.set_state(state.tensors["action_generator"])
        self._restore_point, self._steps_since = state.envs, 0
        restarted = self._recovering(lambda: self._pool.restore_states(state.envs, row))
        rollout.starts[row, list(restarted)] = row
        return restarted

    def step(self, t: int) -> None:
        """Act at step `t` of the rollout, group by group; each group then steps on its own."""
        if t == 0:
            self._recovery.rollout_begins()
        noise = self._policy.draw_noise(self._pool.num_envs, self._generator)
        for group, envs in enumerate(self._groups):
            if t > 0:
                self._receive(group, t - 1)
            with self._times.phase("copy"):
                observations = self._rollout.observation(t, envs).to(self._device)
                masks = self._rollout.mask(t, envs)
                masks = None if masks is None else masks.to(self._device)
            with self._times.phase("infer"):
                decision = self._policy.act(observations, noise=noise[envs].to(self._device), masks=masks)
                env_actions = self._policy.env_actions(decision.actions)
            self._pool.send_step(group, env_actions, self._first_row + t + 1)
            with self._times.phase("copy"):
                self._rollout.store(t, decision, envs)

    def finish(self) -> None:
        """Receive the last step and value what it leads to."""
        steps = self._rollout.num_steps
        for group in range(len(self._groups)):
            self._receive(group, steps - 1)
        self._steps_since = steps
        self._recovery.rollout_done()
        with self._times.phase("infer"):
            self._rollout.last_values.copy_(self._policy.value(self._rollout.observation(steps).to(self._device)))

    def _receive(self, group: int, t: int) -> None:
        """Wait for step `t` of `group`, and value the final observations of episodes that it truncated."""
        with self._times.phase("wait"):
            try:
                pairs = self._pool.wait_step(group)
            except WorkerLostError as lost:
                pairs = self._recovery.in_step(lost, self._restore_point, t)
        self._recovery.note(pairs, t)
        envs = self._groups[group]
        self._rollout.mark_boundaries(t, envs)
        shared, row = self._pool.shared, self._first_row + t + 1
        truncated = shared.truncations[row, envs] & ~shared.terminations[row, envs]
        if truncated.any():
            with self._times.phase("infer"):
                for env in np.flatnonzero(truncated) + envs.start:
                    stack = self._rollout.final_observation_stack(t, int(env), shared.final_observations[env])
                    self._rollout.final_values[t, env] = self._policy.value(stack.to(self._device))[0]

    def finished_episodes(self, first_step: int) -> Iterator[EpisodeFinished]:
        """The full games that ended in this rollout, in the order of their steps.

        Args:
            first_step: environment steps of the run before this rollout.
        """
        shared, num_envs = self._pool.shared, self._pool.num_envs
        first, steps = self._first_row + 1, self._rollout.num_steps
        lengths = shared.episode_lengths[first : first + steps]
        for t, env in np.argwhere(lengths > 0):
            yield EpisodeFinished(
                env=int(env),
                episode_return=float(shared.episode_returns[first + t, env]),
                length=int(lengths[t, env]),
                step=first_step + (int(t) + 1) * num_envs,
            )
