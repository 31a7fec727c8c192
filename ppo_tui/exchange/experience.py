"""Decisions of a policy on real observations.

They check another form of the policy, exported or imported, against the live one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ..config import Config
from ..envs import EnvInfo
from ..envs.fitting import FittedActions
from ..errors import RunFailedError
from ..ppo import ActorCritic
from ..ppo.distributions import action_kind
from ..ppo.observations import has_stack_axis
from ..training.checkpoint.files import OpenedCheckpoint
from ..training.evaluation.evaluate import PolicyPlayer
from ..training.evaluation.setup import start_evaluation
from .intake import Intake

NUM_ENVS, STEPS = 4, 32

TOLERANCE = 1e-4
"""Largest difference, absolute or relative: sums in another order differ in their last bits."""

Run = Callable[[tuple[Tensor, ...]], tuple[np.ndarray, ...]]
"""A policy in another form: maps the inputs of `DeployedPolicy` to its outputs, at least the first three."""


class Experience(NamedTuple):
    """B real observations and the decisions of the live policy.

    Attributes:
        observations: as the policy sees them, `[B, (K,) *S]`.
        inputs: of `DeployedPolicy.forward`: the same as the environment gives them, masks and states.
        masks: the possible actions, bool `[B, A]`, or None if all are.
        decisions: the greedy actions in the numbering of the policy, `[B, *action_shape]`.
        actions: the same as the environment takes them.
        log_probs, values: of the decisions, `[B]`.
    """

    policy: ActorCritic
    config: Config
    info: EnvInfo
    step: int
    observations: Tensor
    inputs: tuple[Tensor, ...]
    masks: Tensor | None
    decisions: Tensor
    actions: np.ndarray
    log_probs: Tensor
    values: Tensor


def gather_experience(checkpoint: OpenedCheckpoint | Path, *, allow_import: bool = False) -> Experience:
    """Play greedily with a checkpoint, and keep observations and decisions.

    It plays on the CPU in float32.

    Raises:
        As `start_evaluation` and `PolicyPlayer` do.
    """
    setup = start_evaluation(
        checkpoint,
        episodes=NUM_ENVS,
        num_envs=NUM_ENVS,
        steps=STEPS,
        greedy=True,
        device="cpu",
        allow_import=allow_import,
    )
    precise = msgspec.structs.replace(setup.config.policy, precision="float32")
    setup = dataclasses.replace(setup, config=msgspec.structs.replace(setup.config, policy=precise))
    try:
        player = PolicyPlayer(setup)
        list(player.advance())
        batch = player.rollout.minibatch(torch.arange(NUM_ENVS * STEPS))
    finally:
        setup.pool.close()
    intake = Intake(setup.info.given_observation_space, setup.config.env.hide)
    # Numbers that the environment's own type cannot hold are nothing to give to a program.
    held = intake.held(batch.observations)
    if not held.any():
        raise RunFailedError(
            f"the observations of {setup.config.env.id} are not of its observation_space, "
            f"{setup.info.given_observation_space}",
            hint="declare the space of what the environment returns",
        )
    observations, actions = batch.observations[held], batch.actions[held]
    others = [*([batch.masks] if batch.masks is not None else []), *([batch.context.states] if batch.context else [])]
    return Experience(
        policy=player.policy,
        config=setup.config,
        info=setup.info,
        step=setup.checkpoint.state.step,
        observations=observations,
        inputs=(*intake.restore(observations), *(tensor[held] for tensor in others)),
        masks=None if batch.masks is None else batch.masks[held],
        decisions=actions,
        actions=to_given(setup.info, player.policy.env_actions(actions)),
        log_probs=batch.log_probs[held],
        values=batch.values[held],
    )


def to_given(info: EnvInfo, actions: np.ndarray) -> np.ndarray:
    """Actions `[B, ...]` of the policy's space as those of the environment's."""
    fit = FittedActions(info.given_action_space)
    return np.stack([np.asarray(fit(action)) for action in actions])


SAMPLES, LARGEST_SAMPLE = 32, 1e4


@torch.inference_mode()
def sampled(experience: Experience) -> Experience | None:
    """The decisions of the policy on samples of the observation space.

    Samples with enormous numbers, as of spaces without real bounds, are left out; None if all of them are.
    """
    policy, info, config = experience.policy, experience.info, experience.config
    intake, stack = Intake(info.given_observation_space, config.env.hide), config.env.frame_stack
    observations = intake.sample(seed=0, count=SAMPLES * stack)
    if has_stack_axis(observations.shape[1:], info.observation_space.dtype, stack):
        observations = observations.unflatten(0, (SAMPLES, stack))
    observations = observations[intake.magnitudes(observations) <= LARGEST_SAMPLE]
    count = len(observations)
    if not count:
        return None
    masks = torch.ones(count, info.num_masked, dtype=torch.bool) if info.num_masked else None
    states = policy.initial_states(count)
    decision = policy.decide(observations, noise=None, masks=masks, states=states)
    others = [tensor for tensor in (masks, states) if tensor is not None]
    return experience._replace(
        observations=observations,
        inputs=(*intake.restore(observations), *others),
        masks=masks,
        decisions=decision.actions,
        actions=to_given(info, policy.env_actions(decision.actions)),
        log_probs=decision.log_probs,
        values=decision.values,
    )


def check_same(run: Run, experience: Experience, name: str) -> float:
    """Compare `run` with the live policy and return the largest difference.

    Raises:
        RunFailedError: they are not the same policy, or an action is none of the environment's; the other form must not
            be used.
    """
    actions, scores, values = run(experience.inputs)[:3]
    _check_members(actions, experience, name)
    policy, space = experience.policy, experience.policy.action_space
    kind = action_kind(space, squash=experience.config.policy.squash_actions)
    with torch.inference_mode():
        distribution = kind.distribution(torch.from_numpy(np.array(scores)), policy.log_std, experience.masks)
        # In a near tie either action is right: the other one is as probable.
        regret = experience.log_probs - distribution.log_prob(experience.decisions)
    differences = [np.abs(values - experience.values.numpy()), regret.abs().numpy()]
    reach = 1.0 + max(float(np.abs(values).max()), float(experience.log_probs.abs().max()))
    different = _different(actions, experience.actions)
    tied = (distribution.log_prob(distribution.mode()) - experience.log_probs).abs() < TOLERANCE
    worst = float(max(part.max() for part in differences))
    count = int((different & ~tied.numpy()).sum())
    if count or not worst <= TOLERANCE * reach:
        raise RunFailedError(
            f"{name} is not the same policy: of {len(actions)} observations of {experience.config.env.id} it acts "
            f"differently on {count}, and its numbers differ by up to {worst:.2g}",
            hint="nothing of it was kept; please report this with the run's config.toml",
        )
    return worst


def _check_members(actions: np.ndarray, experience: Experience, name: str) -> None:
    """Refuse actions outside the environment's action space."""
    space = experience.info.given_action_space
    scalars = isinstance(space, spaces.Discrete)
    for action in actions:
        if not space.contains(action if scalars else np.asarray(action)):
            raise RunFailedError(
                f"{name} gives the action {action!s}, which is none of {experience.config.env.id}'s {space}",
                hint="nothing of it was kept; please report this with the run's config.toml",
            )


def _different(actions: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Compare B actions; return their differences as bool `[B]`."""
    assert actions.shape == expected.shape, f"actions {actions.shape}, expected {expected.shape}"
    if np.issubdtype(expected.dtype, np.floating):
        different: np.ndarray = ~np.isclose(actions, expected, rtol=TOLERANCE, atol=TOLERANCE)
    else:
        different = actions != expected
    return np.any(different.reshape(len(actions), -1), axis=1)
