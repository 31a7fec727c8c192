"""Clips of the watched environment; none while nobody watches."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import torch

from ..errors import WorkerError
from ..pictures import PictureEncoder
from ..ppo import ActorCritic, Categorical, DiagonalGaussian, Minibatch, RolloutBuffer
from ..ppo.recurrent import RecurrentContext
from ..protocol import WATCH_SECONDS, Event, GameClip, GameFrame, WatchGame
from ..workers import WorkerPool
from ..workers.clip_recorder import RecordedFrames, fit_picture
from .device import global_generators_untouched

CLIP_SECONDS = 8.0
"""Length of a clip. At its end the training is far ahead of it; the next clip shows the newest rollout."""

MAX_FRAMES = 480

FIRST_SECONDS = 2.0
"""Length of the first clip of a watcher who has nothing to see yet."""


@dataclass
class ClipDraft:
    """A clip in the making.

    Attributes:
        step: environment steps of the run at its first frame.
        wanted: frames of the whole clip.
        began: when its recording began, in seconds of a monotonic clock.
        first_step: of the present rollout that is not in `frames`.
    """

    env: int
    step: int
    fps: float
    wanted: int
    began: float
    frames: list[GameFrame] = field(default_factory=list)
    first_step: int = 0
    shape: tuple[int, int, int] = (0, 0, 0)
    encoder: PictureEncoder = field(default_factory=PictureEncoder)


class ClipEncoder:
    """An encoder of recorded steps of a rollout as a clip.

    Args:
        action_names: of the discrete actions; may be empty.
    """

    def __init__(self, policy: ActorCritic, rollout: RolloutBuffer, *, action_names: Sequence[str]) -> None:
        self._policy, self._rollout, self._action_names = policy, rollout, tuple(action_names)
        self._device = next(policy.parameters()).device

    def clip(self, draft: ClipDraft) -> GameClip:
        """The clip of all frames of `draft`."""
        height, width, channels = draft.shape
        return GameClip(
            env=draft.env,
            step=draft.step,
            fps=draft.fps,
            height=height,
            width=width,
            channels=channels,
            action_names=self._action_names,
            frames=tuple(draft.frames),
        )

    def add(self, draft: ClipDraft, recorded: RecordedFrames) -> None:
        """Append the recorded steps of the present rollout to `draft`."""
        if not recorded.steps:
            return
        indices = torch.tensor(recorded.steps) * self._rollout.num_envs + draft.env
        batch = self._rollout.minibatch(indices)
        frames_of_rollout = self._rollout.frames[self._rollout.frame_stack - 1 :, draft.env].numpy()
        columns = {
            **self._decisions(batch),
            "value": _numbers(batch.values),
            **self._pictures(draft, recorded, frames_of_rollout[recorded.steps]),
            "score": recorded.scores,
            "lives": recorded.lives,
        }
        draft.frames += [
            GameFrame(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)
        ]

    @torch.inference_mode()
    def _decisions(self, batch: Minibatch) -> dict[str, list[Any]]:
        """Recompute the policy's decisions in these F steps.

        Returns F values for each field of `GameFrame` that they concern.
        """
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

    def _pictures(self, draft: ClipDraft, recorded: RecordedFrames, observations: np.ndarray) -> dict[str, list[Any]]:
        """The worker's pictures, else the observations as pictures or numbers.

        `observations` are `[F, *S]`.
        """
        if recorded.pictures and recorded.shape:
            draft.shape = recorded.shape
            return {"picture": recorded.pictures}
        if observations.dtype == np.uint8 and observations.ndim in (3, 4):
            if observations.ndim == 4 and observations.shape[1] in (1, 3):
                observations = np.moveaxis(observations, 1, -1)  # [F, C, H, W] to [F, H, W, C]
            try:
                pictures = [fit_picture(observation) for observation in observations]
            except ValueError:  # more channels than a screen can show
                pictures = [fit_picture(observation[0]) for observation in observations]
            draft.shape = pictures[0].shape
            return {"picture": [draft.encoder.encode(picture) for picture in pictures]}
        return {"observation": _rows(observations.reshape(len(observations), -1))}


def _numbers(column: torch.Tensor) -> list[float]:
    return column.double().cpu().numpy().round(4).tolist()


def _rows(table: torch.Tensor | np.ndarray) -> list[tuple[float, ...]]:
    numbers = table.cpu().numpy() if isinstance(table, torch.Tensor) else table
    return [tuple(row) for row in numbers.astype(np.float64).round(4).tolist()]


class GameClips:
    """Clips of the watched environment, for playback without gaps.

    A rollout is over in a fraction of a second, and then the learner learns: single frames of it would jump. So
    consecutive steps are recorded, which the screen plays at the environment's own speed; nothing is recorded while
    they last. The worker of the environment makes the pictures; the policy's decisions are recomputed from the rollout,
    for these steps alone. Neither changes anything that the run depends on.

    Args:
        action_names: of the discrete actions; may be empty.
        publish: takes the clips.
        first_env: number of the pool's first environment among those of all ranks.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        pool: WorkerPool,
        policy: ActorCritic,
        rollout: RolloutBuffer,
        *,
        action_names: Sequence[str],
        publish: Callable[[Event], None],
        first_env: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._publish, self._first_env, self._clock = pool, publish, first_env, clock
        self._encoder = ClipEncoder(policy, rollout, action_names=action_names)
        self._watched: tuple[int, float] | None = None
        """The environment of the pool, and the frames a second."""
        self._watched_until = 0.0
        self._supplied_until = 0.0
        self._draft: ClipDraft | None = None
        self._rollout_began_at: float | None = None
        self._period = self._lead = 0.0
        self._step, self._all_envs = 0, rollout.num_envs

    def watch(self, command: WatchGame) -> None:
        """Send clips of this environment, if it is in the pool.

        None sends no more.
        """
        watched = None
        if command.env is not None and 0 <= command.env - self._first_env < self._pool.num_envs:
            watched = command.env - self._first_env, command.fps
        if watched is None or self._watched is None or watched[0] != self._watched[0]:
            self._supplied_until = 0.0
        self._watched = watched
        self._watched_until = self._clock() + WATCH_SECONDS

    # ── Around each rollout, while no environment steps ─────────────────────────────────────────────────────

    def before_rollout(self, step: int) -> None:
        """Start to record, if a new clip is due.

        It is due if it is needed before the next chance to begin one.

        Args:
            step: environment steps of the run so far.
        """
        now = self._clock()
        period = 0.0 if self._rollout_began_at is None else now - self._rollout_began_at
        self._rollout_began_at = now
        self._period, self._step = period, step
        if self._draft is not None:
            self._draft.first_step = 0
        elif (watched := self._watched_at(now)) and now + period + self._lead >= self._supplied_until:
            self._begin_recording(*watched, now, 0)

    def before_step(self, envs: slice, t: int) -> None:
        """Begin a clip in mid-rollout, or publish its beginning.

        So that whoever has nothing to see waits neither for the end of this rollout nor for the learner.

        Args:
            envs: those of the pool that wait for the actions of step `t`.
        """
        if self._watched is None or not envs.start <= self._watched[0] < envs.stop:
            return
        now, draft = self._clock(), self._draft
        if now < self._supplied_until or (watched := self._watched_at(now)) is None:
            return
        if draft is None:
            self._begin_recording(*watched, now, t)
        elif draft.env == watched[0] and len(draft.frames) + t - draft.first_step >= draft.fps * FIRST_SECONDS:
            recorded, draft.first_step = self._fetch(draft, stop=False), t
            if recorded is None:
                self._end_recording(draft)
                return
            self._encoder.add(draft, recorded)
            if recorded.full or len(draft.frames) >= draft.fps * FIRST_SECONDS:  # not every step is a frame
                self._end_recording(draft)
                self._publish_clip(draft, now)

    def _begin_recording(self, env: int, fps: float, now: float, t: int) -> None:
        """Record from step `t` of the present rollout on."""
        wanted = min(MAX_FRAMES, math.ceil(fps * max(CLIP_SECONDS, self._period)))
        self._draft = ClipDraft(env, self._step + t * self._all_envs, fps, wanted, now, first_step=t)
        # The collector reports a worker that has failed, at its next step.
        with contextlib.suppress(WorkerError):
            self._pool.start_recording(env, wanted)

    def after_rollout(self) -> None:
        """Fetch the recorded frames; publish the clip once long enough."""
        now, draft = self._clock(), self._draft
        if draft is None:
            return
        watched = self._watched_at(now)
        recorded = self._fetch(draft, stop=False)
        if recorded is None or watched is None or watched[0] != draft.env:
            self._end_recording(draft)
            return
        self._encoder.add(draft, recorded)
        seconds = CLIP_SECONDS if now < self._supplied_until else FIRST_SECONDS
        if recorded.full or len(draft.frames) >= min(draft.wanted, draft.fps * seconds):
            self._lead = now - draft.began
            self._end_recording(draft)
            self._publish_clip(draft, now)

    def _watched_at(self, now: float) -> tuple[int, float] | None:
        return self._watched if now <= self._watched_until else None

    def _fetch(self, draft: ClipDraft, *, stop: bool) -> RecordedFrames | None:
        try:
            return self._pool.fetch_recording(draft.env, stop=stop)
        except WorkerError:
            return None

    def _end_recording(self, draft: ClipDraft) -> None:
        self._draft = None
        self._fetch(draft, stop=True)

    def _publish_clip(self, draft: ClipDraft, now: float) -> None:
        if not draft.frames:
            return
        self._supplied_until = max(now, self._supplied_until) + len(draft.frames) / draft.fps
        clip = self._encoder.clip(draft)
        self._publish(msgspec.structs.replace(clip, env=self._first_env + clip.env))
