"""``python -m benchmarks.peer_minutes``: the return of Stable-Baselines3 by the clock.

Its PPO with rl-baselines3-zoo's settings for Atari, for docs/results.md: what a game's score is after some minutes on
this machine. Source of the settings: ``hyperparams/ppo.yml`` of rl-baselines3-zoo.
"""

from __future__ import annotations

import csv
import statistics
import time
from pathlib import Path
from typing import Annotated

import ale_py
import gymnasium
import typer
from stable_baselines3 import PPO
from stable_baselines3.common import vec_env as vec_envs
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env

TOTAL_STEPS = 10_000_000
"""Over which the learning rate and the clip range fall, as in the zoo."""


class MinuteClock(BaseCallback):
    """A row for each update, until the time is up.

    Attributes:
        rows: minutes since the start, steps of all environments, raw mean return of the last 100 games.
    """

    def __init__(self, minutes: float) -> None:
        super().__init__()
        self._minutes = minutes
        self._began = time.monotonic()
        self.rows: list[tuple[float, int, float]] = []

    def _on_rollout_end(self) -> None:
        if games := self.model.ep_info_buffer:
            mean = statistics.fmean(game["r"] for game in games)
            self.rows.append((self._elapsed(), self.num_timesteps, mean))

    def _on_step(self) -> bool:
        return self._elapsed() < self._minutes

    def _elapsed(self) -> float:
        return (time.monotonic() - self._began) / 60


def train(game: str, minutes: float, seed: int, vec_env: str) -> MinuteClock:
    """Train one game for so many minutes."""
    gymnasium.register_envs(ale_py)
    envs = make_atari_env(f"{game}NoFrameskip-v4", n_envs=8, seed=seed, vec_env_cls=getattr(vec_envs, vec_env))
    envs = vec_envs.VecFrameStack(envs, 4)
    model = PPO(
        "CnnPolicy",
        envs,
        n_steps=128,
        n_epochs=4,
        batch_size=256,
        learning_rate=lambda remaining: 2.5e-4 * remaining,
        clip_range=lambda remaining: 0.1 * remaining,
        vf_coef=0.5,
        ent_coef=0.01,
        seed=seed,
        device="cpu",
    )
    clock = MinuteClock(minutes)
    try:
        model.learn(TOTAL_STEPS, callback=clock)
    finally:
        envs.close()
    return clock


def main(
    game: Annotated[str, typer.Argument(help="Breakout, Pong or another game of ale-py.")],
    minutes: Annotated[float, typer.Option(min=0.1, help="How long it trains.")] = 15.0,
    seed: Annotated[int, typer.Option(help="Of its environments and its network.")] = 1,
    vec_env: Annotated[str, typer.Option(help="DummyVecEnv or SubprocVecEnv.")] = "DummyVecEnv",
    out: Annotated[Path | None, typer.Option("--csv", help="Where the whole curve is written.")] = None,
) -> None:
    """Train with Stable-Baselines3 and print the return at the end."""
    rows = train(game, minutes, seed, vec_env).rows
    if out is not None:
        with out.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["minutes", "steps", "mean_return_100"])
            writer.writerows(rows)
    elapsed, steps, mean = rows[-1]
    print(f"{game}, seed {seed}, {vec_env}: {mean:.1f} after {elapsed:.1f} min and {steps:,} steps")


if __name__ == "__main__":
    typer.run(main)
