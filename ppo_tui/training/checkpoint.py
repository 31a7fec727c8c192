"""Checkpoints: tensors as safetensors, everything else as JSON, checksums over both; nothing is ever unpickled.

A checkpoint is a directory. It is written under a temporary name, flushed to the disk and renamed, its manifest
last, so that one that has a valid manifest is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ..config import Config, build_config, to_tables
from ..envs import probe_env
from ..errors import UsageError
from ..ppo import ActorCritic, build_policy

FORMAT_VERSION = 1
POLICY_FILE = "policy.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
MANIFEST_FILE = "manifest.json"


def save_checkpoint(
    path: Path, *, policy: ActorCritic, learner: dict[str, Any], config: Config, state: dict[str, Any]
) -> Path:
    """Write a checkpoint directory at `path`, replacing one that stands there, and return it.

    Args:
        learner: the state of the optimiser and of the shuffling: tensors, and numbers.
        state: everything else that is to be kept, as JSON knows it.

    Raises:
        OSError: the disk is full or not writable; what stood at `path` is then still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        save_file(_contiguous(policy.state_dict()), temporary / POLICY_FILE)
        tensors = {key: value for key, value in learner.items() if isinstance(value, torch.Tensor)}
        save_file(_contiguous(tensors), temporary / OPTIMIZER_FILE)
        numbers = {key: value for key, value in learner.items() if key not in tensors}
        content = {"config": to_tables(config), "learner": numbers, **state}
        (temporary / STATE_FILE).write_text(json.dumps(content, indent=1), "utf-8")
        files = {file.name: _sha256(file) for file in sorted(temporary.iterdir())}
        manifest = {"format": FORMAT_VERSION, "sha256": files}
        (temporary / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1), "utf-8")
        for file in temporary.iterdir():
            _flush(file)
        _flush(temporary)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
        _flush(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return path


def point_latest(path: Path) -> None:
    """Let the link ``latest`` beside the checkpoint name it, in one atomic step."""
    temporary = path.with_name(".latest.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(path.name)
    temporary.replace(path.with_name("latest"))


def read_state(path: Path) -> dict[str, Any]:
    """The JSON part of the checkpoint at `path`, after checking that all its files are whole.

    Raises:
        UsageError: there is no checkpoint, it is damaged, or a later version wrote it.
    """
    try:
        manifest = json.loads((path / MANIFEST_FILE).read_bytes())
        version, checksums = manifest["format"], dict(manifest["sha256"])
    except FileNotFoundError:
        raise UsageError(f"{path} is not a checkpoint: it has no {MANIFEST_FILE}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{path}: {MANIFEST_FILE} is damaged", hint="use an older checkpoint") from None
    if version != FORMAT_VERSION:
        raise UsageError(
            f"{path} has checkpoint format {version}; this version reads format {FORMAT_VERSION}",
            hint="use the version of ppo-tui that wrote it",
        )
    for name in (POLICY_FILE, OPTIMIZER_FILE, STATE_FILE):
        file = path / name
        if not file.is_file() or _sha256(file) != checksums.get(name):
            raise UsageError(f"{path}: {name} is missing or damaged", hint="use an older checkpoint")
    return json.loads((path / STATE_FILE).read_bytes())


def load_policy(path: str | Path, *, device: str = "cpu") -> ActorCritic:
    """The trained networks of a run directory (its latest checkpoint) or of a checkpoint directory.

    Raises:
        UsageError: there is no whole checkpoint there.
        ConfigError: its environment is not installed here.
    """
    path = Path(path)
    if (path / "checkpoints" / "latest").is_dir():
        path = path / "checkpoints" / "latest"
    config = build_config(read_state(path)["config"])
    info = probe_env(config.env)
    policy = build_policy(info.observation_space, info.action_space, config.policy, frame_stack=config.env.frame_stack)
    policy.load_state_dict(load_file(path / POLICY_FILE))
    return policy.to(device).eval()


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """safetensors stores plain row-major tensors; channels-last is only how they lie in memory here."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
