"""Checkpoint directories on disk: written atomically, read only if whole.

A checkpoint is a directory of files and a manifest with their checksums, and its own. It is written under a temporary
name, each file flushed to the disk, the manifest last, and renamed: a checkpoint with a valid manifest is complete. Its
plain values (`CheckpointState`) are read here, without torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ...config import complete_older
from ...errors import RunFailedError, UsageError
from ...system import exchange_paths

FORMAT_VERSION = 2
MANIFEST_FILE = "manifest.json"
MAX_MANIFEST_BYTES = 1_000_000

_SYNTAX_ERRORS = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The manifest of a checkpoint, readable without its files.

    Attributes:
        serial: counts the checkpoints of a run in the order in which they were saved. The highest is the newest, which
            the highest `step` need not be once a run has been rewound.
        reason: as in `ppo_tui.protocol.CheckpointSaved`.
        files: name → sha256 of the file.
    """

    format: int
    serial: int
    step: int
    update: int
    reason: str
    files: dict[str, str]


class _Seal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The manifest file: the manifest and the checksum of its text."""

    manifest: msgspec.Raw
    sha256: str


class _FormatOnly(msgspec.Struct):
    format: int


class _AnySeal(msgspec.Struct):
    """The format number of a manifest file of any version."""

    format: int | None = None
    manifest: _FormatOnly | None = None


STATE_FILE = "state.json"


class SavedSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A live setting in a checkpoint.

    `since` is the share (0..1) of the planned steps at which the value was set.
    """

    value: float | int | None
    since: float


class Origin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine and the program of a run.

    The last bits of its numbers depend on each.

    Attributes:
        code: fingerprint of the source that decides a run's numbers.
        act_threads, learn_threads: PyTorch's threads while the workers step, and while they wait.
        groups: the environments of each worker group, as start and stop.
        ranks: processes that learn together.
    """

    versions: dict[str, str]
    code: str
    cpu: str
    device: str
    act_threads: int
    learn_threads: int
    groups: tuple[tuple[int, int], ...]
    ranks: int = 1


class CheckpointState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Counters, settings and facts of a run at an update boundary.

    Attributes:
        seconds: of training so far, as events have it in `elapsed`.
        config: the configuration that the run was started with, as nested tables.
        settings: the live settings in force, by dotted name.
        learner: the learner's state, without tensors.
        episodes: whole episodes so far.
        best: the highest mean return that a checkpoint was saved for, this one included, or None.
        evaluating: step of the policy whose evaluation was not finished, or None; this one's own included.
        metrics: of the last update.
        env_sizes: bytes of each environment's state.
    """

    step: int
    update: int
    seconds: float
    config: dict[str, Any]
    settings: dict[str, SavedSchedule]
    learner: dict[str, Any]
    episodes: int
    best: float | None
    metrics: dict[str, float | None]
    env_sizes: tuple[int, ...]
    origin: Origin
    evaluating: int | None = None


def decode_state(path: Path, files: Mapping[str, bytes]) -> CheckpointState:
    """Decode the state among the `files` of the checkpoint at `path`.

    Raises:
        UsageError: it is not one of this format.
    """
    try:
        state = msgspec.json.decode(files[STATE_FILE], type=CheckpointState)
        return msgspec.structs.replace(state, config=complete_older(state.config))
    except (KeyError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise UsageError(
            f"{path}: {STATE_FILE} has an unsupported format", hint="use a checkpoint that ppo-tui wrote"
        ) from None


def write_checkpoint_files(path: Path, files: Mapping[str, bytes], **facts: Any) -> Manifest:
    """Write a checkpoint at `path`, replacing an existing one atomically.

    Args:
        facts: the fields of the `Manifest` other than `format` and `files`.

    Raises:
        OSError: the disk is full or not writable; an existing checkpoint at `path` is unchanged.
    """
    sums = {name: _sha256(content) for name, content in files.items()}
    manifest = Manifest(format=FORMAT_VERSION, files=sums, **facts)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir(parents=True)
    try:
        for name, content in {**files, MANIFEST_FILE: _seal(manifest)}.items():
            _write_through(temporary / name, content)
        _flush(temporary)
        _move_into_place(temporary, path)
        _flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of the checkpoint at `path`, without its files.

    Raises:
        UsageError: there is no checkpoint, its manifest is damaged, or another version wrote it.
    """
    file = path / MANIFEST_FILE
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{path} is not a checkpoint: it has no {MANIFEST_FILE}") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    try:
        seal = msgspec.json.decode(content, type=_AnySeal)
        version = seal.manifest.format if seal.manifest else seal.format
    except _SYNTAX_ERRORS:
        raise _damaged(path, MANIFEST_FILE) from None
    if version is not None and version != FORMAT_VERSION:
        raise UsageError(
            f"{path} has checkpoint format {version}; this version reads format {FORMAT_VERSION}",
            hint="use the version of ppo-tui that wrote it",
        )
    try:
        manifest = msgspec.json.decode(msgspec.json.decode(content, type=_Seal).manifest, type=Manifest)
    except _SYNTAX_ERRORS:
        raise _damaged(path, MANIFEST_FILE) from None
    if _seal(manifest) != content:
        raise _damaged(path, MANIFEST_FILE)
    return manifest


@dataclass(frozen=True)
class OpenedCheckpoint:
    """A whole checkpoint: read and checked once, then handed on.

    Attributes:
        files: the content of every file but the manifest, by name.
    """

    path: Path
    manifest: Manifest
    state: CheckpointState
    files: dict[str, bytes] = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> OpenedCheckpoint:
        """Read the checkpoint at `path` and check every file.

        Raises:
            UsageError: as `read_manifest`, or a file is missing or damaged.
        """
        manifest = read_manifest(path)
        files = {}
        for name, checksum in manifest.files.items():
            try:
                content = (path / name).read_bytes()
            except OSError:
                raise _damaged(path, name) from None
            if _sha256(content) != checksum:
                raise _damaged(path, name)
            files[name] = content
        return cls(path, manifest, decode_state(path, files), files)


def list_checkpoints(directory: Path) -> tuple[list[tuple[Path, Manifest]], list[str]]:
    """The checkpoints in `directory`, newest first, and problems of the others.

    Listed are those with a valid manifest; their other files are not read.
    """
    found, problems = [], []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in directory.iterdir():
            if path.is_symlink() or not path.is_dir() or path.suffix == ".tmp":
                continue
            try:
                found.append((path, read_manifest(path)))
            except UsageError as error:
                problems.append(error.message)
    return sorted(found, key=lambda pair: (pair[1].serial, pair[1].step), reverse=True), problems


def newest_checkpoint(directory: Path) -> tuple[OpenedCheckpoint, list[str]]:
    """The newest whole checkpoint in `directory`, and the problems of newer ones.

    Raises:
        RunFailedError: there is none.
    """
    candidates, problems = list_checkpoints(directory)
    for path, _ in candidates:
        try:
            return OpenedCheckpoint.open(path), problems
        except UsageError as error:
            problems.append(error.message)
    raise RunFailedError(
        f"{directory} holds no whole checkpoint" + "".join(f"\n  {problem}" for problem in problems),
        hint="nothing was changed; start a new run, or name a checkpoint that was copied elsewhere",
    )


def checkpoint_name(step: int) -> str:
    """The name of a run's checkpoint of this step."""
    return f"step-{step:012d}"


def remove_unfinished(directory: Path) -> None:
    """Remove the remains of processes killed while saving."""
    for path in directory.glob(".*.tmp"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def point_link(link: Path, target: Path) -> None:
    """Point `link` at `target`, beside it, in one atomic step."""
    temporary = link.with_name(f".{link.name}.link.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.name)
    temporary.replace(link)


def _seal(manifest: Manifest) -> bytes:
    body = msgspec.json.encode(manifest)
    return json.dumps({"manifest": json.loads(body), "sha256": _sha256(body)}, indent=1).encode()


def _damaged(path: Path, name: str) -> UsageError:
    return UsageError(f"{path}: {name} is missing or damaged", hint="use an older checkpoint")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_through(file: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _flush(directory: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_into_place(temporary: Path, path: Path) -> None:
    """Rename `temporary` to `path`, exchanging it with an existing checkpoint.

    The existing one is in `temporary` afterwards. If the system cannot exchange two names, it has a hidden name for a
    moment, under which `list_checkpoints` still finds it.
    """
    if not path.exists():
        temporary.rename(path)
    elif not exchange_paths(temporary, path):
        aside = path.with_name(f".{path.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        temporary.rename(path)
        shutil.rmtree(aside, ignore_errors=True)
