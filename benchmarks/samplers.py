"""Sampling by Gymnasium, by ale-py, and by bare emulators."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any, SupportsFloat, cast

import ale_py
import gymnasium
import numpy as np
from ale_py import roms
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation, TransformReward

from benchmarks.effort import Effort
from benchmarks.timing import steps_per_second
from benchmarks.work import GAME, MAX_FRAMES, atari_rules, breakout, num_actions
from ppo_tui import Config, make_env
from ppo_tui.workers import available_cores


def gymnasium_async(effort: Effort) -> dict[str, float]:
    """Gymnasium's process for each environment.

    It has no FIRE wrapper, and a lost life starts a new game.
    """
    config = breakout(num_updates=effort.updates)
    constructors = [lambda: wrapped(config)] * config.rollout.num_envs
    return random_play(AsyncVectorEnv(constructors, autoreset_mode=AutoresetMode.SAME_STEP), effort)


def wrapped(config: Config) -> gymnasium.Env:
    """Breakout behind Gymnasium's own wrappers."""
    atari = atari_rules(config)
    gymnasium.register_envs(ale_py)
    env = gymnasium.make("ALE/Breakout-v5", frameskip=1, repeat_action_probability=atari.sticky_actions)
    env = AtariPreprocessing(
        env,
        noop_max=atari.noop_max,
        frame_skip=atari.frame_skip,
        screen_size=atari.screen_size,
        terminal_on_life_loss=atari.life_loss == "terminal",
    )
    env = FrameStackObservation(env, config.env.frame_stack)
    if not atari.clip_reward:
        return env
    return TransformReward(env, cast(Callable[[SupportsFloat], SupportsFloat], np.sign))  # typed for arrays alone


def ale_vector(effort: Effort) -> dict[str, float]:
    """ale-py's threads in C++.

    A lost life starts a new game, and FIRE is pressed only then.
    """
    config = breakout(num_updates=effort.updates)
    atari = atari_rules(config)
    envs = ale_py.AtariVectorEnv(
        GAME,
        config.rollout.num_envs,
        num_threads=available_cores(),
        autoreset_mode=AutoresetMode.SAME_STEP,
        max_num_frames_per_episode=MAX_FRAMES,
        repeat_action_probability=atari.sticky_actions,
        img_height=atari.screen_size,
        img_width=atari.screen_size,
        stack_num=config.env.frame_stack,
        frameskip=atari.frame_skip,
        noop_max=atari.noop_max,
        episodic_life=atari.life_loss == "terminal",
        reward_clipping=atari.clip_reward,
        use_fire_reset=atari.fire_reset,
    )
    return random_play(envs, effort)


def random_play(envs: VectorEnv, effort: Effort) -> dict[str, float]:
    """The rate of a vector environment under random actions.

    It resets in the step that ends an episode, so that every step counts.
    """
    random, actions = np.random.default_rng(0), num_actions(envs.single_action_space)

    def step() -> int:
        envs.step(random.integers(actions, size=envs.num_envs))
        return envs.num_envs

    envs.reset(seed=0)
    try:
        return {"steps_per_second": steps_per_second(step, effort.seconds)}
    finally:
        envs.close()


def raw_emulator(effort: Effort) -> dict[str, float]:
    """A bare emulator on each core.

    Four frames for each random action and nothing else; the screen is never read.
    """
    return _on_each_core(_emulate, effort)


def emulator_by_the_rules(effort: Effort) -> dict[str, float]:
    """A bare emulator on each core, with our environments' frames.

    The rules add frames that are no steps of the agent: NOOPs at the start of an episode, NOOP and FIRE after a lost
    life. No sampler under these rules can be faster. The screen is never read.
    """
    return _on_each_core(_emulate_by_the_rules, effort)


def _on_each_core(emulate: Callable[[float], float], effort: Effort) -> dict[str, float]:
    cores = available_cores()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(cores)
    with context.Pool(cores, initializer=_share, initargs=(barrier,)) as processes:
        rates = processes.map(emulate, [effort.seconds] * cores, chunksize=1)
    return {"steps_per_second": sum(rates)}


def _share(barrier: Barrier) -> None:
    global _all_loaded
    _all_loaded = barrier


def _emulate(seconds: float) -> float:
    """One emulator's rate, while all the others run.

    Each process waits here for the last to be ready.
    """
    frame_skip = atari_rules(breakout(num_updates=0)).frame_skip
    ale = _loaded_emulator()
    actions, random = ale.getMinimalActionSet(), np.random.default_rng()

    def step() -> int:
        action = actions[random.integers(len(actions))]
        for _ in range(frame_skip):
            ale.act(action)
        if ale.game_over():
            ale.reset_game()
        return 1

    _all_loaded.wait()
    return steps_per_second(step, seconds)


def _emulate_by_the_rules(seconds: float) -> float:
    """As `_emulate`, with the emulator calls of our own environment.

    They are recorded before and run in a loop.
    """
    calls = recorded_calls(agent_steps=4000)
    ale = _loaded_emulator()
    steps = itertools.cycle(calls)

    def step() -> int:
        for action in next(steps):
            if action is None:
                ale.reset_game()
            else:
                ale.act(action)
        return 1

    _all_loaded.wait()
    return steps_per_second(step, seconds)


def recorded_calls(agent_steps: int) -> list[list[ale_py.Action | None]]:
    """The emulator calls of our Breakout in each random agent step.

    An action of the emulator, or None for a reset. The reset after an episode belongs to its last step, and the first
    step begins with one.
    """
    env, random = make_env(breakout(num_updates=0).env), np.random.default_rng(0)
    atari: Any = env.unwrapped
    recorder = atari._ale = _Recorder(atari._ale)
    env.reset(seed=0)
    for action in random.integers(num_actions(env.action_space), size=agent_steps):
        _, _, terminated, truncated, _ = env.step(int(action))
        if terminated or truncated:
            env.reset()
        recorder.end_step()
    return recorder.steps


class _Recorder:
    """An emulator with a record of its calls."""

    def __init__(self, ale: ale_py.ALEInterface) -> None:
        self._ale = ale
        self._calls: list[ale_py.Action | None] = []
        self.steps: list[list[ale_py.Action | None]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ale, name)

    def act(self, action: ale_py.Action) -> float:
        self._calls.append(action)
        return self._ale.act(action)

    def reset_game(self) -> None:
        self._calls.append(None)
        self._ale.reset_game()

    def end_step(self) -> None:
        self.steps.append(self._calls)
        self._calls = []


def _loaded_emulator() -> ale_py.ALEInterface:
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(str(roms.get_rom_path(GAME)))
    return ale
