"""The rollouts of a training, one after the other: collected, told about, and shown to whoever watches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..config import Config
from ..envs import EnvInfo
from ..ppo import ActorCritic, RolloutBuffer
from ..protocol import Event
from ..workers import WorkerPool
from .bookkeeping import Bookkeeping
from .collector import Collector, CollectorState, wrap_rollout
from .gameview import GameView
from .recovery import Recovery


class Rollouts:
    """Collects rollouts from a pool with a policy.

    Args:
        policy: acts.
        action_seed: of the noise that actions are sampled with.
        env_seed: of the environments' first episodes.
        books: is told of progress and episodes.
        check: called after every vector step; may raise to abandon the rollout.

    Attributes:
        buffer: what the workers write into; each rollout lies in it until the next one begins.
        game: shows the environment that is watched.
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
    ) -> None:
        self._config, self._books, self._check = config, books, check
        self.buffer = wrap_rollout(pool.shared, policy, config, masked=info.num_masked > 0)
        self.game = GameView(pool, policy, self.buffer, action_names=info.action_meanings or (), emit=emit)
        env_seeds = [int(seed) for seed in env_seed.generate_state(config.rollout.num_envs) >> 1]
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
        )

    def collect(self, step: int, update: int) -> RolloutBuffer:
        """The experience of the policy as it is, on the memory of `buffer`.

        Args:
            step: environment steps of the run before this rollout.
            update: number of the update that is in progress.
        """
        self._books.rollout_begins()
        self.game.before_rollout(step)
        for t in range(self._config.rollout.steps):
            self._collector.step(t)
            self._books.rollout_progress(step, update, t + 1)
            self._check()
            if self._config.rollout.whole_episodes and self._collector.all_ended(t):
                break
        experience = self._collector.finish(steps=t + 1)
        self.game.after_rollout()
        for episode in self._collector.finished_episodes(step, steps=t + 1):
            self._books.episode_finished(episode)
        self._books.rollout_done(t + 1)
        return experience

    def reset(self) -> None:
        """Start the first episodes."""
        self._collector.reset()

    def save_state(self) -> CollectorState:
        """Where the next rollout starts from; between two rollouts, after `RolloutBuffer.carry_over`."""
        return self._collector.save_state()

    def load_state(self, state: CollectorState) -> dict[int, str]:
        """Stand where `save_state` was called; the environments that begin anew, each with the reason."""
        return self._collector.load_state(state)
