"""The rollout buffer.

Each frame is kept once. Frame stacks are gathered when they are needed: a rollout takes a K-th of the space of its
stacks.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .devices import moved
from .gae import gae
from .minibatches import Minibatch
from .observations import has_stack_axis
from .policy import Decision
from .recurrent import RecurrentContext

ALL_ENVS = slice(None)

_WRITTEN_BY_LEARNER = ("advantages", "returns")
"""Tensors of a rollout that the learner fills."""


class RolloutValues(NamedTuple):
    """The values of a rollout's observations, as the rollout's attributes.

    Attributes:
        values: V(sₜ), `[T, N]`.
        last_values: V(s_T), `[N]`.
        final_values: of the final observations of truncated episodes, `[T, N]`.
    """

    values: Tensor
    last_values: Tensor
    final_values: Tensor


class RolloutBuffer:
    """One rollout, T steps of N environments, around the workers' arrays.

    The arrays are wrapped, never copied; workers may be writing them.

    Row K−1+t of `frames` is the observation before step t, for t = 0..T; the K−1 rows before it are the newest ones
    of the rollout before. A stack never reaches beyond the start of its episode: there the first frame repeats, as
    in gymnasium's ``FrameStackObservation``.

    To fill a rollout: for each t, `observation` → act → `store` → step the environments → `mark_boundaries`
    (and `final_values[t, env]` where an episode was truncated). Then `last_values` is set from `observation(T)`,
    the learner learns, and `carry_over` makes room for the next one.

    Args:
        frames: observations, `[K+T, N, *S]`.
        rewards: `[T, N]`, float32 or float64.
        terminations: bool `[T, N]`.
        truncations: bool `[T, N]`.
        frame_stack: K, the newest observations in one input of the policy.
        action_shape, action_dtype: of one action, as `ActorCritic` has them.
        masks: which actions are possible, bool `[K+T, N, A]`, in the rows of `frames`; None where all always are.
        distribution_size: P, to keep the parameters of the action distributions; 0 keeps none.
        state_size: M, to keep recurrent states; 0 without recurrence.
        keep_final_frames: keep the final observations of truncated episodes, to value them again.

    Attributes:
        actions: `[T, N, *action_shape]`.
        log_probs, values: of the acting policy, `[T, N]`.
        final_values: V(final observation) of the episode truncated at step t, `[T, N]`; 0 elsewhere.
        last_values: V(s_T), `[N]`.
        advantages, returns: `[T, N]`, from `compute_advantages`.
        starts: row of `frames` in which the episode of each row began, int64 `[K+T, N]`; 0 where it
            began before the first row.
        states: recurrent states before step t = 0..T, `[T+1, N, M]`, zero where an episode begins; None without
            recurrence.
        final_frames: step t × N + n → the final observation of the episode truncated there, `[*S]`, on the CPU; None
            where they are not kept.
    """

    def __init__(
        self,
        frames: np.ndarray,
        rewards: np.ndarray,
        terminations: np.ndarray,
        truncations: np.ndarray,
        *,
        frame_stack: int,
        action_shape: Sequence[int],
        action_dtype: torch.dtype,
        masks: np.ndarray | None = None,
        distribution_size: int = 0,
        state_size: int = 0,
        keep_final_frames: bool = False,
    ) -> None:
        num_steps, num_envs = rewards.shape
        assert frames.shape[:2] == (frame_stack + num_steps, num_envs), f"frames {frames.shape}: expected [K+T, N, *S]"
        self.num_steps = num_steps
        self.num_envs = num_envs
        self.frame_stack = frame_stack
        self.stacked = has_stack_axis(frames.shape[2:], frames.dtype, frame_stack)
        self.frames = torch.from_numpy(frames)
        self.rewards = torch.from_numpy(rewards)
        self.terminations = torch.from_numpy(terminations)
        self.truncations = torch.from_numpy(truncations)
        self.starts = torch.full((frame_stack + num_steps, num_envs), frame_stack - 1)
        self.actions = torch.zeros(num_steps, num_envs, *action_shape, dtype=action_dtype)
        self.log_probs, self.values, self.final_values, self.advantages, self.returns = torch.zeros(
            5, num_steps, num_envs
        ).unbind()
        self.last_values = torch.zeros(num_envs)
        self.masks = None if masks is None else torch.from_numpy(masks)
        self.distributions = torch.zeros(num_steps, num_envs, distribution_size) if distribution_size else None
        self.states = torch.zeros(num_steps + 1, num_envs, state_size) if state_size else None
        self.final_frames: dict[int, Tensor] | None = {} if keep_final_frames else None

    def __len__(self) -> int:
        """Environment steps in the rollout, T × N."""
        return self.num_steps * self.num_envs

    # ── Collecting ──────────────────────────────────────────────────────────────────────────────────────────

    def observation(self, t: int, envs: slice = ALL_ENVS) -> Tensor:
        """Observations before step t (0..T) in these n environments, `[n, (K,) *S]`.

        Without a stack axis the result is a view of `frames`.
        """
        row = self._row(t)
        if not self.stacked:
            return self.frames[row, envs]
        oldest = row + 1 - self.frame_stack
        if (self.starts.numpy()[row, envs] <= oldest).all():  # nearly always: the frames of a stack are neighbours
            return _stacked(self.frames[oldest : row + 1, envs].unbind())
        env_indices = torch.arange(self.num_envs)[envs]
        return self._gather_stacks(torch.full_like(env_indices, row), self.starts[row, envs], env_indices)

    def mask(self, t: int, envs: slice = ALL_ENVS) -> Tensor | None:
        """The possible actions in step t, bool `[n, A]`; None for all."""
        return None if self.masks is None else self.masks[self._row(t), envs]

    def state(self, t: int, envs: slice | int = ALL_ENVS) -> Tensor | None:
        """Recurrent states before step t (0..T), `[n, M]`; None without recurrence."""
        return None if self.states is None else self.states[t, envs]

    def final_observation_stack(self, t: int, env: int, final_frame: np.ndarray) -> Tensor:
        """The stack of a final observation, `[1, (K,) *S]`.

        It is that of the episode that ended in step t.

        Args:
            final_frame: the final observation itself, `[*S]`; its row in `frames` holds the next episode's first.
        """
        final = torch.from_numpy(np.asarray(final_frame)).unsqueeze(0)  # [1, *S]
        if not self.stacked:
            return final
        newest = self._row(t)
        lags = torch.arange(self.frame_stack - 2, -1, -1)  # oldest frame first
        rows = torch.maximum(newest - lags, self.starts[newest, env])  # [K-1]
        return torch.cat([self.frames[rows, env], final]).unsqueeze(0)

    def keep_final_frame(self, t: int, env: int, final_frame: np.ndarray) -> None:
        """Keep a copy of a final observation `[*S]`, if wanted."""
        if self.final_frames is not None:
            self.final_frames[t * self.num_envs + env] = torch.from_numpy(np.array(final_frame))

    def store(self, t: int, decision: Decision, envs: slice = ALL_ENVS) -> None:
        """Store the decisions of step t for these environments."""
        self.actions[t, envs] = decision.actions.to(self.actions.device)
        self.log_probs[t, envs] = decision.log_probs.to(self.log_probs.device)
        self.values[t, envs] = decision.values.to(self.values.device)
        if self.distributions is not None:
            assert decision.distribution is not None, "this rollout keeps distributions"
            parameters = decision.distribution.parameters.detach()
            self.distributions[t, envs] = parameters.to(self.distributions.device)
        if self.states is not None:
            assert decision.states is not None, "this rollout keeps recurrent states"
            self.states[t + 1, envs] = decision.states.to(self.states.device)

    def mark_boundaries(self, t: int, envs: slice = ALL_ENVS) -> None:
        """Record the ends of episodes in step t, from `terminations` and `truncations`.

        Their recurrent states become zero: value a truncated step's final observation before.
        """
        row = self._row(t)
        ended = self.terminations.numpy()[t, envs] | self.truncations.numpy()[t, envs]
        starts = self.starts.numpy()  # this happens between any two actions, and NumPy is quicker with a few numbers
        starts[row + 1, envs] = np.where(ended, row + 1, starts[row, envs])
        if self.states is not None:
            self.states.numpy()[t + 1, envs][ended] = 0.0

    def first(self, num_steps: int) -> RolloutBuffer:
        """The first `num_steps` (1..T) of this rollout, over the same arrays."""
        cut = self.num_steps - num_steps
        if not cut:
            return self
        return self._with(
            {name: tensor[: len(tensor) - cut] for name, tensor in self._tensors() if name != "last_values"}
        )

    def carry_over(self) -> None:
        """Begin the next rollout: move the newest K frames to the front.

        The final values become 0.
        """
        frames = self.frames.numpy()
        frames[: self.frame_stack] = frames[self.num_steps :]
        self.starts[: self.frame_stack] = (self.starts[self.num_steps :] - self.num_steps).clamp(min=0)
        if self.masks is not None:
            self.masks[: self.frame_stack] = self.masks[self.num_steps :].clone()
        if self.states is not None:
            self.states[0] = self.states[self.num_steps]
        self.forget_finals()

    def forget_finals(self) -> None:
        """Forget the final observations of truncated episodes, and their values."""
        self.final_values.zero_()
        if self.final_frames is not None:
            self.final_frames.clear()

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of the rows left by `carry_over` for the next rollout.

        ``frames`` `[K, N, *S]`, ``starts`` `[K, N]` and, where there are any, ``masks`` `[K, N, A]` of actions and
        recurrent ``states`` `[N, M]`.
        """
        state = {
            "frames": self.frames[: self.frame_stack].clone(),
            "starts": self.starts[: self.frame_stack].clone(),
        }
        if self.masks is not None:
            state["masks"] = self.masks[: self.frame_stack].clone()
        if self.states is not None:
            state["states"] = self.states[0].clone()
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore a `state_dict`."""
        self.frames[: self.frame_stack] = state["frames"]
        self.starts[: self.frame_stack] = state["starts"]
        if self.masks is not None:
            self.masks[: self.frame_stack] = state["masks"]
        if self.states is not None:
            self.states[0] = state["states"]

    # ── Learning ────────────────────────────────────────────────────────────────────────────────────────────

    def compute_advantages(
        self, *, gamma: float, gae_lambda: float, rewards: Tensor | None = None, values: RolloutValues | None = None
    ) -> None:
        """Fill `advantages` and `returns` by generalised advantage estimation (see `gae`).

        Args:
            rewards: `[T, N]`, in place of the environments' own.
            values: in place of those of the acting policy, which stay.
        """
        rewards = self.rewards if rewards is None else rewards
        values = values or RolloutValues(self.values, self.last_values, self.final_values)
        advantages, returns = gae(
            rewards.to(self.values),
            values.values,
            self.terminations,
            self.truncations,
            values.last_values,
            values.final_values,
            gamma=gamma,
            gae_lambda=gae_lambda,
        )
        self.advantages.copy_(advantages)
        self.returns.copy_(returns)

    def to(self, device: torch.device) -> RolloutBuffer:
        """This rollout if it is on `device` already, else a copy there."""
        if self.frames.device == device:
            return self
        return self._with({name: moved(tensor, device) for name, tensor in self._tensors()})

    def clone(self) -> RolloutBuffer:
        """A copy with its own arrays, safe from the workers."""
        other = self._with({name: tensor.clone() for name, tensor in self._tensors()})
        other.final_frames = None if self.final_frames is None else dict(self.final_frames)
        return other

    def experience_dict(self) -> dict[str, Tensor]:
        """The collected tensors by attribute, without the learner's; not copied.

        Final frames, if there are any, are ``final_frames`` `[E, *S]` and ``final_steps`` `[E]`.
        """
        experience = {name: tensor for name, tensor in self._tensors() if name not in _WRITTEN_BY_LEARNER}
        if self.final_frames:
            experience["final_frames"] = torch.stack(list(self.final_frames.values()))
            experience["final_steps"] = torch.tensor(list(self.final_frames))
        return experience

    def with_experience(self, experience: dict[str, Tensor]) -> RolloutBuffer:
        """A rollout like this one, with the tensors of an `experience_dict`."""
        tensors = {name: tensor for name, tensor in experience.items() if name not in ("final_frames", "final_steps")}
        empty = {name: torch.zeros_like(experience["values"]) for name in _WRITTEN_BY_LEARNER}
        other = self._with({**tensors, **empty})
        if self.final_frames is not None:
            steps, frames = (experience.get(name, torch.empty(0)) for name in ("final_steps", "final_frames"))
            other.final_frames = dict(zip(steps.tolist(), frames, strict=True))
        return other

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Tensor))

    def _with(self, tensors: dict[str, Tensor]) -> RolloutBuffer:
        """This rollout with other tensors."""
        other = copy.copy(self)
        vars(other).update(tensors)
        other.num_steps = len(other.rewards)
        return other

    def minibatch(self, indices: Tensor) -> Minibatch:
        """The steps at `indices`, int64 `[B]`.

        Step t of environment n has index t × N + n.

        For a recurrent policy each of them stands alone, after the recurrent state of that step.
        """
        return Minibatch(
            observations=self.observations_at(indices),
            actions=self.actions.flatten(0, 1)[indices],
            log_probs=self.log_probs.view(-1)[indices],
            values=self.values.view(-1)[indices],
            advantages=self.advantages.view(-1)[indices],
            returns=self.returns.view(-1)[indices],
            masks=None if self.masks is None else self.masks.flatten(0, 1)[indices + self._row(0) * self.num_envs],
            old_distributions=None if self.distributions is None else self.distributions.flatten(0, 1)[indices],
            context=None if self.states is None else RecurrentContext(self.states.flatten(0, 1)[indices]),
        )

    def sequences(self, envs: Tensor) -> Minibatch:
        """All steps of these n environments, int64 `[n]`, for a recurrent policy.

        T·n steps, step by step.

        The state before a step comes from the steps before it, through which gradients flow; the state before the first
        step is the stored one, of the policy that acted.
        """
        assert self.states is not None, "the policy is not recurrent"
        times = torch.arange(self.num_steps, device=envs.device).unsqueeze(-1)
        batch = self.minibatch((times * self.num_envs + envs).flatten())
        resets = (self.terminations | self.truncations)[:, envs].roll(1, dims=0)
        resets[0] = False  # where an episode begins there, its state is zero already
        return dataclasses.replace(batch, context=RecurrentContext(self.states[0, envs], resets))

    def step_frames(self) -> Tensor:
        """The newest frame of each step's observation, `[T·N, *S]`."""
        first = self._row(0)
        return self.frames[first : first + self.num_steps].flatten(0, 1)

    def step_indices(self) -> Tensor:
        """The indices t × N + n of all observations, `[T+1, N]`."""
        count = len(self) + self.num_envs
        return torch.arange(count, device=self.frames.device).view(-1, self.num_envs)

    def kept_final_steps(self) -> Tensor:
        """The steps t × N + n with a final frame, `[E]`."""
        return torch.tensor(sorted(self.final_frames or ()), dtype=torch.int64, device=self.frames.device)

    def final_observations_at(self, steps: Tensor) -> Tensor:
        """The final observations of these truncated steps, `[E, (K,) *S]`.

        Args:
            steps: some of `kept_final_steps`, `[E]`.
        """
        assert self.final_frames is not None, "this rollout keeps final frames"
        finals = torch.stack([self.final_frames[step] for step in steps.tolist()]).to(self.frames.device)
        if not self.stacked:
            return finals
        return torch.cat([self.observations_at(steps)[:, 1:], finals.unsqueeze(1)], dim=1)

    def observations_at(self, indices: Tensor) -> Tensor:
        """The observations before the steps at `indices` `[B]`, `[B, (K,) *S]`.

        Step t of environment n has index t × N + n; t = T stands for the observations after the last step.
        """
        flat_rows = indices + self._row(0) * self.num_envs  # of [K+T, N], flattened
        if not self.stacked:
            return self._flat_frames().index_select(0, flat_rows)
        envs = indices % self.num_envs
        return self._gather_stacks(flat_rows // self.num_envs, self.starts.view(-1)[flat_rows], envs)

    def _gather_stacks(self, rows: Tensor, starts: Tensor, envs: Tensor) -> Tensor:
        """Gather the stacks `[B, K, *S]` ending in these rows, `[B]`."""
        frames = self._flat_frames()
        return _stacked(
            [
                frames.index_select(0, torch.maximum(rows - lag, starts) * self.num_envs + envs)  # [B, *S]
                for lag in range(self.frame_stack - 1, -1, -1)
            ]
        )

    def _flat_frames(self) -> Tensor:
        return self.frames.view(-1, *self.frames.shape[2:])  # [(K+T)·N, *S]

    def _row(self, t: int) -> int:
        """The row of `frames` before step t."""
        return self.frame_stack - 1 + t


def _stacked(frames: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    """Stack frames `[B, *S]`, oldest first, to `[B, K, *S]`.

    The stack axis lies innermost in memory. For grey images that is the channels-last format of the convolutions; to
    copy into that format afterwards takes twice as long.
    """
    return torch.stack(frames, dim=-1).movedim(-1, 1)
