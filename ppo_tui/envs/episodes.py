"""The raw score of each finished episode."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium


def episode_info(episode_return: float, length: int) -> dict[str, Any]:
    """What ``info["episode"]`` holds: `r`, the raw undiscounted return, and `l`, the agent steps.

    The keys are those of `gymnasium.wrappers.RecordEpisodeStatistics`.
    """
    return {"r": episode_return, "l": length}


class EpisodeReturn(gymnasium.Wrapper):
    """Put ``info["episode"]`` into the step that ends an episode, and into no other."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._return = 0.0
        self._length = 0

    @property
    def episode_return(self) -> float:
        """The raw return of the episode so far."""
        return self._return

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._return = 0.0
        self._length = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        self._length += 1
        if terminated or truncated:
            info = {**info, "episode": episode_info(self._return, self._length)}
        elif "episode" in info:
            info = {key: value for key, value in info.items() if key != "episode"}
        return observation, reward, terminated, truncated, info
