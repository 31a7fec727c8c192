"""Taking a run apart into a snapshot at an update boundary, and putting it together again."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ...config import Config, build_config, refuse_import, to_tables
from ...distributed.ranks import ALONE, Ranks
from ...envs import EnvInfo, probe_env
from ...errors import UsageError
from ...ppo import ActorCritic, Learner, build_policy
from ...workers import WorkerPool
from ..collect import CollectorState, Rollouts
from ..controls import LiveSettings
from ..device import Threads
from ..metrics import EpisodeWindow
from .files import (
    STATE_FILE,
    CheckpointState,
    Manifest,
    Origin,
    decode_state,
    newest_checkpoint,
    read_checkpoint_files,
    write_checkpoint_files,
)
from .fingerprint import code_fingerprint
from .resume import changed_fixed_settings, cpu_model, versions

POLICY_FILE = "policy.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
ROLLOUT_FILE = "rollout.safetensors"
ENVS_FILE = "envs.bin"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A run at an update boundary, in CPU memory that nobody changes any more.

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


def write_checkpoint(path: Path, snapshot: Snapshot, *, serial: int = 0, reason: str = "manual") -> Manifest:
    """Write a checkpoint directory at `path`; one that stands there is replaced in a single step.

    Raises:
        OSError: the disk is full or not writable; what stood at `path` still stands there.
    """
    files = {
        POLICY_FILE: save(snapshot.policy),
        OPTIMIZER_FILE: save(snapshot.optimizer),
        ROLLOUT_FILE: save(snapshot.rollout),
        ENVS_FILE: b"".join(snapshot.envs),
        STATE_FILE: msgspec.json.format(msgspec.json.encode(snapshot.state), indent=1),
    }
    state = snapshot.state
    return write_checkpoint_files(path, files, serial=serial, step=state.step, update=state.update, reason=reason)


def read_checkpoint(path: Path, ranks: Ranks = ALONE) -> Snapshot:
    """The snapshot that `write_checkpoint` wrote; rank 0 reads it, and all of `ranks` are given it.

    Raises:
        UsageError: there is no whole checkpoint of this version at `path`.
    """
    return decode_checkpoint(path, ranks.agree(lambda: read_checkpoint_files(path)[1], dict[str, bytes]))


def decode_checkpoint(path: Path, files: dict[str, bytes]) -> Snapshot:
    """The snapshot in the `files` of the checkpoint at `path`.

    Raises:
        UsageError: they are not of this version.
    """
    state = decode_state(path, files)
    return Snapshot(
        state=state,
        policy=_load_tensors(path, files, POLICY_FILE),
        optimizer=_load_tensors(path, files, OPTIMIZER_FILE),
        rollout=_load_tensors(path, files, ROLLOUT_FILE),
        envs=_split(path, files, state.env_sizes),
    )


def load_policy(path: str | Path, *, device: str = "cpu", allow_import: bool = False) -> ActorCritic:
    """The trained networks of a run directory (its newest whole checkpoint) or of a checkpoint directory.

    A damaged checkpoint of a run is passed over for the one before, with a warning.

    Args:
        allow_import: accept a checkpoint whose environment is ``module:Id``, which imports that module.

    Raises:
        UsageError: there is no checkpoint at `path`, or it is damaged.
        RunFailedError: the run directory holds no whole checkpoint.
        ConfigError: its environment is not installed here.
    """
    path = Path(path)
    if (path / "checkpoints").is_dir():
        path, skipped = newest_checkpoint(path / "checkpoints")
        for problem in skipped:
            warnings.warn(f"passed over: {problem}", stacklevel=2)
    snapshot = read_checkpoint(path)
    if not allow_import:
        refuse_import(snapshot.state.config, "the checkpoint")
    config = build_config(snapshot.state.config)
    info = probe_env(config.env)
    return build_saved_policy(snapshot, config, info, torch.device(device))


def build_saved_policy(snapshot: Snapshot, config: Config, info: EnvInfo, device: torch.device) -> ActorCritic:
    """The networks of `config` with the weights of `snapshot`, to be used and not trained.

    Raises:
        UsageError: the weights are another network's.
    """
    policy = build_policy(info.observation_space, info.action_space, config.policy, frame_stack=config.env.frame_stack)
    load_weights(policy, snapshot)
    return policy.to(device).eval()


def load_weights(policy: ActorCritic, snapshot: Snapshot) -> None:
    """Put the saved weights into `policy`, whose own tensors stay where they are.

    Raises:
        UsageError: they are another network's.
    """
    try:
        policy.load_state_dict(snapshot.policy)
    except RuntimeError as error:
        raise UsageError(f"the checkpoint holds another network: {str(error).splitlines()[-1].strip()}") from None


def on_cpu(tensors: dict[str, Any]) -> Tensors:
    """Copies of the tensors among these values, row-major and on the CPU: channels-last is how they lie in memory here.

    safetensors stores no other layout.
    """
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in tensors.items()
        if isinstance(tensor, torch.Tensor)
    }


def _load_tensors(path: Path, files: dict[str, bytes], name: str) -> Tensors:
    try:
        return load(files[name])
    except (KeyError, SafetensorError):
        raise _unsupported(path, name) from None


def _split(path: Path, files: dict[str, bytes], sizes: tuple[int, ...]) -> tuple[bytes, ...]:
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


_ENV_DIMS = {"frames": 1, "starts": 1, "masks": 1, "states": 0}
"""Tensor of a `CollectorState` → its dimension that counts environments. All others are the same on every rank."""


class _Part(msgspec.Struct):
    """A rank's `CollectorState` as it travels."""

    tensors: bytes
    envs: tuple[bytes, ...]


def gathered(own: CollectorState, ranks: Ranks) -> CollectorState:
    """On rank 0 the state of all ranks' environments, as one process that hosts them all has it; elsewhere `own`."""
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


def own_part(whole: CollectorState, ranks: Ranks) -> CollectorState:
    """What of the state of all environments is this rank's."""
    if ranks.size == 1:
        return whole
    share = ranks.share(len(whole.envs))
    tensors = {
        name: tensor.narrow(_ENV_DIMS[name], share.start, share.stop - share.start) if name in _ENV_DIMS else tensor
        for name, tensor in whole.tensors.items()
    }
    return CollectorState(tensors, whole.envs[share])


def of_all_envs(own: Mapping[int, str], num_envs: int, ranks: Ranks) -> dict[int, str]:
    """What each rank says of some of its own `num_envs` environments, by their numbers among those of all ranks."""
    parts = ranks.exchange(dict(own), dict[int, str])
    return {rank * num_envs + env: text for rank, part in enumerate(parts) for env, text in part.items()}


class Snapshots:
    """Everything of a run that the next update depends on, behind two methods: `take` and `load`.

    Args:
        origin: what this process computes on.
        ranks: those who train together. Snapshots are of all of them, and every rank has to make the same calls.
    """

    def __init__(
        self,
        config: Config,
        *,
        policy: ActorCritic,
        learner: Learner,
        rollouts: Rollouts,
        settings: LiveSettings,
        episodes: EpisodeWindow,
        origin: Origin,
        ranks: Ranks = ALONE,
    ) -> None:
        self._config, self.origin, self._ranks = config, origin, ranks
        self._num_envs = config.rollout.num_envs // ranks.size
        self._policy, self._learner, self._rollouts = policy, learner, rollouts
        self._settings, self._episodes = settings, episodes
        self._start: CollectorState | None = None

    @property
    def marked(self) -> bool:
        """Whether there is anything to take a snapshot of."""
        return self._start is not None

    def mark(self) -> None:
        """Remember where the next rollout starts from. A snapshot taken within that rollout leaves it out.

        This costs a millisecond or two for eight Atari games, and lets a run stop in the middle of a rollout at once,
        without losing an exact bit: the rollout is played again.
        """
        self._start = self._rollouts.save_state()

    def take(
        self, *, step: int, update: int, seconds: float, metrics: dict[str, float | None], best: float | None
    ) -> Snapshot | None:
        """The run as it was at the last `mark`, with weights as they are: not to be called while the learner learns.

        Only rank 0 has it.
        """
        learner = self._learner.state_dict()
        start = gathered(self._start or CollectorState({}, ()), self._ranks)
        if not self._ranks.leads:
            return None
        state = CheckpointState(
            step=step,
            update=update,
            seconds=seconds,
            config=to_tables(self._config),
            settings=self._settings.save(),
            learner={key: value for key, value in learner.items() if not isinstance(value, torch.Tensor)},
            episodes=self._episodes.total,
            best=best,
            metrics={key: value if value is None or math.isfinite(value) else None for key, value in metrics.items()},
            env_sizes=tuple(map(len, start.envs)),
            origin=self.origin,
        )
        return Snapshot(
            state=state,
            policy=on_cpu(self._policy.state_dict()),
            optimizer=on_cpu(learner),
            rollout={**start.tensors, **_window_tensors(self._episodes)},
            envs=start.envs,
        )

    def load(self, snapshot: Snapshot) -> None:
        """Weights, optimiser, generators, settings and windows as in `snapshot`; the environments follow in `begin`.

        Raises:
            UsageError: the snapshot is another run's; nothing has changed then.
        """
        before = build_config(snapshot.state.config)
        for key, (old, new) in changed_fixed_settings(before, self._config).items():
            raise UsageError(f"the checkpoint was saved with {key} = {old!r}, and this run has {new!r}")
        load_weights(self._policy, snapshot)
        self._learner.load_state_dict({**snapshot.optimizer, **snapshot.state.learner})
        stretch = before.planned_steps / self._config.planned_steps
        self._settings.restore(snapshot.state.settings, stretch=stretch)
        _load_window(self._episodes, snapshot)

    def begin(self, snapshot: Snapshot | None) -> dict[int, str]:
        """Bring the environments to where the next rollout starts, and `mark` it.

        Args:
            snapshot: where they go on; None, or one without environments, starts the first episodes.

        Returns:
            The environments that could not be restored and have begun a new episode, each with the reason.
        """
        if snapshot is None or not snapshot.envs:
            self._rollouts.reset()
            restarted = {}
        else:
            restarted = self._rollouts.load_state(
                own_part(CollectorState(snapshot.rollout, snapshot.envs), self._ranks)
            )
        self.mark()
        return of_all_envs(restarted, self._num_envs, self._ranks)

    def unsaved(self) -> dict[int, str]:
        """The environments that the last `mark` could not save, each with the reason."""
        return of_all_envs(self._start.unsaved() if self._start else {}, self._num_envs, self._ranks)


def describe_origin(pool: WorkerPool, device: torch.device, threads: Threads, ranks: Ranks = ALONE) -> Origin:
    """What this process, and those who train with it, compute on."""
    first = ranks.rank * pool.num_envs
    own = [pool.group_envs(group) for group in range(pool.num_groups)]
    groups = ranks.exchange([(first + envs.start, first + envs.stop) for envs in own], list[tuple[int, int]])
    return Origin(
        versions=versions(),
        code=code_fingerprint(),
        cpu=cpu_model(),
        device=str(device),
        act_threads=threads.act,
        learn_threads=threads.learn,
        groups=tuple(envs for of_rank in groups for envs in of_rank),
        ranks=ranks.size,
    )


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
