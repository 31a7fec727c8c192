"""An engine to play a trained policy, without learning.

It plays for the screen, or into a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from ...protocol import (
    Alarm,
    Command,
    EpisodeFinished,
    Event,
    Level,
    RunFinished,
    RunStarted,
    RunState,
    StateChanged,
)
from ...workers.clip_recorder import GAME_FPS
from ..controls import Inbox
from ..game_clips import ClipDraft, ClipEncoder
from ..metrics import run_started
from .evaluate import PolicyPlayer
from .setup import EvaluationSetup

CLIP_SECONDS = 2.0

LEAD_SECONDS = 1.0
"""A clip is published this long before the previous one ends. The screen looks for it several times in this period."""

_ENV = 0


class WatchEngine:
    """An engine to play episode after episode in one environment.

    Args:
        name: of the run.
        episodes: number of episodes to play; None plays until a `Stop`.
        emit: takes the events.
        fps: frames a second of the screen; None for a receiver that takes them at any speed.
        inbox: of the commands; all but `Stop` are ignored.
    """

    def __init__(
        self,
        setup: EvaluationSetup,
        *,
        name: str,
        episodes: int | None,
        emit: Callable[[Event], None],
        fps: float | None,
        inbox: Inbox | None = None,
    ) -> None:
        self._setup, self._name, self._episodes, self._fps = setup, name, episodes, fps
        self._emit = emit
        self._inbox = inbox or Inbox()
        self._began = time.monotonic()
        self._shown_until = 0.0
        self._unpublished: list[EpisodeFinished | Alarm] = []

    def send(self, command: Command) -> None:
        """Send a command, from any thread."""
        self._inbox.send(command)

    def run(self) -> None:
        """Play until the episodes are done or a `Stop` arrives.

        The workers are closed then.

        Raises:
            As `PolicyPlayer` does.
        """
        number = 0
        try:
            player = PolicyPlayer(self._setup)
            self._publish(self._started(player))
            self._publish(StateChanged(state=RunState.TRAINING, reason="playing, not learning"))
            while not self._done(number):
                number = self._play_clip(player, number)
        finally:
            self._setup.pool.close()
        state = RunState.STOPPED if self._inbox.stop_requested else RunState.FINISHED
        reason = "1 episode played" if number == 1 else f"{number:,} episodes played"
        self._publish(RunFinished(state=state, exit_code=0, reason=reason, step=player.step, update=0))

    def _done(self, number: int) -> bool:
        return self._inbox.stop_requested or (self._episodes is not None and number >= self._episodes)

    def _play_clip(self, player: PolicyPlayer, number: int) -> int:
        """Play and record one clip, and publish it in time.

        Returns the number of episodes done by then.
        """
        fps = self._fps or GAME_FPS
        wanted = max(1, round(CLIP_SECONDS * fps))
        draft = ClipDraft(_ENV, player.step, fps, wanted, time.monotonic())
        encoder = ClipEncoder(player.policy, player.rollout, action_names=self._setup.info.action_meanings or ())
        pool = self._setup.pool
        pool.start_recording(_ENV, wanted)
        full = False
        while not (full or self._done(number)):
            for episode in player.advance():
                number = episode.number + 1
                self._unpublished.append(
                    EpisodeFinished(
                        env=episode.env,
                        episode_return=episode.episode_return,
                        length=episode.length,
                        step=episode.step,
                    )
                )
                if episode.limited:
                    message = f"the episode was ended at the limit of {self._setup.max_steps:,} steps"
                    self._unpublished.append(Alarm(level=Level.INFO, message=message))
            recorded = pool.fetch_recording(_ENV, stop=False)
            if recorded is not None:
                encoder.add(draft, recorded)
                full = recorded.full
        pool.fetch_recording(_ENV, stop=True)
        self._publish_clip(draft, encoder)
        return number

    def _publish_clip(self, draft: ClipDraft, encoder: ClipEncoder) -> None:
        """Publish a clip shortly before the previous one ends.

        The episodes that ended in it follow.
        """
        if self._fps and self._stopped_within(self._shown_until - LEAD_SECONDS - time.monotonic()):
            return
        self._shown_until = max(time.monotonic(), self._shown_until) + len(draft.frames) / draft.fps
        if draft.frames:
            self._publish(encoder.clip(draft))
        for episode in self._unpublished:
            self._publish(episode)
        self._unpublished.clear()

    def _stopped_within(self, seconds: float) -> bool:
        """Wait up to `seconds`; whether a `Stop` has arrived."""
        until = time.monotonic() + seconds
        while not self._inbox.stop_requested and (left := until - time.monotonic()) > 0:
            self._inbox.receive(wait=True, timeout=left)
        return self._inbox.stop_requested

    def _publish(self, event: Event) -> None:
        self._emit(msgspec.structs.replace(event, time=time.time(), elapsed=time.monotonic() - self._began))

    def _started(self, player: PolicyPlayer) -> RunStarted:
        device = next(player.policy.parameters()).device
        slices = tuple((worker.envs.start, worker.envs.stop) for worker in self._setup.pool.workers)
        started = run_started(self._name, self._setup.config, slices, player.policy, device, run_dir=None)
        return msgspec.structs.replace(started, seed=self._setup.seed)
