"""Stable-Baselines3's PPO, with both of its vector environments.

Set to the preset's hyper-parameters.
"""

from __future__ import annotations

import time

import ale_py
import gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common import vec_env as vec_envs
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env

from benchmarks.effort import Effort
from benchmarks.timing import update_rate
from benchmarks.work import breakout
from ppo_tui import Config


class UpdateClock(BaseCallback):
    """A record of the end of each update.

    It is the start of the next rollout, or the end of the training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.boundaries: list[float] = []

    def _on_rollout_start(self) -> None:
        if self.num_timesteps > 0:
            self.boundaries.append(time.perf_counter())

    def _on_training_end(self) -> None:
        self.boundaries.append(time.perf_counter())

    def _on_step(self) -> bool:
        return True


def training(effort: Effort, vec_env: str) -> dict[str, float]:
    """Collecting and learning together, in ``DummyVecEnv`` or ``SubprocVecEnv``."""
    config = breakout(num_updates=effort.updates)
    clock = UpdateClock()
    envs = make_atari_env(
        bare_breakout,
        n_envs=config.rollout.num_envs,
        seed=config.run.seed,
        vec_env_cls=getattr(vec_envs, vec_env),
    )
    envs = vec_envs.VecFrameStack(envs, config.env.frame_stack)
    try:
        build(config, envs).learn(config.planned_steps, callback=clock)
    finally:
        envs.close()
    return {"steps_per_second": update_rate(clock.boundaries, config.batch_size)}


def bare_breakout() -> gymnasium.Env:
    """Breakout under the classic rules, for SB3's own wrappers.

    ale-py's ids exist only where ale-py was imported.
    """
    gymnasium.register_envs(ale_py)
    return gymnasium.make("BreakoutNoFrameskip-v4")


def build(config: Config, envs: vec_envs.VecEnv) -> PPO:
    """The same algorithm as `config` describes."""
    ppo = config.ppo
    return PPO(
        "CnnPolicy",
        envs,
        learning_rate=lambda remaining: config.optim.learning_rate * remaining,
        n_steps=config.rollout.steps,
        batch_size=config.minibatch_size,
        n_epochs=ppo.epochs,
        gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        clip_range_vf=ppo.clip_range if ppo.clip_value_loss else None,
        normalize_advantage=ppo.normalize_advantage,
        ent_coef=ppo.entropy_coef,
        vf_coef=ppo.value_coef / 2,  # its value loss lacks the factor ½
        max_grad_norm=config.optim.max_grad_norm,
        policy_kwargs={"optimizer_kwargs": {"eps": config.optim.adam_eps}},
        seed=config.run.seed,
        device="cpu",
    )
