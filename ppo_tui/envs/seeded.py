"""Episodes that each begin from a seed of their own, so that the same ones can be played again by any policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium

from ..config.environment import EnvConfig
from .making import make_env


class SeededEpisodes(gymnasium.Wrapper):
    """Seeds each reset that names no seed with the next of `seeds`; those after them go on from the last one."""

    def __init__(self, env: gymnasium.Env, seeds: Sequence[int]) -> None:
        super().__init__(env)
        self._seeds = iter(seeds)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return self.env.reset(seed=next(self._seeds, None) if seed is None else seed, options=options)


def make_seeded_env(config: EnvConfig, seeds: Sequence[int]) -> gymnasium.Env:
    """`make_env` with a seed for each episode; raises as it does."""
    return SeededEpisodes(make_env(config), seeds)
