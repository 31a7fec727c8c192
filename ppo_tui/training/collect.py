"""Collecting rollouts: one worker group acts while the other one steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from ..config import Config
from ..distributed.ranks import ALONE, Ranks
from ..envs import EnvInfo
from ..envs.numbers import write_names
from ..envs.state import unsaved_reason
from ..errors import WorkerFailedError
from ..ppo import ActorCritic, RolloutBuffer
from ..ppo.buffer import ALL_ENVS
from ..protocol import EpisodeFinished
from ..workers import WorkerPool
from ..workers.shared_memory import SharedArrays
from .device import load_global_generators, save_global_generators
from .env_metrics import RolloutNumbers, numbers_at, sum_up
from .game_clips import GameClips
from .hub import RunContext
from .metrics import PhaseTimes, RunMetrics
from .recovery import Pairs, Recovery

_Reply = TypeVar("_Reply")


class CollectorState(NamedTuple):
    """The state at the start of the next rollout.

    Attributes:
        tensors: frames, episode starts, and the generator of the actions' noise.
        envs: one state an environment (see `WorkerPool.save_states`).
    """

    tensors: dict[str, torch.Tensor]
    envs: tuple[bytes, ...]

    def unsaved(self) -> dict[int, str]:
        """The unsaved environments, with the reasons."""
        reasons = {env: unsaved_reason(state) for env, state in enumerate(self.envs)}
        return {env: reason for env, reason in reasons.items() if reason is not None}


def wrap_rollout(shared: SharedArrays, policy: ActorCritic, config: Config, *, masked: bool) -> RolloutBuffer:
    """Make a rollout buffer on top of these shared arrays.

    It has further arrays for `policy` and its learner.

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
        state_size=policy.state_size,
        keep_final_frames=config.ppo.recompute_advantages,
    )


class Collector:
    """A collector of rollouts from a worker pool, step by step.

    It fills a rollout buffer in the pool's shared memory. The observation before step t is in row ``K - 1 + t`` of that
    memory; the worker writes the outcome of step t into the next row.

    Args:
        action_seed: of the noise that samples actions; it is drawn for all environments of all ranks at once, so that
            the split into ranks and worker groups changes no action's noise.
        env_seeds: one an environment; None where environments seed themselves.
        greedy: take the most probable actions instead of sampling them.
        recovery: replaces failed workers; None lets the error of a failure through.
        ranks: the processes that collect together, each with as many environments.
        clips: may exchange messages with the workers between two of their steps.
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
        recovery: Recovery | None = None,
        ranks: Ranks = ALONE,
        clips: GameClips | None = None,
    ) -> None:
        self._clips = clips
        self._all_envs = pool.num_envs * ranks.size
        self._share = ranks.share(self._all_envs)
        self._pool, self._policy, self._rollout, self._times = pool, policy, rollout, times
        self._recovery = recovery
        self._generator = torch.Generator().manual_seed(action_seed)
        self._env_seeds = env_seeds
        self._greedy = greedy
        self._first_row = rollout.frame_stack - 1
        self._groups = [pool.group_envs(group) for group in range(pool.num_groups)]
        self._device = next(policy.parameters()).device
        self._restore_point: tuple[bytes, ...] | None = None
        self._steps_since = 0
        self._under_way: dict[int, int] = {}  # worker group → the step that it was sent

    def reset(self) -> None:
        """Start the first episodes."""
        self._restore_point, self._steps_since = None, 0
        self._report_failures(self._recovering(lambda: self._pool.reset_into(self._first_row, self._env_seeds)), t=-1)

    def _report_failures(self, pairs: Pairs | None, t: int) -> None:
        """Report environments after failures in step `t` (−1: in a reset)."""
        if pairs and self._recovery:
            self._recovery.report_failures(pairs, t)

    def _recovering(self, ask: Callable[[], _Reply]) -> _Reply:
        """Call `ask` until it succeeds, with failed workers replaced.

        `ask` makes a request of the workers between two rollouts.
        """
        while True:
            try:
                reply = ask()
                if self._recovery:
                    self._recovery.report_start()
                return reply
            except WorkerFailedError as failure:
                if self._recovery is None:
                    raise
                begun = self._recovery.between_rollouts(failure, self._restore_point, self._steps_since)
                self._begin_episodes(begun)

    def _begin_episodes(self, envs: Sequence[int]) -> None:
        """Begin an episode at the newest observation of these environments."""
        rollout, row = self._rollout, self._first_row
        rollout.starts[row, envs] = row
        if rollout.states is not None:
            rollout.states[0, envs] = 0.0

    def save_state(self) -> CollectorState:
        """Return the state at the start of the next rollout.

        To be called after `RolloutBuffer.carry_over`.
        """
        envs = tuple(self._recovering(self._pool.save_states))
        self._restore_point, self._steps_since = envs, 0
        tensors = {**self._rollout.state_dict(), "action_generator": self._generator.get_state()}
        tensors |= save_global_generators(self._device)
        return CollectorState(tensors=tensors, envs=envs)

    def load_state(self, state: CollectorState) -> dict[int, str]:
        """Restore a state from `save_state`.

        Returns:
            The environments that could not be restored and have begun new episodes, with the reasons.
        """
        rollout, row = self._rollout, self._first_row
        rollout.load_state_dict(state.tensors)
        rollout.forget_finals()
        self._generator.set_state(state.tensors["action_generator"])
        load_global_generators(state.tensors, self._device)
        self._restore_point, self._steps_since = state.envs, 0
        restarted = self._recovering(lambda: self._pool.restore_states(state.envs, row))
        self._begin_episodes(list(restarted))
        return restarted

    def step(self, t: int) -> None:
        """Act at step `t`, one worker group after the other.

        Each group then steps on its own.
        """
        if t == 0 and self._recovery:
            self._recovery.rollout_begins()
        noise = self._policy.draw_noise(self._all_envs, self._generator)[self._share]
        for group, envs in enumerate(self._groups):
            self._receive(group)
            if self._clips:
                self._clips.before_step(envs, t)
            with self._times.phase("copy"):
                observations = self._rollout.observation(t, envs).to(self._device)
                masks = self._rollout.mask(t, envs)
                masks = None if masks is None else masks.to(self._device)
                states = self._states(t, envs)
            with self._times.phase("infer"):
                chance = None if self._greedy else noise[envs].to(self._device)
                decision = self._policy.decide(observations, noise=chance, masks=masks, states=states)
                env_actions = self._policy.env_actions(decision.actions)
            self._pool.send_step(group, env_actions, self._first_row + t + 1)
            self._under_way[group] = t
            with self._times.phase("copy"):
                self._rollout.store(t, decision, envs)

    def all_ended(self, t: int) -> bool:
        """Wait for step `t`; return whether all environments ended an episode.

        `t` is the newest step.
        """
        for group in range(len(self._groups)):
            self._receive(group)
        return bool((self._rollout.terminations[t] | self._rollout.truncations[t]).all())

    def finish(self, steps: int) -> RolloutBuffer:
        """Receive the last step, and return the whole rollout.

        The rollout has `steps` steps; the value of the observation after them is stored with it.
        """
        for group in range(len(self._groups)):
            self._receive(group)
        self._steps_since = steps
        if self._recovery:
            self._recovery.rollout_done()
        with self._times.phase("infer"):
            observations = self._rollout.observation(steps).to(self._device)
            self._rollout.last_values.copy_(self._policy.value(observations, self._states(steps)))
        return self._rollout.first(steps)

    def _states(self, t: int, envs: slice = ALL_ENVS) -> torch.Tensor | None:
        """The recurrent states before step `t`, on the device.

        None without recurrence.
        """
        states = self._rollout.state(t, envs)
        return None if states is None else states.to(self._device)

    def _receive(self, group: int) -> None:
        """Wait for the step of `group`.

        The final observations of truncated episodes get their values.
        """
        t = self._under_way.pop(group, None)
        if t is None:
            return
        with self._times.phase("wait"):
            try:
                pairs = self._pool.wait_step(group)
            except WorkerFailedError as failure:
                if self._recovery is None:
                    raise
                pairs = self._recovery.in_step(failure, self._restore_point, t)
        self._report_failures(pairs, t)
        envs = self._groups[group]
        shared, row = self._pool.shared, self._first_row + t + 1
        truncated = shared.truncations[row, envs] & ~shared.terminations[row, envs]
        if truncated.any():
            with self._times.phase("infer"):
                for env in (np.flatnonzero(truncated) + envs.start).tolist():
                    self._rollout.keep_final_frame(t, env, shared.final_observations[env])
                    stack = self._rollout.final_observation_stack(t, env, shared.final_observations[env])
                    states = self._states(t + 1, slice(env, env + 1))
                    self._rollout.final_values[t, env] = self._policy.value(stack.to(self._device), states)[0]
        self._rollout.mark_boundaries(t, envs)

    def finished_episodes(self, first_step: int, steps: range) -> Iterator[EpisodeFinished]:
        """The finished episodes of these steps of a rollout, in order.

        Environments are numbered over all ranks.

        Args:
            first_step: environment steps of the run before this rollout.
            steps: those that all environments have taken.
        """
        shared = self._pool.shared
        first = self._first_row + 1 + steps.start
        lengths = shared.episode_lengths[first : first + len(steps)]
        for t, env in np.argwhere(lengths > 0):
            yield EpisodeFinished(
                env=self._share.start + int(env),
                episode_return=float(shared.episode_returns[first + t, env]),
                length=int(lengths[t, env]),
                step=first_step + (steps.start + int(t) + 1) * self._all_envs,
                numbers=numbers_at(shared, first + t, env),
            )

    def numbers(self, steps: int) -> RolloutNumbers:
        """The numbers in the infos of a rollout's first `steps` steps."""
        first = self._first_row + 1
        return sum_up(self._pool.shared, slice(first, first + steps))

    def set_number_names(self, names: Sequence[str]) -> None:
        """Give the environments' numbers their columns; to be followed by `load_state`."""
        write_names(self._pool.shared.number_names, names)


_AHEAD = "ahead/"
"""Prefix of the tensors' names of a saved rollout."""


class Rollouts:
    """A source of rollouts, one after the other.

    It publishes their progress, and sends clips.

    Args:
        policy: chooses the actions.
        action_seed: of the noise that samples actions.
        env_seed: of the environments' first episodes.

    Attributes:
        buffer: the workers write into it; it holds each rollout until the next one begins.
        clips: those of the watched environment.
        ahead: a rollout that was collected in advance, in memory of its own, or None.
    """

    def __init__(
        self,
        context: RunContext,
        info: EnvInfo,
        pool: WorkerPool,
        policy: ActorCritic,
        metrics: RunMetrics,
        *,
        action_seed: np.random.SeedSequence,
        env_seed: np.random.SeedSequence,
    ) -> None:
        config, ranks = context.config, context.ranks
        self._config, self._policy, self._metrics = config, policy, metrics
        self.ahead: RolloutBuffer | None = None
        self.buffer = wrap_rollout(pool.shared, policy, config, masked=info.num_masked > 0)
        self.clips = GameClips(
            pool,
            policy,
            self.buffer,
            action_names=info.action_meanings or (),
            publish=context.publish_from_rank,
            first_env=ranks.rank * pool.num_envs,
            advantages=not config.ppo.normalize_rewards,
        )
        num_envs = config.rollout.num_envs
        env_seeds = [int(seed) for seed in env_seed.generate_state(num_envs) >> 1][ranks.share(num_envs)]
        self._collector = Collector(
            pool,
            policy,
            self.buffer,
            times=metrics.times,
            action_seed=int(action_seed.generate_state(1)[0]),
            env_seeds=env_seeds,
            recovery=Recovery(context, pool, policy, self.buffer, metrics.workers, env_seeds=env_seeds),
            ranks=ranks,
            clips=self.clips,
        )

    def next(self, step: int, update: int, after_step: Callable[[], None]) -> RolloutBuffer:
        """Return the rollout `ahead`, or collect one in `buffer`.

        `ahead` is None afterwards.

        Args:
            step: environment steps of the run before this rollout.
            update: number of the update that learns from it.
            after_step: called after every vector step; may raise to abandon the rollout.
        """
        if self.ahead is None:
            return self._collect(step, update, after_step)
        experience, self.ahead = self.ahead, None
        return experience

    def collect_ahead(self, step: int, update: int, after_step: Callable[[], None]) -> None:
        """Collect the rollout for the next call of `next`.

        The arguments are as for `next`.
        """
        experience = self._collect(step, update, after_step)
        with self._metrics.times.phase("copy"):
            self.ahead = experience.clone()
            experience.carry_over()

    def _collect(self, step: int, update: int, after_step: Callable[[], None]) -> RolloutBuffer:
        self._metrics.rollout_begins()
        self.clips.before_rollout(step)
        steps = reported = 0
        with self._policy.unchanged():
            for t in range(self._config.rollout.steps):
                self._collector.step(t)
                steps = t + 1
                self._metrics.rollout_progress(step, update, steps)
                if self._metrics.interim_due:  # step t is still under way
                    self._metrics.interim(t, self._collector.finished_episodes(step, range(reported, t)))
                    reported = t
                after_step()
                if self._config.rollout.whole_episodes and self._collector.all_ended(t):
                    break
            experience = self._collector.finish(steps)
        self.clips.after_rollout()
        episodes = self._collector.finished_episodes(step, range(reported, steps))
        self._metrics.rollout_done(steps, episodes, self._collector.numbers(steps))
        return experience

    def reset(self) -> None:
        """Start the first episodes."""
        self.ahead = None
        self._collector.reset()

    def save_state(self) -> CollectorState:
        """Return the state at the start of the next rollout.

        It includes the rollout `ahead`, if there is one.
        """
        state = self._collector.save_state()
        if self.ahead is not None:
            state.tensors.update({_AHEAD + name: tensor for name, tensor in self.ahead.experience_dict().items()})
        return state

    def load_state(self, state: CollectorState) -> dict[int, str]:
        """Restore a state from `save_state`.

        Returns the environments that begin new episodes instead, with the reasons.
        """
        ahead = {name.removeprefix(_AHEAD): tensor for name, tensor in state.tensors.items() if name.startswith(_AHEAD)}
        self.ahead = self.buffer.with_experience(ahead) if ahead else None
        self._collector.set_number_names(self._metrics.environment.names)
        return self._collector.load_state(state)
