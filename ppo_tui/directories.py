"""Directories held open: everything below is reached without following links."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, Self

from .files import RefusedFileError
from .system.paths import OTHER_KINDS, flush, path_through, present_path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_REMEDY = "remove it, or move it elsewhere; nothing was changed"

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Directory:
    """A directory held by its descriptor, wherever it is moved.

    Names below it are plain names, and none is followed as a symbolic link: nothing is read or written outside.

    Args:
        descriptor: of the open directory; this object closes it.
        path: as last known, for messages.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor: int | None = descriptor
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Directory:
        """Open the directory at `path`, or behind a link there.

        Raises:
            OSError: there is none, or it cannot be entered.
        """
        return cls(os.open(path, _DIRECTORY), path.absolute())

    def close(self) -> None:
        """Close the descriptor; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __truediv__(self, name: str) -> Below:
        return Below(self, name)

    @property
    def descriptor(self) -> int:
        """The open descriptor.

        Raises:
            OSError: it has been closed; by now its number may be another file's.
        """
        if self._descriptor is None:
            raise OSError(errno.EBADF, f"{self._path} has been closed")
        return self._descriptor

    @property
    def path(self) -> Path:
        """Its path, as last known."""
        return self._path

    @property
    def for_libraries(self) -> Path:
        """A path for libraries in this process, valid after a move too.

        On systems without ``/proc/self/fd`` it is the present path.
        """
        return path_through(self.descriptor) or self.locate() or self._path

    @property
    def for_children(self) -> Path:
        """As `for_libraries`, for other processes of this user."""
        return path_through(self.descriptor, os.getpid()) or self.locate() or self._path

    def locate(self) -> Path | None:
        """Find and remember the present path.

        Returns:
            None where it was removed, or where the system does not know.
        """
        for path in (self._path, present_path(self.descriptor)):
            with contextlib.suppress(OSError):
                if path is not None and os.path.samestat(os.stat(path), os.fstat(self.descriptor)):
                    self._path = path
                    return path
        return None

    @property
    def removed(self) -> bool:
        return os.fstat(self.descriptor).st_nlink == 0

    # ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────

    def names(self) -> list[str]:
        return sorted(os.listdir(self.descriptor))

    def stat(self, name: str) -> os.stat_result | None:
        """Facts about an entry, of a link itself; None without one."""
        try:
            return os.stat(_plain(name), dir_fd=self.descriptor, follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
                return None
            raise

    def is_directory(self, name: str) -> bool:
        facts = self.stat(name)
        return facts is not None and stat.S_ISDIR(facts.st_mode)

    def open_file(self, name: str) -> BufferedReader:
        """Open a regular file for reading.

        Raises:
            RefusedFileError: it is a link, or no regular file.
            OSError: it cannot be opened.
        """
        return os.fdopen(self._open(name, os.O_RDONLY), "rb")

    def read(self, name: str, most_bytes: int) -> bytes:
        """Read a regular file whole; raises as `open_file`, and beyond `most_bytes`."""
        with self.open_file(name) as file:
            content = file.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise RefusedFileError(f"{self._path / name} is larger than {most_bytes:,} bytes, the limit for it")
        return content

    def target(self, name: str) -> str:
        """The target of a link, a name beside it; or `name` itself.

        Raises:
            RefusedFileError: the link leads elsewhere.
            OSError: there is no such entry.
        """
        facts = os.stat(_plain(name), dir_fd=self.descriptor, follow_symlinks=False)
        if not stat.S_ISLNK(facts.st_mode):
            return name
        target = os.readlink(name, dir_fd=self.descriptor)
        try:
            return _plain(target)
        except RefusedFileError:
            raise RefusedFileError(f"{self._path / name} leads out of its directory, to {target}") from None

    def subdirectory(self, name: str, *, make: bool = False) -> Directory:
        """Open a directory below this one.

        Args:
            make: make it if it is missing.

        Raises:
            RefusedFileError: it is a link, or no directory.
            OSError: there is none, or it cannot be entered.
        """
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(_plain(name), mode=self.mode_below, dir_fd=self.descriptor)
        try:
            descriptor = os.open(_plain(name), _DIRECTORY | os.O_NOFOLLOW, dir_fd=self.descriptor)
        except NotADirectoryError:
            raise self._refused(name, "a directory") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._refused(name, "a directory") from None
            raise
        return Directory(descriptor, self._path / name)

    # ── Writing ─────────────────────────────────────────────────────────────────────────────────────────────

    def append_to(self, name: str) -> int:
        """Open a regular file for appending, made if missing; return its descriptor.

        Raises:
            RefusedFileError: it is a link, has a second name elsewhere, or is no regular file.
            OSError: it cannot be opened.
        """
        return self.open_to_change(name, os.O_APPEND)

    def open_to_change(self, name: str, flags: int = 0) -> int:
        """As `append_to`, for reading and writing at any place."""
        descriptor = self._open(name, os.O_RDWR | os.O_CREAT | flags)
        if os.fstat(descriptor).st_nlink > 1:
            os.close(descriptor)
            raise _second_name(self._path / name)
        return descriptor

    def refuse_strangers(self, *, files: Iterable[str] = (), directories: Iterable[str] = ()) -> None:
        """Check entries before any is changed; missing ones are right.

        Args:
            files: to be regular files without a second name.
            directories: to be directories.

        Raises:
            RefusedFileError: naming the first that is a link or anything else.
        """
        for name in files:
            facts = self.stat(name)
            if facts and not stat.S_ISREG(facts.st_mode):
                raise self._refused(name, "a file")
            if facts and facts.st_nlink > 1:
                raise _second_name(self._path / name)
        for name in directories:
            facts = self.stat(name)
            if facts and not stat.S_ISDIR(facts.st_mode):
                raise self._refused(name, "a directory")

    def write(self, name: str, content: bytes, *, through: bool = True) -> None:
        """Write a file, replacing an existing one atomically.

        Args:
            through: wait until file and name are on the disk.

        Raises:
            OSError: the disk refuses; an existing file is unchanged.
        """
        temporary = f".{_plain(name)}.{secrets.token_hex(8)}.tmp"
        try:
            self.write_new(temporary, content, through=through)
            os.replace(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except BaseException:
            self.remove(temporary)
            raise
        if through:
            self.flush()

    def write_new(self, name: str, content: bytes, *, through: bool = True) -> None:
        """Write a new file.

        Raises:
            OSError: there is one, or the disk refuses.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(_plain(name), flags, 0o600, dir_fd=self.descriptor), "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), self._mode)
            if through:
                flush(file.fileno())

    def link(self, name: str, target: str) -> None:
        """Point the link `name` to `target`, beside it, in one atomic step.

        A directory in its place, as some ways of copying make, is renamed.
        """
        temporary = f".{_plain(name)}.{secrets.token_hex(8)}.tmp"
        os.symlink(_plain(target), temporary, dir_fd=self.descriptor)
        try:
            if self.is_directory(name):
                self.set_aside(name)
            os.replace(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except BaseException:
            self.remove(temporary)
            raise

    def set_aside(self, name: str, suffix: str = "aside") -> str:
        """Rename an entry to ``NAME.SUFFIX``, numbered if taken; return the new name."""
        new, number = f"{name}.{suffix}", 2
        while self.stat(new):
            new, number = f"{name}.{suffix}-{number}", number + 1
        self.rename(name, new)
        return new

    def rename(self, name: str, new: str) -> None:
        os.rename(_plain(name), _plain(new), src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Remove a file or a link, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_plain(name), dir_fd=self.descriptor)

    def remove_tree(self, name: str) -> None:
        """Remove a directory and all in it, as far as possible."""
        shutil.rmtree(_plain(name), ignore_errors=True, dir_fd=self.descriptor)

    def flush(self) -> None:
        """Wait until the names in this directory are on the disk."""
        flush(self.descriptor)

    # ── Internals ───────────────────────────────────────────────────────────────────────────────────────────

    def _open(self, name: str, flags: int) -> int:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        mode = self._mode if flags & os.O_CREAT else 0
        try:
            descriptor = os.open(_plain(name), flags, mode, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno in OTHER_KINDS:
                raise self._refused(name, "a regular file") from None
            raise
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        raise self._refused(name, "a regular file")

    def _refused(self, name: str, expected: str) -> RefusedFileError:
        facts = self.stat(name)
        found = describe_kind(facts.st_mode) if facts else "gone"
        return RefusedFileError(f"{self._path / name} is {found}, where {expected} of its own should be", hint=_REMEDY)

    @property
    def mode_below(self) -> int:
        """Permissions of a directory below this one, for the same people."""
        return stat.S_IMODE(os.fstat(self.descriptor).st_mode) & 0o755 | 0o700

    @property
    def _mode(self) -> int:
        """Permissions of a file: readable for those allowed to read this directory."""
        return self.mode_below & 0o644


class Below(NamedTuple):
    """A name in a held directory."""

    directory: Directory
    name: str

    @property
    def path(self) -> Path:
        return self.directory.path / self.name


Place = Path | Below
"""A directory: named by its user, whose links are followed, or a name in a held directory."""


def path_of(place: Place | Directory) -> Path:
    """The path of a place, for messages."""
    return place if isinstance(place, Path) else place.path


@contextlib.contextmanager
def opened(place: Place | Directory, *, make: bool = False) -> Iterator[Directory]:
    """Hold the directory at `place` while the context lasts.

    One that is held already stays so.

    Args:
        make: make it if it is missing.

    Raises:
        RefusedFileError: below a held directory: it is a link, or no directory.
        OSError: there is none, or it cannot be entered.
    """
    if isinstance(place, Directory):
        yield place
        return
    if isinstance(place, Below):
        directory = place.directory.subdirectory(place.name, make=make)
    else:
        if make:
            with contextlib.suppress(FileExistsError):  # a file there is refused below, in clearer words
                place.mkdir(parents=True, exist_ok=True)
        directory = Directory.open(place)
    with directory:
        yield directory


def describe_kind(mode: int) -> str:
    """The kind of an entry in words, from its mode."""
    for is_kind, words in _KINDS:
        if is_kind(mode):
            return words
    return "a file of an unknown kind"


def is_plain(name: str) -> bool:
    """Whether `name` names an entry of a directory, and nothing else."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _plain(name: str) -> str:
    if not is_plain(name):
        raise RefusedFileError(f"{name!r} is not the name of a file in this directory")
    return name


def _second_name(path: Path) -> RefusedFileError:
    return RefusedFileError(
        f"{path} has a second name elsewhere (a hard link): what is written into it would change the other file too",
        hint=f"make a file of its own of it: cp {path.name} copy && mv copy {path.name}",
    )
