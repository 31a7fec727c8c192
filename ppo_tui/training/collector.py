"""Collecting experience: acting in one group of environments while the other one steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..config import Config
from ..envs.state import unsaved_reason
from ..ppo import ActorCritic, RolloutBuffer
from ..protocol import EpisodeFinished
from ..workers import WorkerPool
from ..workers.memory import SharedArrays
from .metrics import PhaseTimes


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


def wrap_rollout(shared: SharedArrays, policy: ActorCritic, config: Config, *, masked: bool) -> RolloutBuffer:
    """The rollout that lies in these arrays, with what `policy` and its learner need beside them.

    Args:
        masked: whether the environments mask actions.
    """
    stack = config.env.frame_stack
    return RolloutBuffer(
        frames=shared.observations,
        rewards=shared.rewards[stack:],
        terminations=shared.terminations[stack:],
        truncations=shared.truncations[stack:],
        frame_stack=stack,
        action_shape=policy.action_shape,
        action_dtype=policy.action_dtype,
        masks=shared.action_masks if masked else None,
        distribution_size=policy.distribution_size if config.compares_distributions else 0,
    )


class Collector:
    """Fills a rollout from a pool whose shared memory the rollout wraps.

    What an environment shows before step t lies in row ``K - 1 + t`` of the memory; what step t leads to is written,
    by the worker, into the row after it.

    Args:
        action_seed: of the noise that actions are sampled with; drawn for all environments at once, so that the
            split into groups changes no action's noise.
        env_seeds: one for each environment, or None where they seed themselves.
        greedy: take the most probable actions instead of sampling them.
    """

    def __init__(
        self,
        pool: WorkerPool,
        policy: ActorCritic,
        rollout: RolloutBuffer,
        *,
        times: PhaseTimes,
        action_seed: int,
        env_seeds: Sequence[int | None],
        greedy: bool = False,
    ) -> None:
        self._pool, self._policy, self._rollout, self._times = pool, policy, rollout, times
        self._generator = torch.Generator().manual_seed(action_seed)
        self._env_seeds = env_seeds
        self._greedy = greedy
        self._first_row = rollout.frame_stack - 1
        self._groups = [pool.group_envs(group) for group in range(pool.num_groups)]
        self._device = next(policy.parameters()).device

    def reset(self) -> None:
        """Start the first episodes."""
        self._pool.reset_into(self._first_row, self._env_seeds)

    def save_state(self) -> CollectorState:
        """Where the next rollout starts from; between two rollouts, after `RolloutBuffer.carry_over`."""
        return CollectorState(
            tensors={**self._rollout.state_dict(), "action_generator": self._generator.get_state()},
            envs=tuple(self._pool.save_states()),
        )

    def load_state(self, state: CollectorState) -> dict[int, str]:
        """Stand where `save_state` was called.

        Returns:
            The environments that could not be restored and have begun a new episode, each with the reason.
        """
        rollout, row = self._rollout, self._first_row
        rollout.load_state_dict(state.tensors)
        rollout.final_values.zero_()
        self._generator.set_state(state.tensors["action_generator"])
        restarted = self._pool.restore_states(state.envs, row)
        rollout.starts[row, list(restarted)] = row
        return restarted

    def step(self, t: int) -> None:
        """Act at step `t` of the rollout, group by group; each group then steps on its own."""
        noise = self._policy.draw_noise(self._pool.num_envs, self._generator)
        for group, envs in enumerate(self._groups):
            if t > 0:
                self._receive(group, t - 1)
            with self._times.phase("copy"):
                observations = self._rollout.observation(t, envs).to(self._device)
                masks = self._rollout.mask(t, envs)
                masks = None if masks is None else masks.to(self._device)
            with self._times.phase("infer"):
                chance = None if self._greedy else noise[envs].to(self._device)
                decision = self._policy.act(observations, noise=chance, masks=masks)
                env_actions = self._policy.env_actions(decision.actions)
            self._pool.send_step(group, env_actions, self._first_row + t + 1)
            with self._times.phase("copy"):
                self._rollout.store(t, decision, envs)

    def finish(self) -> None:
        """Receive the last step and value what it leads to."""
        steps = self._rollout.num_steps
        for group in range(len(self._groups)):
            self._receive(group, steps - 1)
        with self._times.phase("infer"):
            self._rollout.last_values.copy_(self._policy.value(self._rollout.observation(steps).to(self._device)))

    def _receive(self, group: int, t: int) -> None:
        """Wait for step `t` of `group`, and value the final observations of episodes that it truncated."""
        with self._times.phase("wait"):
            self._pool.wait_step(group)
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
