"""Real runs with faults in them."""

from __future__ import annotations

from collections.abc import Callable

from ppo_tui import Trainer, load_preset
from ppo_tui.config import Config
from ppo_tui.protocol import Event
from tests.training.test_trainer import Recorder

FAULTY = "tests.faults.envs:FaultyCartPole-v0"
UPDATES = 4
"""Updates of a run of `faulty`."""


def faulty(*overrides: str, env_id: str = FAULTY, preset: str = "cartpole", **kwargs) -> Config:
    """A small run of two workers with two environments each; `kwargs` are the environment's."""
    settings = [
        "rollout.num_envs=4",
        "rollout.steps=32",
        "ppo.minibatches=2",
        "ppo.epochs=2",
        "workers.count=2",
        "workers.step_timeout=3.0",
        f"run.total_steps={UPDATES * 4 * 32}",
        f"env.id={env_id}",
        *(f"env.kwargs.{key}={value!r}" for key, value in kwargs.items() if value is not None),
        *overrides,
    ]
    return load_preset(preset, overrides=settings)


def train(config: Config, react: Callable[[Trainer, Event], None] = lambda trainer, event: None, **arguments):
    """A finished run: its trainer, result and record."""
    recorder = Recorder(lambda event: react(trainer, event))
    trainer = Trainer(config, sinks=[recorder], **arguments)
    return trainer, trainer.run(), recorder
