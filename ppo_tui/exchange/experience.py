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
from torch import Tensor

from ..config import Config
from ..envs import EnvInfo
from ..errors import RunFailedError
from ..ppo import ActorCritic
from ..ppo.distributions import action_kind
from ..training.checkpoint.files import OpenedCheckpoint
from ..training.evaluation.evaluate import PolicyPlayer
from ..training.evaluation.setup import start_evaluation

NUM_ENVS, STEPS = 4, 32

TOLERANCE = 1e-4
"""Largest difference, absolute or relative: sums in another order differ in their last bits."""

Run = Callable[[tuple[Tensor, ...]], tuple[np.ndarray, ...]]
"""A policy in another form: maps the inputs of `DeployedPolicy` to its outputs, at least the first three."""


class Experience(NamedTuple):
    """B real observations and the decisions of the live policy.

    Attributes:
        inputs: of `DeployedPolicy.forward`.
        masks: the possible actions, bool `[B, A]`, or None if all are.
        decisions: the greedy actions in the numbering of the policy, `[B, *action_shape]`.
        actions: the same as the environment takes them.
        log_probs, values: of the decisions, `[B]`.
    """

    policy: ActorCritic
    config: Config
    info: EnvInfo
    step: int
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
    others = [*([batch.masks] if batch.masks is not None else []), *([batch.context.states] if batch.context else [])]
    return Experience(
        policy=player.policy,
        config=setup.config,
        info=setup.info,
        step=setup.checkpoint.state.step,
        inputs=tuple(tensor.clone() for tensor in (batch.observations, *others)),
        masks=batch.masks,
        decisions=batch.actions.clone(),
        actions=player.policy.env_actions(batch.actions),
        log_probs=batch.log_probs.clone(),
        values=batch.values.clone(),
    )


def check_same(run: Run, experience: Experience, name: str) -> float:
    """Compare `run` with the live policy and return the largest difference.

    Raises:
        RunFailedError: they are not the same policy; the other form must not be used.
    """
    actions, scores, values = run(experience.inputs)[:3]
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


def _different(actions: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Compare B actions; return their differences as bool `[B]`."""
    assert actions.shape == expected.shape, f"actions {actions.shape}, expected {expected.shape}"
    if np.issubdtype(expected.dtype, np.floating):
        different: np.ndarray = ~np.isclose(actions, expected, rtol=TOLERANCE, atol=TOLERANCE)
    else:
        different = actions != expected
    return np.any(different.reshape(len(actions), -1), axis=1)
