"""The rollouts of a training, one after the other: collected, told about, and shown to whoever watches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..config import Config
from ..distributed.ranks import ALONE, Ranks
from ..envs import EnvInfo
from ..ppo import ActorCritic, RolloutBuffer
from ..protocol import Event
from ..workers import WorkerPool
from .bookkeeping import Bookkeeping
from .collect import Collector, CollectorState, wrap_rollout
from .game_clips import GameView
from .recovery import Recovery

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
        self.game = GameView(pool, policy, self.buffer, action_names=names, emit=emit, ranks=ranks)
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
