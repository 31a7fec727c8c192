"""Clips of one environment at play, for whoever watches; nothing at all for nobody."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import torch

from ..distributed.ranks import ALONE, Ranks
from ..errors import WorkerError
from ..pictures import PictureEncoder
from ..ppo import ActorCritic, Categorical, DiagonalGaussian, Minibatch, RolloutBuffer
from ..ppo.recurrent import RecurrentContext
from ..protocol import WATCH_SECONDS, CommandRefused, Event, GameClip, GameFrame, WatchGame
from ..workers import WorkerPool
from ..workers.clip_recorder import RecordedFrames, fit_picture
from .device import global_generators_untouched


@dataclass
class Take:
    """A clip in the making."""

    env: int
    step: int
    fps: float
    wanted: int
    began: float
    frames: list[GameFrame] = field(default_factory=list)
    shape: tuple[int, int, int] = (0, 0, 0)
    encoder: PictureEncoder = field(default_factory=PictureEncoder)


class ClipEncoder:
    """Makes clips out of the steps of a rollout, for these steps alone.

    Args:
        action_names: of the discrete actions, or nothing.
    """

    def __init__(self, policy: ActorCritic, rollout: RolloutBuffer, *, action_names: Sequence[str]) -> None:
        self._policy, self._rollout, self._action_names = policy, rollout, tuple(action_names)
        self._device = next(policy.parameters()).device

    def clip(self, take: Take) -> GameClip:
        """All frames of `take`."""
        height, width, channels = take.shape
        return GameClip(
            env=take.env,
            step=take.step,
            fps=take.fps,
            height=height,
            width=width,
            channels=channels,
            action_names=self._action_names,
            frames=tuple(take.frames),
        )

    def add(self, take: Take, strip: RecordedFrames) -> None:
        """Append what was filmed in the steps of the rollout as it is now."""
        if not strip.steps:
            return
        indices = torch.tensor(strip.steps) * self._rollout.num_envs + take.env
        batch = self._rollout.minibatch(indices)
        frames_of_rollout = self._rollout.frames[self._rollout.frame_stack - 1 :, take.env].numpy()
        columns = {
            **self._decisions(batch),
            "value": _numbers(batch.values),
            **self._sights(take, strip, frames_of_rollout[strip.steps]),
            "score": strip.scores,
            "lives": strip.lives,
        }
        take.frames += [
            GameFrame(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)
        ]

    @torch.inference_mode()
    def _decisions(self, batch: Minibatch) -> dict[str, list[Any]]:
        """What the policy, which has not learnt since, makes of these F steps, by field of the frame."""
        masks = None if batch.masks is None else batch.masks.to(self._device)
        context = None if batch.context is None else RecurrentContext(batch.context.states.to(self._device))
        with global_generators_untouched(self._device):
            distribution, _ = self._policy(batch.observations.to(self._device), masks, context)
        actions, entropy = batch.actions, _numbers(distribution.entropy())
        if isinstance(distribution, Categorical):
            return {
                "action": actions.tolist(),
                "probabilities": _rows(distribution.log_probs.exp()),
                "entropy": entropy,
            }
        if not isinstance(distribution, DiagonalGaussian):
            return {"action": _rows(actions), "entropy": entropy}
        stds = distribution.log_std.exp().expand_as(distribution.mean)
        return {
            "action": _rows(actions),
            "means": _rows(distribution.mean),
            "stds": _rows(stds),
            "entropy": entropy,
        }

    def _sights(self, take: Take, strip: RecordedFrames, observations: np.ndarray) -> dict[str, list[Any]]:
        """What there is to see: the worker's pictures, else the observations `[F, *S]` as pictures or as numbers."""
        if strip.pictures:
            take.shape = strip.shape
            return {"picture": strip.pictures}
        if observations.dtype == np.uint8 and observations.ndim in (3, 4):
            if observations.ndim == 4 and observations.shape[1] in (1, 3):
                observations = np.moveaxis(observations, 1, -1)  # [F, C, H, W] to [F, H, W, C]
            try:
                pictures = [fit_picture(observation) for observation in observations]
            except ValueError:  # as many channels as no screen can show
                pictures = [fit_picture(observation[0]) for observation in observations]
            take.shape = pictures[0].shape
            return {"picture": [take.encoder.encode(picture) for picture in pictures]}
        return {"observation": _rows(observations.reshape(len(observations), -1))}


def _numbers(column: torch.Tensor) -> list[float]:
    return column.double().cpu().numpy().round(4).tolist()


def _rows(table: torch.Tensor | np.ndarray) -> list[tuple[float, ...]]:
    numbers = table.cpu().numpy() if isinstance(table, torch.Tensor) else table
    return [tuple(row) for row in numbers.astype(np.float64).round(4).tolist()]


CLIP_SECONDS = 8.0
"""What a clip shows. The training is long past it when it ends, and the next clip shows the newest rollout."""

MAX_FRAMES = 480

FIRST_SECONDS = 2.0
"""A watcher who has nothing to see is sent a clip as short as this."""


class GameClips:
    """Records the environment that is watched, often enough that its watcher never runs out of frames.

    A rollout is over in a fraction of a second and then the learner learns: single frames of it would jump. So
    consecutive steps are recorded, which the watcher plays at the game's own speed, and while they last nothing is
    recorded. The worker that hosts the environment takes the pictures; what the policy made of each step is computed
    anew from the rollout, for these steps alone. Neither touches anything that the run depends on.

    Args:
        action_names: of the discrete actions, or nothing.
        emit: takes the clips.
        clock: seconds, monotonic.
        ranks: those who train together; each obeys the same watchers and records its own environments.
    """

    def __init__(
        self,
        pool: WorkerPool,
        policy: ActorCritic,
        rollout: RolloutBuffer,
        *,
        action_names: Sequence[str],
        emit: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
        ranks: Ranks = ALONE,
    ) -> None:
        self._ranks = ranks
        self._first_env = ranks.rank * pool.num_envs
        self._pool, self._emit, self._clock = pool, emit, clock
        self._cutter = ClipEncoder(policy, rollout, action_names=action_names)
        self._watched: WatchGame | None = None
        self._watched_until = 0.0
        self._supplied_until = 0.0
        self._take: Take | None = None
        self._began_at: float | None = None
        self._lead = 0.0

    def watch(self, command: WatchGame) -> None:
        """Obey a watcher. A command that names no environment of the run is refused."""
        last = self._pool.num_envs * self._ranks.size - 1
        if command.env is not None and not (0 <= command.env <= last and 0 < command.fps <= 60):
            message = (
                f"watch env {command.env} at {command.fps:g} fps: envs are 0 to {last}, fps more than 0, at most 60"
            )
            if self._ranks.leads:
                self._emit(CommandRefused(message=message, by=command.by))
            return
        watched = None
        if command.env is not None and 0 <= command.env - self._first_env < self._pool.num_envs:
            watched = msgspec.structs.replace(command, env=command.env - self._first_env)
        if watched is None or self._watched is None or watched.env != self._watched.env:
            self._supplied_until = 0.0
        self._watched = watched
        self._watched_until = self._clock() + WATCH_SECONDS

    # ── Around each rollout, while no environment steps ─────────────────────────────────────────────────────

    def before_rollout(self, step: int) -> None:
        """Start the camera if the watcher will need a new clip before the next chance to record one.

        Args:
            step: environment steps of the run so far.
        """
        now = self._clock()
        period = 0.0 if self._began_at is None else now - self._began_at
        self._began_at = now
        if self._take is not None or self._viewer(now) is None:
            return
        if now + period + self._lead < self._supplied_until:
            return
        watched = self._watched
        wanted = min(MAX_FRAMES, math.ceil(watched.fps * max(CLIP_SECONDS, period)))
        self._take = Take(watched.env, step, watched.fps, wanted, now)
        self._with_workers(lambda: self._pool.start_recording(watched.env, wanted))

    def after_rollout(self) -> None:
        """Take what the camera has, and send the clip once it is long enough."""
        now = self._clock()
        take = self._take
        if take is None:
            return
        watcher = self._viewer(now)
        wasted = watcher is None or watcher.env != take.env
        strip = self._with_workers(lambda: self._pool.fetch_recording(take.env, stop=False))
        if strip is None or wasted:
            self._stop(take)
            return
        self._cutter.add(take, strip)
        seconds = CLIP_SECONDS if now < self._supplied_until else FIRST_SECONDS
        if strip.full or len(take.frames) >= min(take.wanted, take.fps * seconds):
            self._lead = now - take.began
            self._stop(take)
            self._send(take, now)

    def _viewer(self, now: float) -> WatchGame | None:
        return self._watched if self._watched is not None and now <= self._watched_until else None

    def _with_workers(self, ask: Callable[[], Any]) -> Any:
        """What a worker answers. One that died is the collector's business, which names it at its next step."""
        try:
            return ask()
        except WorkerError:
            return None

    def _stop(self, take: Take) -> None:
        self._take = None
        self._with_workers(lambda: self._pool.fetch_recording(take.env, stop=True))

    def _send(self, take: Take, now: float) -> None:
        if not take.frames:
            return
        self._supplied_until = max(now, self._supplied_until) + len(take.frames) / take.fps
        clip = self._cutter.clip(take)
        self._emit(msgspec.structs.replace(clip, env=self._first_env + clip.env))
