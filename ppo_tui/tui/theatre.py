"""The state of `ppo-tui watch`: programme, wishes and scores. No widgets."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import msgspec

from ..protocol import Alarm, EpisodeFinished, Event, Level, RunFinished
from ..training.evaluation.programme import (
    AS_FAST_AS_IT_GOES,
    MOST_STAGES,
    Choice,
    NowPlaying,
    Scores,
)
from ..workers.clip_recorder import GAME_FPS
from .clip_player import ClipPlayer
from .controller import Controller
from .session import WatchSession

SPEEDS = (0.5, 1.0, 2.0, 4.0, 8.0, AS_FAST_AS_IT_GOES)


class TheatreController(Controller):
    """A controller of trained policies at play.

    Attributes:
        choices: the policies that can be watched, from the least to the most trained.
        programme: what the user wishes to see.
        playing: what is played now; None before the first game.
        scores: returns of the games so far.
        returned: by stage, the return of the present game where it has ended.
        ended: the engine plays no more.
        problems: of the engine, to be told.
    """

    def __init__(self, session: WatchSession, clock: Callable[[], float], *, fps: float) -> None:
        super().__init__(session, clock, fps=fps)
        self.players = [self.clip_player]
        self.players += [ClipPlayer(session, clock, fps, stage, pinned=True) for stage in range(1, MOST_STAGES)]
        self.choices = session.choices
        self.programme = session.programme
        self.playing: NowPlaying | None = None
        self.scores = Scores()
        self.returned: dict[int, float] = {}
        self.ended = False
        self.problems: deque[str] = deque()
        self._set_pace()

    def choice(self, name: str) -> Choice:
        """The policy of this name."""
        return next(choice for choice in self.choices if choice.name == name)

    @property
    def chosen(self) -> Choice:
        """The most trained policy on the stages."""
        return self.choice(self.programme.checkpoints[-1])

    def take(self, event: Event) -> None:
        super().take(event)
        self.scores.apply(event)
        match event:
            case NowPlaying():
                if (before := self.playing) is not None and _cast(before) != _cast(event):
                    self.view.last_returns.clear()  # of the policies that stood there before
                self.playing = event
                self.returned = {}
                if event.scene == self.programme.scene:
                    self.programme = msgspec.structs.replace(self.programme, game=event.game)
            case EpisodeFinished(env=stage, episode_return=value):
                self.returned[stage] = value
            case Alarm(level=Level.ERROR):
                self.problems.append(event.text)
            case RunFinished():
                self.ended = True

    # ── Wishes ──────────────────────────────────────────────────────────────────────────────────────────────

    def next_game(self) -> None:
        self._wish(cut=True, game=self.programme.game + 1)

    def move(self, direction: int) -> bool:
        """Watch a less or a more trained policy; False without one."""
        index = self.choices.index(self.chosen) + direction
        if not 0 <= index < len(self.choices):
            return False
        self._show(index, len(self.programme.checkpoints))
        return True

    def change_speed(self, direction: int) -> None:
        index = SPEEDS.index(self.programme.speed) + direction
        self._wish(speed=SPEEDS[min(max(index, 0), len(SPEEDS) - 1)])

    def toggle_hold(self) -> None:
        self._wish(held=not self.programme.held)

    def toggle_greedy(self) -> None:
        self._wish(cut=True, greedy=not self.programme.greedy)

    def choose_gaze(self) -> None:
        self.clip_player.choose_gaze()
        self._wish(gaze=self.clip_player.gaze)

    def change_stages(self, most: int) -> bool:
        """Show one policy more beside the chosen one.

        After `most`, the chosen one is alone again. Returns False where there is no other policy.
        """
        index, count = self.choices.index(self.chosen), len(self.programme.checkpoints)
        most = min(most, MOST_STAGES, index + 1)
        if most < 2 and count < 2:
            return False
        self._show(index, count + 1 if count < most else 1)
        return True

    def _show(self, index: int, count: int) -> None:
        """Cast `count` policies, up to the one at `index`."""
        self._wish(cut=True, checkpoints=cast_of(self.choices[: index + 1], count))

    def _wish(self, *, cut: bool = False, **changes: object) -> None:
        scene = self.programme.scene + cut
        self.programme = msgspec.structs.replace(self.programme, scene=scene, **changes)
        self._set_pace()
        self.session.send(self.programme)

    def _set_pace(self) -> None:
        speed, fps = self.programme.speed, self.clip_player.fps
        for player in self.players:
            player.pace = speed * GAME_FPS / fps if fps > 0 and math.isfinite(speed) else speed
            player.held = self.programme.held


def _cast(playing: NowPlaying) -> tuple[object, ...]:
    """The policies on the stages, and how they choose."""
    return playing.checkpoints, playing.greedy


def cast_of(choices: tuple[Choice, ...], count: int) -> tuple[str, ...]:
    """Names of up to `count` policies, evenly spread, with the last one."""
    last = len(choices) - 1
    count = min(count, len(choices))
    if count < 2:
        return (choices[last].name,)
    return tuple(choices[round(place * last / (count - 1))].name for place in range(count))
