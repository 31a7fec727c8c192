"""Collecting experience: acting in one group of environments while the other one steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from ..config import Config
from ..distributed.ranks import ALONE, Ranks
from ..envs import EnvInfo
from ..envs.state import unsaved_reason
from ..errors import WorkerFailedError
from ..ppo import ActorCritic, RolloutBuffer
from ..ppo.buffer import ALL_ENVS
from ..protocol import EpisodeFinished, Event
from ..workers import WorkerPool
from ..workers.shared_memory import SharedArrays
from .device import load_global_generators, save_global_generators
from .game_clips import GameClips
from .metrics import Bookkeeping, PhaseTimes
from .recovery import Pairs, Recovery

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
        state_size=policy.state_size,
    )


class Collector:
    """Fills a rollout from a pool whose shared memory the rollout wraps.

    What an environment shows before step t lies in row ``K - 1 + t`` of the memory; what step t leads to is written,
    by the worker, into the row after it.

    Args:
        action_seed: of the noise that actions are sampled with; drawn for all environments of all ranks at once, so
            that the split into ranks and groups changes no action's noise.
        env_seeds: one for each environment, or None where they seed themselves.
        greedy: take the most probable actions instead of sampling them.
        recovery: replaces the workers that are lost on the way, where there are any.
        ranks: those who collect together, each with as many environments.
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
    ) -> None:
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
        self._under_way: dict[int, int] = {}  # group → the step that its workers were sent

    def reset(self) -> None:
        """Start the first episodes."""
        self._restore_point, self._steps_since = None, 0
        self._note(self._recovering(lambda: self._pool.reset_into(self._first_row, self._env_seeds)), t=-1)

    def _note(self, pairs: Pairs | None, t: int) -> None:
        """Tell of the environments that failed in step `t`; −1: in a reset."""
        if pairs and self._recovery:
            self._recovery.note(pairs, t)

    def _recovering(self, ask: Callable[[], _Reply]) -> _Reply:
        """What the workers answer, between two rollouts, after those lost are replaced and stand where they stood."""
        while True:
            try:
                return ask()
            except WorkerFailedError as lost:
                if self._recovery is None:
                    raise
                begun = self._recovery.between_rollouts(lost, self._restore_point, self._steps_since)
                self._begin_episodes(begun)

    def _begin_episodes(self, envs: Sequence[int]) -> None:
        """What these environments show before the next rollout is the first of an episode."""
        rollout, row = self._rollout, self._first_row
        rollout.starts[row, envs] = row
        if rollout.states is not None:
            rollout.states[0, envs] = 0.0

    def save_state(self) -> CollectorState:
        """Where the next rollout starts from; between two rollouts, after `RolloutBuffer.carry_over`."""
        envs = tuple(self._recovering(self._pool.save_states))
        self._restore_point, self._steps_since = envs, 0
        tensors = {**self._rollout.state_dict(), "action_generator": self._generator.get_state()}
        tensors |= save_global_generators(self._device)
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
        load_global_generators(state.tensors, self._device)
        self._restore_point, self._steps_since = state.envs, 0
        restarted = self._recovering(lambda: self._pool.restore_states(state.envs, row))
        self._begin_episodes(list(restarted))
        return restarted

    def step(self, t: int) -> None:
        """Act at step `t` of the rollout, group by group; each group then steps on its own."""
        if t == 0 and self._recovery:
            self._recovery.rollout_begins()
        noise = self._policy.draw_noise(self._all_envs, self._generator)[self._share]
        for group, envs in enumerate(self._groups):
            self._receive(group)
            with self._times.phase("copy"):
                observations = self._rollout.observation(t, envs).to(self._device)
                masks = self._rollout.mask(t, envs)
                masks = None if masks is None else masks.to(self._device)
                states = self._states(t, envs)
            with self._times.phase("infer"):
                chance = None if self._greedy else noise[envs].to(self._device)
                decision = self._policy.act(observations, noise=chance, masks=masks, states=states)
                env_actions = self._policy.env_actions(decision.actions)
            self._pool.send_step(group, env_actions, self._first_row + t + 1)
            self._under_way[group] = t
            with self._times.phase("copy"):
                self._rollout.store(t, decision, envs)

    def all_ended(self, t: int) -> bool:
        """Whether step `t`, the newest, has ended an episode in every environment; waits for it."""
        for group in range(len(self._groups)):
            self._receive(group)
        return bool((self._rollout.terminations[t] | self._rollout.truncations[t]).all())

    def finish(self, steps: int) -> RolloutBuffer:
        """Receive the last of `steps` steps and value what it leads to; the rollout that they make."""
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
        """What a recurrent policy remembers before step `t`, where it computes; None without memory."""
        states = self._rollout.state(t, envs)
        return None if states is None else states.to(self._device)

    def _receive(self, group: int) -> None:
        """Wait for the step of `group` that is under way, and value the final observations of what it truncated."""
        t = self._under_way.pop(group, None)
        if t is None:
            return
        with self._times.phase("wait"):
            try:
                pairs = self._pool.wait_step(group)
            except WorkerFailedError as lost:
                if self._recovery is None:
                    raise
                pairs = self._recovery.in_step(lost, self._restore_point, t)
        self._note(pairs, t)
        envs = self._groups[group]
        shared, row = self._pool.shared, self._first_row + t + 1
        truncated = shared.truncations[row, envs] & ~shared.terminations[row, envs]
        if truncated.any():
            with self._times.phase("infer"):
                for env in (np.flatnonzero(truncated) + envs.start).tolist():
                    stack = self._rollout.final_observation_stack(t, env, shared.final_observations[env])
                    states = self._states(t + 1, slice(env, env + 1))
                    self._rollout.final_values[t, env] = self._policy.value(stack.to(self._device), states)[0]
        self._rollout.mark_boundaries(t, envs)

    def finished_episodes(self, first_step: int, steps: int) -> Iterator[EpisodeFinished]:
        """The full games that ended in the rollout of so many steps, in the order of these, as all ranks count them.

        Args:
            first_step: environment steps of the run before this rollout.
        """
        shared = self._pool.shared
        first = self._first_row + 1
        lengths = shared.episode_lengths[first : first + steps]
        for t, env in np.argwhere(lengths > 0):
            yield EpisodeFinished(
                env=self._share.start + int(env),
                episode_return=float(shared.episode_returns[first + t, env]),
                length=int(lengths[t, env]),
                step=first_step + (int(t) + 1) * self._all_envs,
            )


_AHEAD = "ahead/"
"""What the names of a saved rollout's tensors begin with."""


class Rollouts:
    """Collects rollouts from a pool with a policy.

    Args:
        policy: acts.
        action_seed: of the noise that actions are sampled with.
        env_seed: of the environments' first episodes.
        books: is told of progress and episodes.
        check: called after every vector step; may raise to abandon the rollout.
        ranks: those who collect together, each from its own environments.

    Attributes:
        buffer: what the workers write into; each rollout lies in it until the next one begins.
        game: shows the environment that is watched.
        ahead: the rollout to learn from next, on memory of its own, where it has been collected already.
    """

    def __init__(
        self,
        config: Config,
        info: EnvInfo,
        pool: WorkerPool,
        policy: ActorCritic,
        *,
        action_seed: np.random.SeedSequence,
        env_seed: np.random.SeedSequence,
        books: Bookkeeping,
        check: Callable[[], None],
        emit: Callable[[Event], None],
        ranks: Ranks = ALONE,
    ) -> None:
        self._config, self._policy, self._books, self._check = config, policy, books, check
        self.ahead: RolloutBuffer | None = None
        self.buffer = wrap_rollout(pool.shared, policy, config, masked=info.num_masked > 0)
        names = info.action_meanings or ()
        self.game = GameClips(pool, policy, self.buffer, action_names=names, emit=emit, ranks=ranks)
        num_envs = config.rollout.num_envs
        env_seeds = [int(seed) for seed in env_seed.generate_state(num_envs) >> 1][ranks.share(num_envs)]
        recovery = Recovery(
            pool,
            policy,
            self.buffer,
            max_restarts=config.workers.max_restarts,
            env_seeds=env_seeds,
            emit=emit,
            on_change=lambda: emit(books.workers.changed()),
        )
        self._collector = Collector(
            pool,
            policy,
            self.buffer,
            times=books.times,
            action_seed=int(action_seed.generate_state(1)[0]),
            env_seeds=env_seeds,
            recovery=recovery,
            ranks=ranks,
        )

    def next(self, step: int, update: int) -> RolloutBuffer:
        """What to learn from: the rollout `ahead`, which is no more, or one collected now, on `buffer`'s memory.

        Args:
            step: environment steps of the run before this rollout.
            update: number of the update that learns from it.
        """
        if self.ahead is None:
            return self._collect(step, update)
        experience, self.ahead = self.ahead, None
        return experience

    def collect_ahead(self, step: int, update: int) -> None:
        """Collect the rollout that `next` will return; the arguments are as there."""
        experience = self._collect(step, update)
        with self._books.times.phase("copy"):
            self.ahead = experience.clone()
            experience.carry_over()

    def _collect(self, step: int, update: int) -> RolloutBuffer:
        self._books.rollout_begins()
        self.game.before_rollout(step)
        with self._policy.unchanged():
            for t in range(self._config.rollout.steps):
                self._collector.step(t)
                self._books.rollout_progress(step, update, t + 1)
                self._check()
                if self._config.rollout.whole_episodes and self._collector.all_ended(t):
                    break
            experience = self._collector.finish(steps=t + 1)
        self.game.after_rollout()
        self._books.rollout_done(t + 1, self._collector.finished_episodes(step, steps=t + 1))
        return experience

    def reset(self) -> None:
        """Start the first episodes."""
        self.ahead = None
        self._collector.reset()

    def save_state(self) -> CollectorState:
        """Where the next rollout starts from, after `RolloutBuffer.carry_over`, and the one that is `ahead` of it."""
        state = self._collector.save_state()
        if self.ahead is not None:
            state.tensors.update({_AHEAD + name: tensor for name, tensor in self.ahead.experience_dict().items()})
        return state

    def load_state(self, state: CollectorState) -> dict[int, str]:
        """Stand where `save_state` was called; the environments that begin anew, each with the reason."""
        ahead = {name.removeprefix(_AHEAD): tensor for name, tensor in state.tensors.items() if name.startswith(_AHEAD)}
        self.ahead = self.buffer.with_experience(ahead) if ahead else None
        return self._collector.load_state(state)
