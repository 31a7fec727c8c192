"""EnvPool: alone with random actions, and driving a plain single-file learner."""

from __future__ import annotations

import time
from typing import Any

import envpool
import numpy as np

from benchmarks.effort import Effort
from benchmarks.timing import steps_per_second, update_rate
from benchmarks.work import MAX_FRAMES, atari_rules, breakout
from ppo_tui import Config
from ppo_tui.workers import available_cores


def make(config: Config) -> Any:
    """EnvPool's Breakout under the rules of `config`.

    Its length of an episode is counted in agent steps.
    """
    atari = atari_rules(config)
    return envpool.make(
        "Breakout-v5",
        env_type="gymnasium",
        num_envs=config.rollout.num_envs,
        num_threads=available_cores(),
        seed=config.run.seed,
        max_episode_steps=MAX_FRAMES // atari.frame_skip,
        stack_num=config.env.frame_stack,
        frame_skip=atari.frame_skip,
        noop_max=atari.noop_max,
        episodic_life=atari.life_loss == "terminal",
        reward_clip=atari.clip_reward,
        use_fire_reset=atari.fire_reset,
        img_height=atari.screen_size,
        img_width=atari.screen_size,
        gray_scale=True,
        repeat_action_probability=atari.sticky_actions,
    )


def training(effort: Effort) -> dict[str, float]:
    """Collecting and learning together."""
    from benchmarks.cleanrl_style import CleanRLStyle

    config = breakout(num_updates=effort.updates)
    envs = make(config)
    learner = CleanRLStyle(envs, config, num_actions=envs.action_space.n)
    boundaries = []
    for update in range(config.num_updates):
        learner.update(progress=update / config.num_updates)
        boundaries.append(time.perf_counter())
    return {"steps_per_second": update_rate(boundaries, config.batch_size)}


def sampling(effort: Effort) -> dict[str, float]:
    """Sampling with random actions.

    The call that resets an environment after its episode is no step of the agent.
    """
    envs = make(breakout(num_updates=effort.updates))
    random, num_envs = np.random.default_rng(0), len(envs.reset()[0])
    ended = np.zeros(num_envs, dtype=bool)

    def step() -> int:
        nonlocal ended
        resets = ended.sum()
        _, _, terminations, truncations, _ = envs.step(random.integers(envs.action_space.n, size=num_envs))
        ended = terminations | truncations
        return num_envs - int(resets)

    return {"steps_per_second": steps_per_second(step, effort.seconds)}
