"""The source of a run's first weights. Imports no torch."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import msgspec
from safetensors import SafetensorError
from safetensors.numpy import load

from ...config import Config, build_config, get_value
from ...errors import UsageError
from .files import OPTIMIZER_FILE, POLICY_FILE, OpenedCheckpoint

REWARDS = "rewards/"
"""Before the names of the reward normaliser's numbers in a learner's state."""

REWARD_MOMENTS = ("count", "mean", "variance")
"""Its running statistics; the discounted returns under way are those of environments left behind."""

COMPUTING = ("policy.activation", "policy.normalize_images", "policy.normalize_observations", "policy.squash_actions")
"""Settings by which the same weights compute something else."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Weights and running statistics to begin a run with.

    Attributes:
        argument: what to write in ``run.init_from`` to mean this very source again.
        name: of the run, the checkpoint's directory, or the file.
        checkpoint: how it was named, such as ``best``; empty where the step says all.
        path, step, sha256: as of `ppo_tui.protocol.WeightsTaken`.
        policy: the weights by name, as safetensors.
        rewards: the statistics of rewards, by the names of `REWARD_MOMENTS`; empty without any.
        env: id of its environment; empty if unknown.
        computing: its settings of `COMPUTING`, by dotted name, as far as they are known.
    """

    argument: str
    name: str
    path: str
    step: int
    sha256: str
    policy: bytes
    checkpoint: str = ""
    rewards: dict[str, float] = {}
    env: str = ""
    computing: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """In words: breakout-3, best, step 1,200,000."""
        return ", ".join(filter(None, (self.name, self.checkpoint, f"step {self.step:,}")))

    def pinned(self, config: Config) -> Config:
        """`config` with this very source."""
        return msgspec.structs.replace(config, run=msgspec.structs.replace(config.run, init_from=self.argument))


def source_of(checkpoint: OpenedCheckpoint, *, argument: str, name: str, named: str = "") -> Source:
    """The weights and running statistics of a checkpoint.

    Args:
        named: how the user has named it, such as ``best``.

    Raises:
        UsageError: its statistics of rewards are damaged.
    """
    config = build_config(checkpoint.state.config)
    return Source(
        argument=argument,
        name=name,
        checkpoint=named,
        path=str(checkpoint.path),
        step=checkpoint.state.step,
        sha256=hashlib.sha256(msgspec.json.encode(checkpoint.manifest)).hexdigest(),
        policy=checkpoint.files.get(POLICY_FILE, b""),
        rewards=_rewards(checkpoint),
        env=config.env.id,
        computing={key: get_value(config, key) for key in COMPUTING},
    )


def _rewards(checkpoint: OpenedCheckpoint) -> dict[str, float]:
    """The statistics of rewards in a checkpoint, if any."""
    try:
        tensors = load(checkpoint.files[OPTIMIZER_FILE])
        found = {name: tensors[REWARDS + name] for name in REWARD_MOMENTS if REWARDS + name in tensors}
        moments = {name: float(array) for name, array in found.items()}
    except (KeyError, SafetensorError, TypeError, ValueError):
        raise _damaged(checkpoint) from None
    if len(moments) < len(REWARD_MOMENTS):
        return {}
    if not all(map(math.isfinite, moments.values())) or moments["count"] < 0 or moments["variance"] < 0:
        raise _damaged(checkpoint)
    return moments


def _damaged(checkpoint: OpenedCheckpoint) -> UsageError:
    return UsageError(
        f"{checkpoint.path}: {OPTIMIZER_FILE} holds no statistics of rewards that ppo-tui wrote",
        hint="use another checkpoint",
    )
