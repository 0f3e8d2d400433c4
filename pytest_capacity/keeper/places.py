"""Where a run's files stand: journal, log and lock in the user's state directory, the socket on a short path.

The state directory is 0700 and so is the socket's. An AF_UNIX path ends at 107 bytes on Linux and 103 on macOS, and
pytest's own temporary directories are longer than that often enough.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

import platformdirs
from msgspec import Struct

from pytest_capacity.errors import KeeperError

#: What fits everywhere.
MAX_SOCKET_PATH: Final = 100

#: With what the name of a socket's directory begins.
_SOCKET_DIR: Final = "pc-"

#: Logs and locks of runs that are older are removed when another run starts. Seconds.
KEEP: Final = 30 * 86400.0


class Places(Struct, frozen=True):
    """The files of one run. Strings, since they travel on a command line."""

    journal: str
    log: str
    lock: str

    @staticmethod
    def of(run: str, journal: str | None) -> Places:
        """Name the files and make their directories as far as that works; what does not is reported on first use."""
        state = state_dir()
        return Places(
            journal=str(Path(journal).absolute()) if journal else str(state / "journal.sqlite"),
            log=str(_made(state / "logs") / f"{run}.log"),
            lock=str(_made(state / "runs") / f"{run}.lock"),
        )


def sessions_dir() -> Path:
    """Return the directory of the sessions' files, made. Raises `OSError` where that does not work."""
    return _made(state_dir() / "sessions")


def state_dir() -> Path:
    """Return the user's state directory for this plugin; a temporary one where home is missing or read-only."""
    try:
        home = platformdirs.user_state_path("pytest-capacity")
    except RuntimeError:
        home = Path()
    # Relative: no HOME, and a user without an entry in the password file.
    if home.is_absolute() and _usable(home):
        return home
    spare = Path(tempfile.gettempdir()) / f"pytest-capacity-{os.getuid()}"
    return spare if _usable(spare) else Path(tempfile.mkdtemp(prefix="pytest-capacity-"))


def _usable(path: Path) -> bool:
    """Return whether ``path`` is, or could be made, a directory of ours that no other user may write to."""
    try:
        return _is_ours(_made(path), 0o022) and os.access(path, os.W_OK)
    except OSError:
        return False


def _is_ours(path: Path, barred: int) -> bool:
    """Return whether ``path`` is a directory of ours, and no link, on which others have none of the rights barred."""
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & barred


def prune(places: Places, now: float) -> None:
    """Remove the logs, locks and keys of runs that are long over; never a lock that is held, never the journal."""
    for path in [*Path(places.log).parent.glob("*.log"), *Path(places.lock).parent.glob("*.lock")]:
        # Another run may be doing this too.
        with contextlib.suppress(OSError):
            if now - path.lstat().st_mtime > KEEP:
                (_remove_lock if path.suffix == ".lock" else Path.unlink)(path)


def _remove_lock(path: Path) -> None:
    """Remove a lock unless a keeper has it: it has taken the kernel's lock (`flock`), which ends with its process."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for other in key_files(path):  # Of a run at whose end something was left, or that was killed.
            Path(other).unlink(missing_ok=True)
        path.unlink()
    finally:
        os.close(descriptor)


def key_files(lock: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the files of a run's private key and of the host keys that it has seen."""
    stem = os.fspath(lock).removesuffix(".lock")
    return f"{stem}.key", f"{stem}.known_hosts"


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def new_socket() -> str:
    """Return a path, short enough for a socket, in a new private directory. Raises `KeeperError`."""
    for parent in (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", "/var/tmp"):
        if parent and len(os.fsencode(parent)) + 20 <= MAX_SOCKET_PATH:
            with contextlib.suppress(OSError):
                return f"{tempfile.mkdtemp(prefix=_SOCKET_DIR, dir=parent)}/keeper"
    raise KeeperError("no directory can be made for the keeper's socket: set TMPDIR to a writable one, short")


def same_socket(path: str) -> str:
    """Return the path of a dead keeper's socket, its directory made again: borrowers look for the next keeper there.

    Raises `KeeperError` where another user has made one in its place.
    """
    directory = Path(path).parent
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        ours = _is_ours(directory, 0o077)
    except OSError as error:
        raise KeeperError(f"the keeper's socket {path} cannot be made again: {error}") from error
    if not ours:
        raise KeeperError(f"{directory}, where the keeper's socket was, is not ours alone any more. Remove it")
    return path


def remove_socket(path: str) -> None:
    """Remove a socket with its directory; that it is gone already is fine.

    Only what `new_socket` makes: an absolute path with its prefix, ours alone, holding nothing but sockets. All else
    is left as it is, whatever the path says: that of an empty one would be the working directory.
    """
    directory = Path(path).parent
    if not directory.is_absolute() or not directory.name.startswith(_SOCKET_DIR):
        return
    with contextlib.suppress(OSError):
        if not _is_ours(directory, 0o077):
            return
        for entry in list(directory.iterdir()):
            if stat.S_ISSOCK(entry.lstat().st_mode):
                entry.unlink()
        directory.rmdir()
