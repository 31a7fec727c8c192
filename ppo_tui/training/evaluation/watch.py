"""A trained policy at play for those who watch: an engine that emits clips and games, and learns nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec

from ...protocol import Command, EpisodeFinished, Event, RunFinished, RunStarted, RunState, StateChanged, Stop
from ...workers.clip_recorder import GAME_FPS
from ..game_clips import ClipEncoder, Take
from ..metrics import run_started
from .evaluate import Play
from .setup import EvaluationSetup

CLIP_SECONDS = 2.0

LEAD_SECONDS = 1.0
"""A clip is there so long before the one that plays ends. The screen looks for it several times in this time."""

_ENV = 0


class WatchEngine:
    """Plays game after game in one environment.

    Args:
        name: of the run.
        episodes: full games, after which it ends; None goes on until it is stopped.
        emit: takes the events.
        fps: how fast a watcher plays the frames; None for those that take them as fast as they come.
    """

    def __init__(
        self,
        stage: EvaluationSetup,
        *,
        name: str,
        episodes: int | None,
        emit: Callable[[Event], None],
        fps: float | None,
    ) -> None:
        self._stage, self._name, self._episodes, self._fps = stage, name, episodes, fps
        self._emit_to = emit
        self._stopped = threading.Event()
        self._began = time.monotonic()
        self._shown_until = 0.0
        self._games: list[EpisodeFinished] = []

    def send(self, command: Command) -> None:
        """Obey `Stop`; there is nothing else to steer."""
        if isinstance(command, Stop):
            self._stopped.set()

    def run(self) -> None:
        """Play until the games are done or it is stopped; closes the workers.

        Raises:
            As `Play` does.
        """
        try:
            play = Play(self._stage)
            self._emit(self._started(play))
            self._emit(StateChanged(state=RunState.TRAINING, reason="playing, not learning"))
            number = 0
            while not self._done(number):
                number = self._play_clip(play, number)
        finally:
            self._stage.pool.close()
        state = RunState.STOPPED if self._stopped.is_set() else RunState.FINISHED
        reason = "1 game played" if number == 1 else f"{number:,} games played"
        self._emit(RunFinished(state=state, exit_code=0, reason=reason, step=play.step, update=0))

    def _done(self, number: int) -> bool:
        return self._stopped.is_set() or (self._episodes is not None and number >= self._episodes)

    def _play_clip(self, play: Play, number: int) -> int:
        """Play and film as much as a clip holds, send it in time, and return the games done by then."""
        fps = self._fps or GAME_FPS
        wanted = max(1, round(CLIP_SECONDS * fps))
        take = Take(_ENV, play.step, fps, wanted, time.monotonic())
        cutter = ClipEncoder(play.policy, play.rollout, action_names=self._stage.info.action_meanings or ())
        pool = self._stage.pool
        pool.start_recording(_ENV, wanted)
        full = False
        while not (full or self._done(number)):
            for game in play.advance():
                number = game.number + 1
                self._games.append(
                    EpisodeFinished(
                        env=game.env, episode_return=game.episode_return, length=game.length, step=game.step
                    )
                )
            strip = pool.fetch_recording(_ENV, stop=False)
            if strip is not None:
                cutter.add(take, strip)
                full = strip.full
        pool.fetch_recording(_ENV, stop=True)
        self._deliver(take, cutter)
        return number

    def _deliver(self, take: Take, cutter: ClipEncoder) -> None:
        """Send a clip shortly before the one before it ends, and the games that ended in it with it."""
        now = time.monotonic()
        if self._fps and self._stopped.wait(max(0.0, self._shown_until - LEAD_SECONDS - now)):
            return
        self._shown_until = max(time.monotonic(), self._shown_until) + len(take.frames) / take.fps
        if take.frames:
            self._emit(cutter.clip(take))
        for game in self._games:
            self._emit(game)
        self._games.clear()

    def _emit(self, event: Event) -> None:
        elapsed = time.monotonic() - self._began
        self._emit_to(msgspec.structs.replace(event, time=time.time(), elapsed=elapsed))

    def _started(self, play: Play) -> RunStarted:
        device = next(play.policy.parameters()).device
        slices = tuple((worker.envs.start, worker.envs.stop) for worker in self._stage.pool.workers)
        started = run_started(self._name, self._stage.config, slices, play.policy, device, run_dir=None)
        return msgspec.structs.replace(started, seed=self._stage.seed)
