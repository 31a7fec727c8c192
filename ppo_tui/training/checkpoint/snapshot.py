"""Snapshots: a run at an update boundary, to and from checkpoint files.

Tensors are stored as safetensors, the environments' states as they give them, everything else as JSON. A checkpoint
holds everything that the next update depends on, so that a resumed run continues bit for bit. Nothing is unpickled.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ...config import Config, build_config, refuse_outsiders, replace_value, to_tables
from ...directories import Directory, Place
from ...distributed.ranks import ALONE, Ranks
from ...envs import EnvInfo
from ...errors import UsageError
from ...ppo import ActorCritic, Interface, build_policy
from ...system.processor import cpu_model
from ..collect import CollectorState
from ..device import Threads, device_of
from ..env_metrics import EnvMetrics
from ..hub import RunContext
from ..live_settings import LiveSettings
from ..metrics import EpisodeWindow
from ..start import examine_env_of
from ..stopping import StopRules
from .files import (
    OPTIMIZER_FILE,
    POLICY_FILE,
    STATE_FILE,
    CheckpointState,
    Manifest,
    OpenedCheckpoint,
    Origin,
    decode_state,
    newest_checkpoint,
    write_checkpoint_files,
)
from .fingerprint import code_fingerprint
from .resume import changed_fixed_settings, versions

ROLLOUT_FILE = "rollout.safetensors"
ENVS_FILE = "envs.bin"

Tensors = dict[str, torch.Tensor]


class Position(NamedTuple):
    """Updates and environment steps done, and the metrics of the last update."""

    step: int
    update: int
    metrics: dict[str, float | None]


class SavesLearning(Protocol):
    """A learner's state: tensors and plain values by name."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class SavesEnvironments(Protocol):
    """The environments' state, including the rollout in progress."""

    def reset(self) -> None:
        """Start the first episodes."""

    def save_state(self) -> CollectorState:
        """Return the state at the start of the next rollout."""
        ...

    def load_state(self, state: CollectorState) -> dict[int, str]:
        """Restore a state from `save_state`.

        Returns the environments that begin new episodes instead, with the reasons.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RunParts:
    """The parts of a run with influence on its next update.

    Attributes:
        origin: the machine and the program that this process computes on.
    """

    policy: ActorCritic
    learner: SavesLearning
    rollouts: SavesEnvironments
    settings: LiveSettings
    episodes: EpisodeWindow
    environment: EnvMetrics
    stop: StopRules
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A run at an update boundary, in CPU memory of its own.

    Attributes:
        policy: the weights by name.
        optimizer: the tensors of the learner's state: Adam's moments, and the generator of the shuffling.
        rollout: the frames that the next rollout starts from, the generator of the actions' noise, and the returns
            and lengths of the newest episodes.
        envs: one state an environment; empty before the first reset.
    """

    state: CheckpointState
    policy: Tensors
    optimizer: Tensors
    rollout: Tensors
    envs: tuple[bytes, ...]

    @classmethod
    def take(
        cls,
        context: RunContext,
        parts: RunParts,
        boundary: CollectorState | None,
        position: Position,
        *,
        best: float | None,
    ) -> Snapshot | None:
        """Take a snapshot of all ranks' parts, on rank 0.

        Every rank has to make the call; the others get None.

        Args:
            boundary: the environments where the next rollout starts.
            best: the highest score so far.
        """
        learner = parts.learner.state_dict()
        start = _gathered(boundary or CollectorState({}, ()), context.ranks)
        if not context.ranks.leads:
            return None
        metrics = position.metrics
        state = CheckpointState(
            step=position.step,
            update=position.update,
            seconds=context.clock.seconds,
            config=to_tables(context.config),
            settings=parts.settings.save(),
            learner={key: value for key, value in learner.items() if not isinstance(value, torch.Tensor)},
            episodes=parts.episodes.total,
            best=best,
            metrics={key: value if value is None or math.isfinite(value) else None for key, value in metrics.items()},
            env_sizes=tuple(map(len, start.envs)),
            origin=parts.origin,
            environment=parts.environment.save(),
            stop=parts.stop.save(),
        )
        return cls(
            state=state,
            policy=on_cpu(parts.policy.state_dict()),
            optimizer=on_cpu(learner),
            rollout={**start.tensors, **_window_tensors(parts.episodes)},
            envs=start.envs,
        )

    def restore(self, config: Config, parts: RunParts) -> None:
        """Put weights, optimiser, generators, settings and windows into `parts`.

        The environments follow by `environments`.

        Raises:
            UsageError: the snapshot is another run's; nothing has changed then.
        """
        before = build_config(self.state.config)
        for key, (old, new) in changed_fixed_settings(before, config).items():
            raise UsageError(f"the checkpoint was saved with {key} = {old!r}, and this run has {new!r}")
        load_weights(parts.policy, self)
        parts.learner.load_state_dict({**self.optimizer, **self.state.learner})
        parts.settings.restore(self.state.settings, planned_steps=before.planned_steps)
        _load_window(parts.episodes, self)
        parts.environment.restore(self.state.environment)
        parts.stop.restore(self.state.stop)

    def environments(self, ranks: Ranks) -> CollectorState:
        """The state of this rank's environments."""
        return _own_part(CollectorState(self.rollout, self.envs), ranks)

    def files(self) -> dict[str, bytes]:
        """The files of a checkpoint, by name."""
        return {
            POLICY_FILE: save(self.policy),
            OPTIMIZER_FILE: save(self.optimizer),
            ROLLOUT_FILE: save(self.rollout),
            ENVS_FILE: b"".join(self.envs),
            STATE_FILE: msgspec.json.format(msgspec.json.encode(self.state), indent=1),
        }

    @classmethod
    def decode(cls, path: Path, files: Mapping[str, bytes]) -> Snapshot:
        """The snapshot in the `files` of the checkpoint at `path`.

        Raises:
            UsageError: they are not of this version.
        """
        state = decode_state(path, files)
        return cls(
            state=state,
            policy=_load_tensors(path, files, POLICY_FILE),
            optimizer=_load_tensors(path, files, OPTIMIZER_FILE),
            rollout=_load_tensors(path, files, ROLLOUT_FILE),
            envs=_split(path, files, state.env_sizes),
        )


def write_checkpoint(place: Place, snapshot: Snapshot, *, serial: int = 0, reason: str = "manual") -> Manifest:
    """Write a checkpoint directory at `place`, replacing an existing one atomically.

    Raises:
        OSError: the disk is full or not writable; an existing checkpoint at `place` is unchanged.
    """
    step, update = snapshot.state.step, snapshot.state.update
    return write_checkpoint_files(place, snapshot.files(), serial=serial, step=step, update=update, reason=reason)


def read_checkpoint(checkpoint: OpenedCheckpoint | Path, ranks: Ranks = ALONE) -> Snapshot:
    """Read the snapshot in a checkpoint, on all of `ranks`.

    Rank 0 reads the files, unless the checkpoint is open already.

    Raises:
        UsageError: there is no whole checkpoint of this version at this path.
    """

    def files() -> dict[str, bytes]:
        opened = OpenedCheckpoint.open(checkpoint) if isinstance(checkpoint, Path) else checkpoint
        return opened.files

    path = checkpoint if isinstance(checkpoint, Path) else checkpoint.path
    return Snapshot.decode(path, ranks.agree(files, dict[str, bytes]))


def load_policy(path: str | Path, *, device: str = "cpu", allow_import: bool = False) -> ActorCritic:
    """Load the trained networks of a run or a checkpoint, for use.

    `predict` and `act` of the result take observations of the environment itself, in NumPy, and give its actions.

    Of a run directory, the newest whole checkpoint is loaded; damaged ones are passed over with a warning.

    Args:
        allow_import: accept a checkpoint whose environment is ``module:Id``, which imports that module.

    Raises:
        UsageError: there is no checkpoint at `path`, or it is damaged.
        RunFailedError: the run directory holds no whole checkpoint.
        ConfigError: its environment is not installed here, or there is no such device.
    """
    path = Path(path)
    if (path / "checkpoints").is_dir():
        with Directory.open(path) as directory:
            opened, skipped = newest_checkpoint(directory / "checkpoints")
        for problem in skipped:
            warnings.warn(f"skipped: {problem}", stacklevel=2)
    else:
        opened = OpenedCheckpoint.open(path)
    return policy_of(opened, device=device, allow_import=allow_import)


def policy_of(checkpoint: OpenedCheckpoint, *, device: str, allow_import: bool) -> ActorCritic:
    """As `load_policy`, of an open checkpoint."""
    snapshot = read_checkpoint(checkpoint)
    if not allow_import:
        refuse_outsiders(snapshot.state.config, "the checkpoint", parties=("code",))
    config = replace_value(build_config(snapshot.state.config), "run.device", str(device))
    return build_saved_policy(snapshot, config, examine_env_of(config), device_of(config))


def build_saved_policy(snapshot: Snapshot, config: Config, info: EnvInfo, device: torch.device) -> ActorCritic:
    """Build the networks of `config` with the weights of `snapshot`.

    They are for use, not for training.

    Raises:
        UsageError: the weights are another network's.
    """
    policy = build_policy(
        info.observation_space,
        info.action_space,
        config.policy,
        frame_stack=config.env.frame_stack,
        normalize_values=config.ppo.normalize_values,
    )
    load_weights(policy, snapshot)
    policy.interface = Interface(info, config.env)
    return policy.to(device).eval()


def load_weights(policy: ActorCritic, snapshot: Snapshot) -> None:
    """Copy the saved weights into `policy`.

    Its own tensors stay where they are.

    Raises:
        UsageError: they are another network's.
    """
    try:
        policy.load_state_dict(snapshot.policy)
    except RuntimeError as error:
        raise UsageError(f"the checkpoint holds another network: {str(error).splitlines()[-1].strip()}") from None


def on_cpu(values: Mapping[str, Any]) -> Tensors:
    """Copies of the tensors among these values, row-major and on the CPU.

    safetensors stores no other layout; channels-last is how they lie in memory here.
    """
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in values.items()
        if isinstance(tensor, torch.Tensor)
    }


def describe_origin(context: RunContext, device: torch.device, threads: Threads, groups: list[slice]) -> Origin:
    """Describe the machine and the program of this process.

    The worker groups are those of all ranks.

    Args:
        groups: the environments of each of this rank's worker groups.
    """
    ranks = context.ranks
    first = ranks.rank * (context.config.rollout.num_envs // ranks.size)
    own = [(first + envs.start, first + envs.stop) for envs in groups]
    of_ranks = ranks.exchange(own, list[tuple[int, int]])
    return Origin(
        versions=versions(),
        code=code_fingerprint(),
        cpu=cpu_model(),
        device=str(device),
        act_threads=threads.act,
        learn_threads=threads.learn,
        groups=tuple(envs for of_rank in of_ranks for envs in of_rank),
        ranks=ranks.size,
    )


# ── Files ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _load_tensors(path: Path, files: Mapping[str, bytes], name: str) -> Tensors:
    try:
        return load(files[name])
    except (KeyError, SafetensorError):
        raise _unsupported(path, name) from None


def _split(path: Path, files: Mapping[str, bytes], sizes: tuple[int, ...]) -> tuple[bytes, ...]:
    joined = files.get(ENVS_FILE)
    if joined is None or len(joined) != sum(sizes):
        raise _unsupported(path, ENVS_FILE)
    states, start = [], 0
    for size in sizes:
        states.append(joined[start : start + size])
        start += size
    return tuple(states)


def _unsupported(path: Path, name: str) -> UsageError:
    return UsageError(f"{path}: {name} has an unsupported format", hint="use a checkpoint that ppo-tui wrote")


def _window_tensors(window: EpisodeWindow) -> Tensors:
    return {
        "episode_returns": torch.tensor(list(window.returns), dtype=torch.float64),
        "episode_lengths": torch.tensor(list(window.lengths), dtype=torch.int64),
    }


def _load_window(window: EpisodeWindow, snapshot: Snapshot) -> None:
    window.returns.clear()
    window.lengths.clear()
    window.returns.extend(snapshot.rollout["episode_returns"].tolist())
    window.lengths.extend(snapshot.rollout["episode_lengths"].tolist())
    window.total = snapshot.state.episodes


# ── Environments of several ranks ───────────────────────────────────────────────────────────────────────────────

_ENV_DIMS = {"frames": 1, "starts": 1, "masks": 1, "states": 0}
"""Tensor of a `CollectorState` → its dimension of environments. All others are the same on every rank."""


class _Part(msgspec.Struct):
    """A rank's `CollectorState` for the way to rank 0."""

    tensors: bytes
    envs: tuple[bytes, ...]


def _gathered(own: CollectorState, ranks: Ranks) -> CollectorState:
    """Gather the state of all ranks' environments on rank 0.

    It is as that of a single process; the other ranks get `own`.
    """
    if ranks.size == 1:
        return own
    parts = ranks.gather(_Part(save(own.tensors), own.envs), _Part)
    if not ranks.leads:
        return own
    loaded = [load(part.tensors) for part in parts]
    tensors = {
        name: torch.cat([of_rank[name] for of_rank in loaded], _ENV_DIMS[name]) if name in _ENV_DIMS else tensor
        for name, tensor in own.tensors.items()
    }
    return CollectorState(tensors, tuple(env for part in parts for env in part.envs))


def _own_part(whole: CollectorState, ranks: Ranks) -> CollectorState:
    """This rank's part of the state of all environments."""
    if ranks.size == 1:
        return whole
    share = ranks.share(len(whole.envs))
    tensors = {
        name: tensor.narrow(_ENV_DIMS[name], share.start, share.stop - share.start) if name in _ENV_DIMS else tensor
        for name, tensor in whole.tensors.items()
    }
    return CollectorState(tensors, whole.envs[share])


def of_all_envs(own: Mapping[int, str], context: RunContext) -> dict[int, str]:
    """Exchange texts about environments among all ranks.

    The keys become the environments' numbers among those of all ranks.
    """
    num_envs = context.config.rollout.num_envs // context.ranks.size
    parts = context.ranks.exchange(dict(own), dict[int, str])
    return {rank * num_envs + env: text for rank, part in enumerate(parts) for env, text in part.items()}
