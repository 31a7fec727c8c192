"""A policy for other programs: greedy actions from observations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from .. import __version__
from ..config import PRIVATE_SECTIONS, Config, to_tables
from ..envs import EnvInfo
from ..ppo import ActorCritic
from ..ppo.observations import has_stack_axis
from ..ppo.recurrent import RecurrentContext

if TYPE_CHECKING:
    from .experience import Experience


class DeployedPolicy(nn.Module):
    """`ActorCritic` as a plain function of tensors, normalisation included, in float32.

    Args:
        policy: on the CPU, in evaluation mode; shared, not copied.
        masked: action masks are an input.
        squashed: a tanh squashes continuous actions into their bounds.

    Attributes:
        inputs, outputs: names of the inputs and outputs of `forward`, in order.
    """

    _low: Tensor
    _high: Tensor

    def __init__(self, policy: ActorCritic, *, masked: bool, squashed: bool) -> None:
        super().__init__()
        self.policy = policy
        self._space = policy.action_space
        self._shape = tuple(self._space.shape or ())
        self._masked, self._squashed = masked, squashed
        self._recurrent = policy.state_size > 0
        self.inputs = ["observations", *(["masks"] if masked else []), *(["states"] if self._recurrent else [])]
        scores = "means" if policy.log_std is not None else "logits"
        self.outputs = ["actions", scores, "values", *(["next_states"] if self._recurrent else [])]
        if isinstance(self._space, spaces.Box):
            # Unbounded sides are ± the largest float32: clamping to them is the identity.
            for name in ("low", "high"):
                bound = np.nan_to_num(getattr(self._space, name).astype(np.float32))
                self.register_buffer(f"_{name}", torch.from_numpy(bound), persistent=False)

    def forward(self, observations: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Greedy actions of B observations.

        Args:
            observations: `[B, (K,) *S]`, as the environment gives them: bytes of images, numbers of vectors.
            others: of a masked policy the possible actions, bool `[B, A]`; then, of a recurrent one, its states,
                float32 `[B, M]`: zeros where an episode begins, else the last output of the step before.

        Returns:
            Actions `[B, *A]` for the environment; their logits (before masking) or means `[B, P]`; values `[B]`; and,
            of a recurrent policy, the next states `[B, M]`.
        """
        masks = others[0] if self._masked else None
        outputs, values, states = self._outputs(observations, others[-1] if self._recurrent else None)
        decided = (self._actions(outputs, masks), outputs, values)
        return decided if states is None else (*decided, states)

    def _outputs(self, observations: Tensor, states: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Compute outputs of the policy head, values, and next states."""
        context = None if states is None else RecurrentContext(states)
        outputs = self.policy.evaluate(observations, context)
        assert outputs.scores is not None, "the policy head was not left out"
        return outputs.scores, outputs.values, outputs.states

    def _actions(self, outputs: Tensor, masks: Tensor | None) -> Tensor:
        space = self._space
        if masks is not None:
            outputs = outputs.masked_fill(~masks, -torch.inf)
        match space:
            case spaces.Discrete():
                return outputs.argmax(-1) + int(space.start)
            case spaces.MultiDiscrete():
                sizes = [int(n) for n in space.nvec.flat]
                choices = [part.argmax(-1) for part in outputs.split(sizes, dim=-1)]
                starts = torch.from_numpy(space.start.astype(np.int64).reshape(-1))
                return (torch.stack(choices, dim=-1) + starts).reshape(-1, *self._shape)
            case spaces.MultiBinary():
                return (outputs > 0).to(torch.int8).reshape(-1, *self._shape)
        shaped = outputs.reshape(-1, *self._shape)
        if self._squashed:
            shaped = self._low + 0.5 * (torch.tanh(shaped) + 1.0) * (self._high - self._low)
        return torch.clamp(shaped, self._low, self._high)


class TensorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output of the policy.

    Attributes:
        shape: without the batch.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Metadata of an exported policy, to identify the file.

    Attributes:
        step: environment steps of its training.
        config: configuration of its training, as nested tables.
        action_meanings: of discrete actions; empty if the environment names none.
    """

    program: str
    run: str
    step: int
    env: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    action_space: str
    action_meanings: tuple[str, ...]
    config: dict[str, Any]

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()


def describe(policy: DeployedPolicy, experience: Experience, *, run: str) -> Facts:
    """Collect the metadata of the policy, without private sections of its configuration."""
    with torch.inference_mode():
        outputs = policy(*experience.inputs)
    tables = to_tables(experience.config)
    return Facts(
        program=f"ppo-tui {__version__}",
        run=run,
        step=experience.step,
        env=experience.config.env.id,
        inputs=_describe_tensors(policy.inputs, experience.inputs),
        outputs=_describe_tensors(policy.outputs, outputs),
        action_space=str(experience.info.action_space),
        action_meanings=tuple(experience.info.action_meanings or ()),
        config={section: table for section, table in tables.items() if section not in PRIVATE_SECTIONS},
    )


def _describe_tensors(names: list[str], tensors: tuple[Tensor, ...]) -> tuple[TensorFacts, ...]:
    return tuple(
        TensorFacts(name=name, dtype=str(tensor.dtype).removeprefix("torch."), shape=tuple(tensor.shape[1:]))
        for name, tensor in zip(names, tensors, strict=True)
    )


def example_inputs(policy: ActorCritic, info: EnvInfo, config: Config, batch: int = 2) -> tuple[Tensor, ...]:
    """Make inputs of zeros for `DeployedPolicy.forward`, with all actions possible."""
    space, stack = info.observation_space, config.env.frame_stack
    shape = (stack, *space.shape) if has_stack_axis(space.shape, space.dtype, stack) else space.shape
    observations = torch.from_numpy(np.zeros((batch, *shape), space.dtype))
    masks = (torch.ones(batch, info.num_masked, dtype=torch.bool),) if info.num_masked else ()
    states = policy.initial_states(batch)
    return (observations, *masks, *(() if states is None else (states,)))
