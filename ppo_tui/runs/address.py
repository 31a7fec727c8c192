"""The control socket's address: made by the server, checked by the client.

The socket lies in the run directory where that is private and its path short, else in a private directory that is named
after the run directory's device and inode. A copy of a run has another inode: whatever its ``run.json`` says, it
reaches and removes nothing of the original's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..directories import Directory
from ..errors import UsageError
from ..system.processes import pid_in_own_namespace
from ..system.sockets import MAX_PATH_BYTES, peer_credentials
from .directory import RunDirectory
from .messages import Hello

_NAME = "control.sock"


# ── The server's end ────────────────────────────────────────────────────────────────────────────────────────


def listen(run_dir: RunDirectory) -> Listener:
    """Bind the control socket and record its path in ``run.json``.

    The socket has mode 0600 in a directory of mode 0700. Sockets left by a killed process of this run are removed.

    Args:
        run_dir: locked by this process.

    Raises:
        OSError: no socket can be made.
    """
    with _Folder(run_dir.path) as own:
        prefix, directory = _prefix(own), own.identity
        serves = own.is_private and own.has_room and len(os.fsencode(own.path / _NAME)) <= MAX_PATH_BYTES
    _remove_left(prefix)
    listener = Listener(_Folder(run_dir.path) if serves else _make_folder(prefix), directory)
    try:
        run_dir.update(socket=str(listener.path), pid=os.getpid())
    except BaseException:
        listener.close()
        raise
    return listener


class Listener:
    """A bound control socket, removed when it is closed.

    Attributes:
        socket: listening, not blocking.
        path: of the socket.
        directory: device and inode of the run directory.
    """

    def __init__(self, place: _Folder, directory: tuple[int, int]) -> None:
        self._place = place
        self.directory = directory
        self.path = place.path / _NAME
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            place.remove_socket()
            self.socket.bind(str(self.path))
            self._own = place.look_up()
            self.path.chmod(0o600)
            self.socket.listen(512)
            self.socket.setblocking(False)
        except BaseException:
            self.socket.close()
            place.remove_if_made()
            place.close()
            raise

    def close(self) -> None:
        """Stop listening; a moved directory loses its socket as well."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if os.path.samestat(self._place.look_up(), self._own):
                self._place.remove_socket()
                self._place.remove_if_made()
        self._place.close()


# ── The client's end ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Expected:
    """Facts expected in the greeting of a run's process.

    Attributes:
        name: of the run, for messages.
        pid: with the lock of the run directory, in the holder's own numbering.
        directory: device and inode of the run directory.
        certain: the kernel has told that this process listens.
    """

    name: str
    pid: int
    directory: tuple[int, int]
    certain: bool

    def check(self, hello: Hello) -> None:
        """Compare a greeting.

        Raises:
            UsageError: it is another run's.
        """
        if hello.pid != self.pid:
            raise _distrust(self.name, f"pid {hello.pid} answers, but pid {self.pid} has the lock of the run")
        if hello.directory != self.directory and not (self.certain and hello.directory is None):
            raise _distrust(self.name, "the process that answers serves another directory")


def connect(run_dir: RunDirectory, holder: int, timeout: float) -> tuple[socket.socket, Expected]:
    """Connect to the control socket of a run and identify the listener.

    Nothing is sent or read.

    Args:
        holder: pid with the lock of the run directory.
        timeout: seconds, for this and all later operations of the connection.

    Raises:
        OSError: nobody listens.
        UsageError: somebody else than the run's process listens, or might.
    """
    name = run_dir.path.name
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        with _Folder(run_dir.path) as own:
            with contextlib.nullcontext(own) if own.has_socket else _recorded_folder(run_dir, own) as place:
                place.check(name)
                with place.reached() as path:
                    connection.connect(path)
            certain = _check_peer(connection, name, holder)
            return connection, Expected(name, holder, own.identity, certain)
    except BaseException:
        connection.close()
        raise


def _recorded_folder(run_dir: RunDirectory, own: _Folder) -> _Folder:
    """Open the private directory named in ``run.json``, if it is this run's.

    Raises:
        OSError: there is none.
    """
    path = run_dir.read().get("socket")
    if isinstance(path, str) and os.path.isabs(path) and len(path) <= MAX_PATH_BYTES and "\0" not in path:
        folder, name = os.path.split(path)
        if name == _NAME and os.path.basename(folder).startswith(_prefix(own)):
            return _Folder(Path(folder), made=True)
    raise FileNotFoundError(errno.ENOENT, "it has no control socket")


def _check_peer(connection: socket.socket, name: str, holder: int) -> bool:
    """Compare the listening process with this user and the lock's holder.

    Returns:
        Whether the kernel knows the process. It does not where that runs in another pid namespace, as in a container,
        and on some systems; then the greeting must do.

    Raises:
        UsageError: they differ.
    """
    pid, uid = peer_credentials(connection)
    if uid is not None and uid != os.geteuid():
        raise _distrust(name, f"a process of user {uid} listens, you are user {os.geteuid()}")
    if pid and holder not in (pid, pid_in_own_namespace(pid)):
        raise _distrust(name, f"pid {pid} listens, but pid {holder} has the lock of the run")
    return pid != 0


def _distrust(name: str, why: str, hint: str = "") -> UsageError:
    return UsageError(
        f"{name}: its control socket is not to be trusted: {why}. Nothing was sent to it.",
        hint=hint or "the run, if it is yours, continues; stop it by its pid and resume it for a new socket",
    )


# ── Directories ─────────────────────────────────────────────────────────────────────────────────────────────


class _Folder(Directory):
    """The directory of a socket.

    Args:
        made: for a socket alone, so that it is never behind a link and goes with the socket.

    Raises:
        OSError: there is no such directory.
    """

    def __init__(self, path: Path, *, made: bool = False) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if made else 0)
        super().__init__(os.open(path, flags), path)
        self._made = made

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        facts = os.fstat(self.descriptor)
        return facts.st_dev, facts.st_ino

    @property
    def is_private(self) -> bool:
        """Whether it belongs to this user, and nobody else may enter it."""
        facts = os.fstat(self.descriptor)
        return facts.st_uid == os.geteuid() and not facts.st_mode & 0o077

    @property
    def has_socket(self) -> bool:
        with contextlib.suppress(OSError):
            return stat.S_ISSOCK(self.look_up().st_mode)
        return False

    @property
    def has_room(self) -> bool:
        """Whether nothing but an earlier socket has the socket's name."""
        try:
            return stat.S_ISSOCK(self.look_up().st_mode)
        except FileNotFoundError:
            return True

    def look_up(self) -> os.stat_result:
        """Facts of the socket, or of anything by its name."""
        return os.stat(_NAME, dir_fd=self.descriptor, follow_symlinks=False)

    def check(self, name: str) -> None:
        """Check the owner and mode of the directory and the socket.

        Raises:
            UsageError: somebody else can have made the socket.
            OSError: there is nothing by its name.
        """
        facts, mine = os.fstat(self.descriptor), os.geteuid()
        if facts.st_uid != mine:
            raise _distrust(name, f"it lies in {self.path}, which belongs to user {facts.st_uid}; you are user {mine}")
        if facts.st_mode & 0o022:
            raise _distrust(
                name, f"it lies in {self.path}, where other users may write", f"chmod go-w {self.path}, and try again"
            )
        found = self.look_up()
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != mine:
            raise _distrust(name, f"{self.path / _NAME} is not a socket of yours")

    @contextlib.contextmanager
    def reached(self) -> Iterator[str]:
        """A path of the socket, through this descriptor if possible.

        One that is too long for a socket leads through a short link, while the context lasts.
        """
        here = self.for_libraries
        if len(os.fsencode(here / _NAME)) <= MAX_PATH_BYTES:
            yield str(here / _NAME)
            return
        with tempfile.TemporaryDirectory(prefix="ppo-tui-", dir="/tmp") as directory:
            os.symlink(here.absolute(), f"{directory}/run")
            yield f"{directory}/run/{_NAME}"

    def remove_socket(self) -> None:
        """Remove the socket; anything else by its name stays."""
        if self.has_socket:
            os.unlink(_NAME, dir_fd=self.descriptor)

    def remove_if_made(self) -> None:
        """Remove the directory if made for the socket, and empty."""
        with contextlib.suppress(OSError):
            if self._made and os.path.samestat(self.path.lstat(), os.fstat(self.descriptor)):
                self.path.rmdir()


def _prefix(own: _Folder) -> str:
    """Beginning of the names of a run's private directories."""
    device, inode = own.identity
    return f"ppo-tui-{device:x}-{inode:x}-"


def _parents() -> Iterator[str]:
    """Directories for private ones, those with short paths first."""
    wanted = (os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", tempfile.gettempdir())
    yield from dict.fromkeys(parent for parent in wanted if os.path.isabs(parent))


def _make_folder(prefix: str) -> _Folder:
    """Make a directory of mode 0700 with a short path.

    Raises:
        OSError: none can be made.
    """
    problem: OSError = FileNotFoundError(errno.ENOENT, "no temporary directory")
    for parent in _parents():
        if len(os.fsencode(f"{parent}/{prefix}12345678/{_NAME}")) <= MAX_PATH_BYTES:
            try:
                return _Folder(Path(tempfile.mkdtemp(prefix=prefix, dir=parent)), made=True)
            except OSError as error:
                problem = error
    raise problem


def _remove_left(prefix: str) -> None:
    """Remove the private directories of a killed process of this run.

    One that is answered stays: its process lives, and so is none of a run whose lock this process has.
    """
    for parent in _parents():
        with contextlib.suppress(OSError), os.scandir(parent) as entries:
            for path in [Path(entry.path) for entry in entries if entry.name.startswith(prefix)]:
                with contextlib.suppress(OSError), _Folder(path, made=True) as folder:
                    if folder.is_private and not _is_answered(folder):
                        folder.remove_socket()
                        folder.remove_if_made()


def _is_answered(folder: _Folder) -> bool:
    """Whether somebody listens on the socket, if there is one."""
    if not folder.has_socket:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, folder.reached() as path:
        probe.setblocking(False)
        return probe.connect_ex(path) != errno.ECONNREFUSED
