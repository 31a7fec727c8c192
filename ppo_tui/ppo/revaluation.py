"""The values of a rollout by the present weights."""

from __future__ import annotations

import torch

from .buffer import RolloutBuffer, RolloutValues
from .policy import ActorCritic
from .recurrent import RecurrentContext


@torch.inference_mode()
def revalued(rollout: RolloutBuffer, policy: ActorCritic, *, parts: int) -> RolloutValues:
    """Value the observations of a rollout by the present weights.

    With the weights that acted, these are the rollout's own values up to rounding. Advantages of an epoch computed from
    them are those of Andrychowicz et al., 2021, arXiv:2006.05990, section 3.5.

    A truncated step whose final observation was not kept retains its final value.

    Args:
        rollout: on the policy's device, with its frames as they were collected.
        parts: observations are valued in this many parts, which bounds the memory for them.
    """
    with policy.unchanged():
        return (_step_by_step if policy.state_size else _in_parts)(rollout, policy, parts)


def _in_parts(rollout: RolloutBuffer, policy: ActorCritic, parts: int) -> RolloutValues:
    """The values by a policy without recurrence, many at a time."""
    rows = rollout.step_indices()
    values = torch.cat([policy.value(rollout.observations_at(part)) for part in rows.flatten().tensor_split(parts)])
    values = values.view(rows.shape)
    final_values = rollout.final_values.clone()
    for part in rollout.kept_final_steps().tensor_split(parts):
        if len(part):
            final_values.view(-1)[part] = policy.value(rollout.final_observations_at(part))
    return RolloutValues(values[:-1], values[-1], final_values)


def _step_by_step(rollout: RolloutBuffer, policy: ActorCritic, parts: int) -> RolloutValues:
    """The values by a recurrent policy.

    Its states of the present weights are carried from the state before the first step, of the weights that acted.
    """
    assert rollout.states is not None, "a recurrent policy's rollout keeps states"
    ended, states = rollout.terminations | rollout.truncations, rollout.states[0]
    finals = rollout.kept_final_steps()
    final_values, values = rollout.final_values.clone(), []
    for t, row in enumerate(rollout.step_indices()):
        outputs = policy.evaluate(rollout.observations_at(row), RecurrentContext(states))
        values.append(outputs.values)
        if t == rollout.num_steps:
            break
        assert outputs.states is not None, "a single step gives states"
        if len(kept := finals[finals // rollout.num_envs == t]):
            stacks, envs = rollout.final_observations_at(kept), kept % rollout.num_envs
            final_values.view(-1)[kept] = policy.value(stacks, outputs.states[envs])
        states = outputs.states.masked_fill(ended[t].unsqueeze(-1), 0.0)
    return RolloutValues(torch.stack(values[:-1]), values[-1], final_values)
