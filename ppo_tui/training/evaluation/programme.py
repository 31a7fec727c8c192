"""The programme of `ppo-tui watch`: policies, games, speed. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...plotting import formats
from ...protocol import Command, EpisodeFinished, Event, Gaze

AS_FAST_AS_IT_GOES = float("inf")

UNTRAINED = "untrained"
"""The name of a policy with fresh weights, the clumsy beginning of every run."""

MOST_STAGES = 4
"""Policies that play side by side."""


class Choice(NamedTuple):
    """A policy to be watched.

    Attributes:
        name: of the checkpoint's directory, or `UNTRAINED`.
        step: environment steps of its training.
        label: ``latest``, ``best`` or both; else empty.
        path: of the checkpoint; None for fresh weights.
        score: mean return of the last training episodes at that step, or None.
    """

    name: str
    step: int = 0
    label: str = ""
    path: Path | None = None
    score: float | None = None

    @property
    def title(self) -> str:
        """Such as: checkpoint 120,064 (latest)."""
        if self.path is None:
            return UNTRAINED
        return f"checkpoint {self.step:,}" + (f" ({self.label})" if self.label else "")


class Programme(Command, frozen=True, kw_only=True, tag="programme"):
    """The whole wish of the screen, sent anew with every key.

    It never travels over a socket: only the engine of `watch` obeys it.

    Attributes:
        checkpoints: names of the `Choice`s that play side by side, 1 to `MOST_STAGES`.
        game: number of the game to begin with, from 1 on; all policies play it from the same seed.
        greedy: always take the most probable action.
        speed: how many times as fast as the environment's own pace.
        held: stand still.
        scene: grows with each wish that cuts what is played; the engine then begins `game`.
    """

    checkpoints: tuple[str, ...]
    game: int = 1
    greedy: bool = True
    speed: float = 1.0
    held: bool = False
    gaze: Gaze = Gaze.NONE
    scene: int = 0


class NowPlaying(Event, frozen=True, kw_only=True, tag="now-playing"):
    """The beginning of a game.

    Environment e of later events is that of the e-th checkpoint. The attributes are as of `Programme`.
    """

    checkpoints: tuple[str, ...]
    game: int
    greedy: bool
    scene: int


def returns_text(returns: Sequence[float], most: int) -> str:
    """The newest returns and their mean, such as: 500 500, mean 500."""
    shown = " ".join(formats.number(each) for each in returns[-most:])
    return f"{shown} · mean {formats.number(sum(returns) / len(returns))}" if returns else formats.NOTHING


class Scores:
    """Returns of the games so far, as folded from the engine's events.

    Attributes:
        returns: by name of the checkpoint and whether it was greedy, in the order of playing.
    """

    def __init__(self) -> None:
        self.returns: dict[tuple[str, bool], list[float]] = {}
        self._playing: NowPlaying | None = None

    def apply(self, event: Event) -> None:
        if isinstance(event, NowPlaying):
            self._playing = event
        elif isinstance(event, EpisodeFinished) and self._playing:
            key = self._playing.checkpoints[event.env], self._playing.greedy
            self.returns.setdefault(key, []).append(event.episode_return)

    def of(self, name: str, greedy: bool) -> list[float]:
        """The returns of a policy so far."""
        return self.returns.get((name, greedy), [])
