"""The PPO engine: collect from a worker pool, then learn.

A2C is a special case of it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ..envs import EnvInfo
from ..ppo import Hyperparameters, Interface, Learner, RolloutBuffer, build_policy
from ..protocol import WatchGame
from ..workers import WorkerPool, own_cores
from .checkpoint.files import Origin
from .checkpoint.snapshot import Position
from .collect import Rollouts
from .controls import Controls
from .device import Threads, choose_threads, device_of, seed_global_generators
from .engine import Collected
from .hub import RunContext
from .metrics import RunMetrics
from .overlap import Learning
from .start import share_of_config, start_pool


class PPOEngine:
    """An `Engine` for PPO with a worker pool.

    Args:
        pool: workers that have been started already, or None.
        origin: of the checkpoint to resume.

    Raises:
        ConfigError: the device does not exist, or the networks do not fit.
        WorkerError: the workers could not start.
    """

    live_settings = frozenset(field.name for field in dataclasses.fields(Hyperparameters))

    def __init__(
        self, context: RunContext, info: EnvInfo, *, pool: WorkerPool | None, origin: Origin | None = None
    ) -> None:
        config, ranks = context.config, context.ranks
        self._context = context
        self.device = ranks.device or device_of(config)
        self.pool = pool or start_pool(
            share_of_config(config, ranks.size, ranks.local_size), info=info, luck=[ranks.rank]
        )
        try:
            self.metrics = RunMetrics(context, self.pool, self.device)
            if origin and config.run.torch_threads == "auto":
                # The last bits of sums depend on how many threads compute them.
                self.threads = Threads(act=origin.act_threads, learn=origin.learn_threads)
            else:
                self.threads = choose_threads(config, info, self.pool.num_workers, own_cores(ranks.local_size))
            self.pool.wait_until_ready()
            # The last bits of the initial weights depend on the number of threads that compute them.
            torch.set_num_threads(self.threads.learn)
            policy_seed, action_seed, env_seed, layer_seed = np.random.SeedSequence(config.run.seed).spawn(4)
            seed_global_generators(int(layer_seed.generate_state(1)[0]) + ranks.rank)
            self.policy = build_policy(
                info.observation_space,
                info.action_space,
                config.policy,
                frame_stack=config.env.frame_stack,
                normalize_values=config.ppo.normalize_values,
                seed=int(policy_seed.generate_state(1)[0]),
            ).to(self.device)
            self.policy.interface = Interface(info, config.env)
            self.learner = Learner(self.policy, config, self.device, ranks)
            self._learning = Learning(
                context,
                self.learner,
                threads=self.threads.learn,
                times=self.metrics.times,
                action_names=info.action_meanings or (),
            )
            self._acting = copy.deepcopy(self.policy) if config.run.overlap else self.policy
            self.rollouts = Rollouts(
                context, info, self.pool, self._acting, self.metrics, action_seed=action_seed, env_seed=env_seed
            )
        except BaseException:
            self.pool.close()
            raise

    @property
    def has_rollout_ahead(self) -> bool:
        return self.rollouts.ahead is not None

    @property
    def groups(self) -> Sequence[slice]:
        return [self.pool.group_envs(group) for group in range(self.pool.num_groups)]

    def begin(self, hyper: Hyperparameters) -> None:
        """Nothing to start: the environments wait for their first actions."""

    def collect(self, position: Position, hyper: Hyperparameters, controls: Controls) -> Collected[RolloutBuffer]:
        """Return the rollout collected ahead, else collect one.

        The latter is collected with the present policy.
        """
        torch.set_num_threads(self.threads.act)
        step, update = position.step, position.update + 1
        self.rollouts.clips.gamma = hyper.gamma
        if self._context.config.run.overlap:
            self._acting.load_state_dict(self.policy.state_dict())
            if self.rollouts.ahead is None:
                self._collect_ahead(step, update, controls)
        experience = self.rollouts.next(step, update, lambda: self._after_step(controls))
        return Collected(experience, len(experience) * self._context.ranks.size)

    def learn(
        self,
        collected: Collected[RolloutBuffer],
        position: Position,
        hyper: Hyperparameters,
        controls: Controls,
        *,
        more_wanted: bool,
    ) -> Mapping[str, float | None]:
        """Improve the policy on the rollout.

        With ``run.overlap``, the next one is collected meanwhile.
        """
        experience, number = collected.experience, position.update + 1
        if self._context.config.run.overlap and more_wanted:
            step = position.step + collected.steps
            return self._learning.update_during(
                lambda: self._collect_ahead(step, number + 1, controls), experience, hyper, number, controls
            )
        metrics = self._learning.update(experience, hyper, number, controls)
        with self.metrics.times.phase("copy"):
            experience.carry_over()
        return metrics

    def pause(self, paused: bool) -> None:
        self._learning.pause(paused)

    def allow(self, minibatches: int | None) -> None:
        self._learning.allow(minibatches)

    def watch(self, command: WatchGame) -> None:
        self.rollouts.clips.watch(command)

    def _collect_ahead(self, step: int, update: int, controls: Controls) -> None:
        self.rollouts.collect_ahead(step, update, lambda: self._after_step(controls))

    def _after_step(self, controls: Controls) -> None:
        """Publish learning progress and obey commands, after each vector step."""
        self._learning.publish_progress(controls)
        controls.check(mid_update=self._learning.under_way)
