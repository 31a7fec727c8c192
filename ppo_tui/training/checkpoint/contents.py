"""What a checkpoint holds: tensors as safetensors, the environments' states as they gave them, all else as JSON.

Everything that the next update depends on is in it, so that a run that goes on from one goes on bit for bit. Nothing
is ever unpickled.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ...config import Config, build_config, refuse_import
from ...distributed.ranks import ALONE, Ranks
from ...envs import EnvInfo, probe_env
from ...errors import UsageError
from ...ppo import ActorCritic, build_policy
from .files import Manifest, read_checkpoint_files, write_checkpoint_files
from .state import STATE_FILE, CheckpointState, decode_state, newest_checkpoint

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
