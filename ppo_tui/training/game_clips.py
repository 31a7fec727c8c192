"""Clips of the watched environment; none while nobody watches."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch

from ..errors import WorkerError
from ..pictures import PictureEncoder
from ..ppo import ActorCritic, Categorical, DiagonalGaussian, Minibatch, RolloutBuffer
from ..ppo.gae import one_step_errors
from ..ppo.recurrent import RecurrentContext
from ..protocol import WATCH_SECONDS, Alarm, Event, GameClip, GameFrame, Gaze, Level, WatchGame
from ..workers import WorkerPool
from ..workers.clip_recorder import RecordedFrames, fit_picture
from .device import global_generators_untouched
from .saliency import Saliency

CLIP_SECONDS = 8.0
"""Length of a clip. At its end the training is far ahead of it; the next clip shows the newest rollout."""

MAX_FRAMES = 480

FIRST_SECONDS = 2.0
"""Length of the first clip of a watcher who has nothing to see yet."""


MAX_NUMBERS = 64
"""An observation of more numbers is left out of frames that have a picture, and so are gradients of more."""

_MOST_LOST = 2
"""Rounds of recordings in a row that have lost a worker, after which nothing is drawn any more."""

_NO_PICTURES = (
    "the game is shown without pictures: the worker that draws it has died twice in a row. What it printed last is in "
    "workers.log; MuJoCo draws without a display if MUJOCO_GL=egl or MUJOCO_GL=osmesa is set."
)


@dataclass
class ClipDraft:
    """A clip in the making.

    Attributes:
        step: environment steps of the run at its first frame.
        wanted: frames of the whole clip.
        began: when its recording began, in seconds of a monotonic clock.
        gaze: the output whose gradient it shows.
        follows, scene: as of `GameClip`.
        first_step: of the present rollout that is not in `frames`.
    """

    env: int
    step: int
    fps: float
    wanted: int
    began: float
    gaze: Gaze = Gaze.NONE
    follows: bool = False
    scene: int = 0
    frames: list[GameFrame] = field(default_factory=list)
    first_step: int = 0
    shape: tuple[int, int, int] = (0, 0, 0)
    gaze_shape: tuple[int, int] = (0, 0)
    encoder: PictureEncoder = field(default_factory=PictureEncoder)


class ClipEncoder:
    """An encoder of recorded steps of a rollout as a clip.

    Args:
        action_names: of the discrete actions; may be empty.
        advantages: add the advantage of each action; not where rewards are normalised, as values count these.
    """

    def __init__(
        self, policy: ActorCritic, rollout: RolloutBuffer, *, action_names: Sequence[str], advantages: bool = True
    ) -> None:
        self._policy, self._rollout, self._action_names = policy, rollout, tuple(action_names)
        self._advantages = advantages
        self._saliency = Saliency(policy)
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
            gaze=draft.gaze,
            gaze_height=draft.gaze_shape[0],
            gaze_width=draft.gaze_shape[1],
            follows=draft.follows,
            scene=draft.scene,
            frames=tuple(draft.frames),
        )

    def add(self, draft: ClipDraft, recorded: RecordedFrames, *, gamma: float, valued: int | None = None) -> None:
        """Append the recorded steps of the present rollout to `draft`.

        Args:
            gamma: γ of the advantages.
            valued: observations of a rollout under way that have a value; None for all.
        """
        if not recorded.steps:
            return
        indices = torch.tensor(recorded.steps) * self._rollout.num_envs + draft.env
        batch = self._rollout.minibatch(indices)
        frames_of_rollout = self._rollout.frames[self._rollout.frame_stack - 1 :, draft.env].numpy()
        observations = frames_of_rollout[recorded.steps]
        columns = {
            **self._decisions(batch),
            **(self._gaze(draft, batch, observations) if draft.gaze is not Gaze.NONE else {}),
            "value": _numbers(batch.values),
            **self._pictures(draft, recorded, observations),
            "score": recorded.scores,
            "lives": recorded.lives,
            "t": recorded.times,
        }
        if self._advantages:
            columns["advantage"] = self._step_advantages(draft.env, recorded.steps, gamma, valued)
        draft.frames += [
            GameFrame(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)
        ]

    def _step_advantages(self, env: int, steps: Sequence[int], gamma: float, valued: int | None) -> list[float | None]:
        """r + γ V(s′) − V(s) of these steps.

        V(s′) is 0 after a termination, and that of the final observation after a truncation. None without it.
        """
        rollout = self._rollout
        terminations, truncations = rollout.terminations[:, env], rollout.truncations[:, env]
        ended = terminations | truncations
        values = rollout.values[:, env]
        advantages = one_step_errors(
            rollout.rewards[:, env].to(values),
            values,
            terminations,
            truncations,
            rollout.last_values[env],
            rollout.final_values[:, env],
            gamma=gamma,
        )
        known = ended | (torch.arange(len(ended)) + 1 < (len(ended) + 1 if valued is None else valued))
        return [
            number if told else None
            for number, told in zip(_numbers(advantages[list(steps)]), known[list(steps)].tolist(), strict=True)
        ]

    def _gaze(self, draft: ClipDraft, batch: Minibatch, observations: np.ndarray) -> dict[str, list[Any]]:
        """The gradients of these steps, as fields of `GameFrame`.

        Of images among other parts, it is the map of the first.
        """
        numbers = observations[0].size if self._policy.packing is None else 0
        with global_generators_untouched(self._device):
            gradients = self._saliency.of(batch, draft.gaze, numbers)
        if gradients.maps is not None:
            draft.gaze_shape = gradients.maps.shape[1], gradients.maps.shape[2]
            return {"gaze": [each.numpy().tobytes() for each in gradients.maps]}
        if gradients.numbers is not None and numbers <= MAX_NUMBERS:
            return {"gradients": _rows(gradients.numbers)}
        return {}

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

        Few numbers come beside the pictures, too. `observations` are `[F, *S]`.
        """
        vectors, images = self._parts(observations)
        numbers = {} if vectors is None else {"observation": _rows(vectors)}
        few = numbers if vectors is not None and vectors.shape[1] <= MAX_NUMBERS else {}
        if recorded.pictures and recorded.shape:
            draft.shape = recorded.shape
            return {"picture": recorded.pictures, **few}
        if images is None:
            return numbers
        if images.ndim == 4 and images.shape[1] in (1, 3):
            images = np.moveaxis(images, 1, -1)  # [F, C, H, W] to [F, H, W, C]
        try:
            pictures = [fit_picture(image) for image in images]
        except ValueError:  # more channels than a screen can show
            pictures = [fit_picture(image[0]) for image in images]
        draft.shape = pictures[0].shape
        return {"picture": [draft.encoder.encode(picture) for picture in pictures], **few}

    def _parts(self, observations: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Numbers `[F, D]` and images `[F, *S]`, or None without any.

        Where there are several images, they are the first of each observation.
        """
        if self._policy.packing is not None:
            numbers, pictures = self._policy.packing.unpack(observations)
            return numbers if numbers.shape[1] else None, pictures[0]
        if observations.dtype == np.uint8 and observations.ndim in (3, 4):
            return None, observations
        return observations.reshape(len(observations), -1), None


def _numbers(column: torch.Tensor) -> list[float]:
    return column.cpu().double().numpy().round(4).tolist()


def _rows(table: torch.Tensor | np.ndarray) -> list[tuple[float, ...]]:
    numbers = table.cpu().numpy() if isinstance(table, torch.Tensor) else table
    return [tuple(row) for row in numbers.astype(np.float64).round(4).tolist()]


class GameClips:
    """Clips of the watched environments, for playback without gaps.

    A rollout is over in a fraction of a second, and then the learner learns: single frames of it would jump. So
    consecutive steps are recorded, which the screen plays frame by frame; nothing is recorded while
    they last. The worker of the environment makes the pictures; the policy's decisions are recomputed from the rollout,
    for these steps alone. Neither changes anything that the run depends on. Several environments share the frames of
    one: each is recorded less often.

    Args:
        action_names: of the discrete actions; may be empty.
        publish: takes the clips.
        first_env: number of the pool's first environment among those of all ranks.
        advantages: as for `ClipEncoder`.
        clock: seconds, monotonic.

    Attributes:
        gamma: γ of the advantages; the engine sets it before each rollout.
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
        advantages: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._publish, self._first_env, self._clock = pool, publish, first_env, clock
        self._encoder = ClipEncoder(policy, rollout, action_names=action_names, advantages=advantages)
        self.gamma = 1.0
        self._watched: Watched | None = None
        self._watched_until = 0.0
        self._supplied_until = 0.0
        self._drafts: list[ClipDraft] = []
        self._rollout_began_at: float | None = None
        self._period = self._lead = 0.0
        self._lost = 0  # rounds of recordings in a row that have lost a worker
        self._step, self._all_envs = 0, rollout.num_envs

    def watch(self, command: WatchGame) -> None:
        """Send clips of these environments, of those in the pool.

        None sends no more.
        """
        asked = () if command.env is None else dict.fromkeys((command.env, *command.beside))
        envs = tuple(env - self._first_env for env in asked if 0 <= env - self._first_env < self._pool.num_envs)
        watched = Watched(envs, command.fps / len(asked), len(asked), command.gaze) if envs else None
        if watched is None or self._watched is None or not watched.shows_as(self._watched):
            self._supplied_until = 0.0
        self._watched = watched
        self._watched_until = self._clock() + WATCH_SECONDS

    # ── Around each rollout, while no environment steps ─────────────────────────────────────────────────────

    def before_rollout(self, step: int) -> None:
        """Start to record, if new clips are due.

        They are due if they are needed before the next chance to begin some.

        Args:
            step: environment steps of the run so far.
        """
        now = self._clock()
        period = 0.0 if self._rollout_began_at is None else now - self._rollout_began_at
        self._rollout_began_at = now
        self._period, self._step = period, step
        for draft in self._drafts:
            draft.first_step = 0
        watched = self._watched_at(now)
        if not self._drafts and watched and now + period + self._lead >= self._supplied_until:
            self._begin_recording(watched, now, 0)

    def before_step(self, envs: slice, t: int) -> None:
        """Begin a clip of one environment in mid-rollout, or publish its beginning.

        So that whoever has nothing to see waits neither for the end of this rollout nor for the learner. Several
        environments do not wait for actions at the same time.

        Args:
            envs: those of the pool that wait for the actions of step `t`.
        """
        watched = self._watched
        if watched is None or len(watched.envs) != 1 or not envs.start <= watched.envs[0] < envs.stop:
            return
        now = self._clock()
        if now < self._supplied_until or self._watched_at(now) is None:
            return
        if not self._drafts:
            self._begin_recording(watched, now, t)
            return
        draft, enough = self._drafts[0], watched.fps * FIRST_SECONDS
        if len(self._drafts) > 1 or draft.env != watched.envs[0]:
            return
        if len(draft.frames) + t - draft.first_step < enough:
            return
        (recorded,), draft.first_step = self._fetch([draft]), t
        if recorded is None:
            self._end_recording()
            return
        self._encoder.add(draft, recorded, gamma=self.gamma, valued=t)
        if recorded.full or len(draft.frames) >= enough:  # not every step is a frame
            self._end_recording()
            self._publish_clips([draft], now)

    def _begin_recording(self, watched: Watched, now: float, t: int) -> None:
        """Record from step `t` of the present rollout on."""
        wanted = max(1, min(MAX_FRAMES, math.ceil(watched.fps * max(CLIP_SECONDS, self._period))))
        step = self._step + t * self._all_envs
        self._drafts = [
            ClipDraft(env, step, watched.fps, wanted, now, watched.gaze, first_step=t) for env in watched.envs
        ]
        # The collector reports a worker that has failed, at its next step.
        with contextlib.suppress(WorkerError):
            for env in watched.envs:
                self._pool.start_recording(env, wanted, watched.every, self._lost < _MOST_LOST)

    def after_rollout(self) -> None:
        """Fetch the recorded frames; publish the clips once long enough.

        All environments step together, so that their clips are equally long.
        """
        now, drafts = self._clock(), self._drafts
        if not drafts:
            return
        watched = self._watched_at(now)
        recorded = self._fetch(drafts)
        stays = watched is not None and watched.envs == tuple(draft.env for draft in drafts)
        if not stays or any(each is None for each in recorded):
            self._end_recording()
            return
        for draft, each in zip(drafts, recorded, strict=True):
            assert each is not None
            self._encoder.add(draft, each, gamma=self.gamma)
        seconds = CLIP_SECONDS if now < self._supplied_until else FIRST_SECONDS
        shortest = min(drafts, key=lambda draft: len(draft.frames))
        full = any(each.full for each in recorded if each is not None)
        if full or len(shortest.frames) >= min(shortest.wanted, shortest.fps * seconds):
            self._lead = now - shortest.began
            self._end_recording()
            self._publish_clips(drafts, now)

    def _watched_at(self, now: float) -> Watched | None:
        return self._watched if now <= self._watched_until else None

    def _fetch(self, drafts: Sequence[ClipDraft]) -> list[RecordedFrames | None]:
        """The newest frames of each; None once its worker has died.

        An environment may draw in a library that crashes, as on a machine without a display. The environments of a
        worker die together: that counts once.
        """
        recorded = [self._ask(draft.env, stop=False) for draft in drafts]
        if self._lost < _MOST_LOST:
            self._lost = self._lost + 1 if None in recorded else 0
            if self._lost == _MOST_LOST:
                self._publish(Alarm(level=Level.WARNING, message=_NO_PICTURES))
        return recorded

    def _ask(self, env: int, *, stop: bool) -> RecordedFrames | None:
        try:
            return self._pool.fetch_recording(env, stop=stop)
        except WorkerError:
            return None

    def _end_recording(self) -> None:
        drafts, self._drafts = self._drafts, []
        for draft in drafts:
            self._ask(draft.env, stop=True)

    def _publish_clips(self, drafts: Sequence[ClipDraft], now: float) -> None:
        longest = max(drafts, key=lambda draft: len(draft.frames))
        if not longest.frames:
            return
        self._supplied_until = max(now, self._supplied_until) + len(longest.frames) / longest.fps
        for draft in drafts:
            if draft.frames:
                clip = self._encoder.clip(draft)
                self._publish(msgspec.structs.replace(clip, env=self._first_env + clip.env))


class Watched(NamedTuple):
    """The watched environments of a pool.

    Attributes:
        fps: frames a second of each.
        every: record only each so many-th of its frames, as it shares the frames of one.
    """

    envs: tuple[int, ...]
    fps: float
    every: int
    gaze: Gaze

    def shows_as(self, other: Watched) -> bool:
        """Whether clips made for `other` are good for this, too."""
        return self.envs == other.envs and self.gaze is other.gaze
