"""From what a worker filmed to a `GameClip`: pictures, and what the policy made of each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..pictures import PictureEncoder
from ..ppo import ActorCritic, Categorical, DiagonalGaussian, Minibatch, RolloutBuffer
from ..ppo.recurrent import Past
from ..protocol import GameClip, GameFrame
from ..workers.clip_recorder import FilmStrip, fit_picture
from .randomness import global_generators_untouched


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


class Cutter:
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

    def add(self, take: Take, strip: FilmStrip) -> None:
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
        past = None if batch.past is None else Past(*(tensor.to(self._device) for tensor in batch.past))
        with global_generators_untouched(self._device):
            distribution, _ = self._policy(batch.observations.to(self._device), masks, past)
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

    def _sights(self, take: Take, strip: FilmStrip, observations: np.ndarray) -> dict[str, list[Any]]:
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
