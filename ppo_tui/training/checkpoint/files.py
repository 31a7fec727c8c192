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
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ...config import complete_older
from ...directories import Directory, Place, is_plain, opened, path_of
from ...errors import RunFailedError, UsageError
from ...files import RefusedFileError
from ...system.paths import exchange_paths
from ...text import printable
from ..stopping import StopState

FORMAT_VERSION = 2
MANIFEST_FILE = "manifest.json"
MAX_MANIFEST_BYTES = 1_000_000

_LARGE_BYTES = 256 * 1024 * 1024
"""A file beyond this is hashed before it is taken into memory."""

_UNFINISHED = re.compile(r"\.step-\d+\..*\.tmp")
"""Names of checkpoints that are being written or deleted."""

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
POLICY_FILE = "policy.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"


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


class SavedEnvMetrics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metrics of the environments' numbers in a checkpoint.

    Attributes:
        names: of the metrics, in the order of their coming → whether they came in a step inside an episode.
        means: over the steps of the last rollout.
        ends: values at the ends of the newest episodes.
        reported: whether it was published that names are left out.
    """

    names: dict[str, bool]
    means: dict[str, float]
    ends: dict[str, tuple[float, ...]]
    reported: bool


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
        environment: the numbers in the environments' infos; None in checkpoints of earlier versions.
        metrics: of the last update.
        env_sizes: bytes of each environment's state.
        stop: where the stop rules stand.
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
    environment: SavedEnvMetrics | None = None
    stop: StopState = StopState()


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


def write_checkpoint_files(place: Place, files: Mapping[str, bytes], **facts: Any) -> Manifest:
    """Write a checkpoint at `place`, replacing an existing one atomically.

    Args:
        facts: the fields of the `Manifest` other than `format` and `files`.

    Raises:
        OSError: the disk is full or not writable; an existing checkpoint at `place` is unchanged.
    """
    if isinstance(place, Path):
        with opened(place.parent, make=True) as directory:
            return write_checkpoint_files(directory / place.name, files, **facts)
    directory, name = place
    sums = {file: _sha256(content) for file, content in files.items()}
    manifest = Manifest(format=FORMAT_VERSION, files=sums, **facts)
    temporary = f".{name}.{secrets.token_hex(8)}.tmp"
    os.mkdir(temporary, mode=0o700, dir_fd=directory.descriptor)
    try:
        with directory.subdirectory(temporary) as unfinished:
            for file, content in {**files, MANIFEST_FILE: _seal(manifest)}.items():
                unfinished.write_new(file, content)
            unfinished.flush()
            os.fchmod(unfinished.descriptor, directory.mode_below)
        _move_into_place(directory, temporary, name)
        directory.flush()
    finally:
        directory.remove_tree(temporary)
    return manifest


def refuse_to_replace(path: Path) -> None:
    """Refuse to write a checkpoint over anything but another one.

    Raises:
        UsageError: naming what is there.
    """
    there = ""
    if path.is_symlink():
        there = "it is a symbolic link"
    elif path.is_dir():
        own = {MANIFEST_FILE}
        with contextlib.suppress(UsageError):
            own |= read_manifest(path).files.keys()
        with Directory.open(path) as directory:
            if others := [name for name in directory.names() if name not in own]:
                there = f"it holds {printable(others[0])}, which is of no checkpoint"
    elif path.exists():
        there = "it is a file"
    if there:
        raise UsageError(f"{printable(str(path))}: {there}", hint="name a new directory, or a checkpoint to replace")


def read_manifest(place: Place) -> Manifest:
    """Read the manifest of the checkpoint at `place`, without its files.

    Raises:
        UsageError: there is no checkpoint, its manifest is damaged, or another version wrote it.
    """
    path = path_of(place)
    try:
        with opened(place) as directory:
            return _read_manifest(directory, path)
    except (FileNotFoundError, NotADirectoryError):
        raise _no_checkpoint(path) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _read_manifest(directory: Directory, path: Path) -> Manifest:
    try:
        content = directory.read(MANIFEST_FILE, MAX_MANIFEST_BYTES)
    except FileNotFoundError:
        raise _no_checkpoint(path) from None
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
    if _seal(manifest) != content or not all(map(is_plain, manifest.files)):
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
    def open(cls, place: Place) -> OpenedCheckpoint:
        """Read the checkpoint at `place` and check every file.

        Raises:
            UsageError: as `read_manifest`, or a file is missing, damaged, or too large for this machine.
        """
        path = path_of(place)
        try:
            with opened(place) as directory:
                manifest = _read_manifest(directory, path)
                files = _read_files(directory, path, manifest)
        except (FileNotFoundError, NotADirectoryError):
            raise _no_checkpoint(path) from None
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from None
        return cls(path, manifest, decode_state(path, files), files)


def _read_files(directory: Directory, path: Path, manifest: Manifest) -> dict[str, bytes]:
    """Read the files of a manifest, each with its checksum."""
    files: dict[str, bytes] = {}
    left = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    for name, checksum in manifest.files.items():
        try:
            with directory.open_file(name) as file:
                size = os.fstat(file.fileno()).st_size
                left -= size
                if left < 0:
                    raise UsageError(f"{path}: {name} and the files before it are larger than half of the memory here")
                if size > _LARGE_BYTES and hashlib.file_digest(file, "sha256").hexdigest() != checksum:
                    raise _damaged(path, name)
                file.seek(0)
                content = file.read(size)
        except (OSError, RefusedFileError):
            raise _damaged(path, name) from None
        if _sha256(content) != checksum:
            raise _damaged(path, name)
        files[name] = content
    return files


def list_checkpoints(place: Place | Directory) -> tuple[list[tuple[Path, Manifest]], list[str]]:
    """The checkpoints at `place`, newest first, and problems of the others.

    Listed are those with a valid manifest; their other files are not read.
    """
    problems: list[str] = []
    with _reporting(place, problems), opened(place) as directory:
        return _list(directory, problems), problems
    return [], problems


def _list(directory: Directory, problems: list[str]) -> list[tuple[Path, Manifest]]:
    found = []
    for name in directory.names():
        if not directory.is_directory(name) or name.endswith(".tmp"):
            continue
        try:
            found.append((directory.path / name, read_manifest(directory / name)))
        except UsageError as error:
            problems.append(error.message)
    return sorted(found, key=lambda pair: (pair[1].serial, pair[1].step), reverse=True)


def newest_checkpoint(place: Place | Directory) -> tuple[OpenedCheckpoint, list[str]]:
    """The newest whole checkpoint at `place`, and the problems of newer ones.

    Raises:
        RunFailedError: there is none.
    """
    problems: list[str] = []
    with _reporting(place, problems), opened(place) as directory:
        for path, _ in _list(directory, problems):
            try:
                return OpenedCheckpoint.open(directory / path.name), problems
            except UsageError as error:
                problems.append(error.message)
    raise RunFailedError(
        f"{path_of(place)} holds no whole checkpoint" + "".join(f"\n  {problem}" for problem in problems),
        hint="nothing was changed; start a new run, or name a checkpoint that was copied elsewhere",
    )


def checkpoint_name(step: int) -> str:
    """The name of a run's checkpoint of this step."""
    return f"step-{step:012d}"


@contextlib.contextmanager
def _reporting(place: Place | Directory, problems: list[str]) -> Iterator[None]:
    """Note an unreadable directory as a problem; a missing one is none."""
    try:
        yield
    except FileNotFoundError:
        pass
    except RefusedFileError as error:
        problems.append(error.message)
    except OSError as error:
        problems.append(f"{path_of(place)} cannot be read: {error.strerror}")


def remove_unfinished(directory: Directory) -> None:
    """Remove the remains of processes killed while saving."""
    for name in directory.names():
        if _UNFINISHED.fullmatch(name) and directory.is_directory(name):
            directory.remove_tree(name)


def remove_checkpoint(directory: Directory, name: str) -> None:
    """Remove a checkpoint, if it is there.

    It gets another name first: a half-removed one must not look like a checkpoint.
    """
    gone = f".{name.lstrip('.')}.deleted.tmp"
    directory.remove_tree(gone)
    if directory.stat(name) is not None:
        directory.rename(name, gone)
        directory.remove_tree(gone)


def _seal(manifest: Manifest) -> bytes:
    body = msgspec.json.encode(manifest)
    return json.dumps({"manifest": json.loads(body), "sha256": _sha256(body)}, indent=1).encode()


def _no_checkpoint(path: Path) -> UsageError:
    return UsageError(f"{path} is not a checkpoint: it has no {MANIFEST_FILE}")


def _damaged(path: Path, name: str) -> UsageError:
    return UsageError(f"{path}: {name} is missing or damaged", hint="use an older checkpoint")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _move_into_place(directory: Directory, temporary: str, name: str) -> None:
    """Rename `temporary` to `name`, exchanging it with an existing checkpoint.

    The existing one is in `temporary` afterwards. If the system cannot exchange two names, it has a hidden name for a
    moment, under which `list_checkpoints` still finds it.
    """
    path = directory.for_libraries
    if directory.stat(name) is None:
        directory.rename(temporary, name)
    elif not exchange_paths(path / temporary, path / name):
        aside = f".{name}.old"
        remove_checkpoint(directory, aside)
        directory.rename(name, aside)
        directory.rename(temporary, name)
        directory.rename(aside, temporary)
