"""Small environments, registered with Gymnasium for one test."""

from collections.abc import Callable

import gymnasium
import pytest
from gymnasium.spaces import Discrete, Space


class ScriptedEnv(gymnasium.Env):
    """Samples of its spaces for `length` steps of reward 0.5; records actions."""

    metadata = {"render_modes": []}  # noqa: RUF012, as Gymnasium's own environments declare it

    def __init__(self, observation_space: Space, action_space: Space, length: int) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.length = length
        self.actions: list = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.actions.clear()
        self.given = self.observation_space.sample()
        return self.given, {}

    def step(self, action):
        self.actions.append(action)
        self.given = self.observation_space.sample()
        return self.given, 0.5, len(self.actions) == self.length, False, {"episode": "not the real one"}


@pytest.fixture
def register():
    """A function to register an environment for one test; returns its id."""
    ids: list[str] = []

    def add(
        observations: Space | None = None,
        actions: Space | None = None,
        *,
        length: int = 3,
        entry_point: Callable | None = None,
        **spec,
    ) -> str:
        env_id = spec.pop("id", f"Scripted{len(ids)}-v0")
        gymnasium.register(
            env_id,
            entry_point=entry_point
            or (lambda: ScriptedEnv(observations or Discrete(2), actions or Discrete(2), length)),
            **spec,
        )
        ids.append(env_id)
        return env_id

    yield add
    for env_id in ids:
        del gymnasium.registry[env_id]
