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
from ..ppo.recurrent import RecurrentContext
from .intake import Intake

if TYPE_CHECKING:
    from .experience import Experience


class DeployedPolicy(nn.Module):
    """`ActorCritic` as a plain function of tensors, normalisation included, in float32.

    It takes and gives what the environment itself gives and takes.

    Args:
        policy: on the CPU, in evaluation mode; not copied, unless it normalises values.
        info: of the environment.
        config: of the training.

    Attributes:
        inputs, outputs: names of the inputs and outputs of `forward`, in order.
        intake: the conversion of observations.
    """

    _low: Tensor
    _high: Tensor

    def __init__(self, policy: ActorCritic, info: EnvInfo, config: Config) -> None:
        super().__init__()
        self.policy = policy.folded()
        self.intake = Intake(info.given_observation_space, config.env.hide)
        self._space = info.given_action_space
        self._shape = tuple(self._space.shape or ())
        self._dtype = torch.from_numpy(np.zeros(1, self._space.dtype)).dtype
        self._masked, self._squashed = info.num_masked > 0, config.policy.squash_actions
        self._recurrent = policy.state_size > 0
        masks, states = ["masks"] if self._masked else [], ["states"] if self._recurrent else []
        self.inputs = [*self.intake.names, *masks, *states]
        scores = "means" if policy.log_std is not None else "logits"
        self.outputs = ["actions", scores, "values", *(["next_states"] if self._recurrent else [])]
        if isinstance(self._space, spaces.Box):
            # Unbounded sides are ± the largest number: clamping to them is the identity.
            for name in ("low", "high"):
                bound = np.asarray(np.nan_to_num(getattr(self._space, name)), self._space.dtype)
                self.register_buffer(f"_{name}", torch.from_numpy(bound), persistent=False)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Greedy actions of B observations.

        Args:
            inputs: `[B, (K,) *S]` of an observation as the environment gives it, or of each entry of a Dict or Tuple;
                then, of a masked policy, the possible actions, bool `[B, A]`; then, of a recurrent one, its states,
                float32 `[B, M]`: zeros where an episode begins, else the last output of the step before.

        Returns:
            Actions `[B, *A]` for the environment; their logits (before masking) or means `[B, P]`; values `[B]`; and,
            of a recurrent policy, the next states `[B, M]`.
        """
        count = len(self.intake.names)
        masks = inputs[count] if self._masked else None
        outputs, values, states = self._outputs(self.intake(inputs[:count]), inputs[-1] if self._recurrent else None)
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
                return (outputs.argmax(-1) + int(space.start)).to(self._dtype)
            case spaces.MultiDiscrete():
                sizes = [int(n) for n in space.nvec.flat]
                choices = [part.argmax(-1) for part in outputs.split(sizes, dim=-1)]
                starts = torch.from_numpy(space.start.astype(np.int64).reshape(-1))
                return (torch.stack(choices, dim=-1) + starts).reshape(-1, *self._shape).to(self._dtype)
            case spaces.MultiBinary():
                return (outputs > 0).to(self._dtype).reshape(-1, *self._shape)
        shaped = outputs.reshape(-1, *self._shape).to(self._dtype)
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
        observation_space, action_space: of the environment itself, as text.
        action_meanings: of discrete actions; empty if the environment names none.
    """

    program: str
    run: str
    step: int
    env: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    observation_space: str
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
        observation_space=str(experience.info.given_observation_space),
        action_space=str(experience.info.given_action_space),
        action_meanings=tuple(experience.info.action_meanings or ()),
        config={section: table for section, table in tables.items() if section not in PRIVATE_SECTIONS},
    )


def _describe_tensors(names: list[str], tensors: tuple[Tensor, ...]) -> tuple[TensorFacts, ...]:
    return tuple(
        TensorFacts(name=name, dtype=str(tensor.dtype).removeprefix("torch."), shape=tuple(tensor.shape[1:]))
        for name, tensor in zip(names, tensors, strict=True)
    )
