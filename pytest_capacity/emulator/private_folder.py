"""The folder of one emulator: private, and gone with it, however it ends.

A process that is killed removes nothing. So a shell waits for its end and removes the folder then; and what even that
one could not (both were killed, or the machine was) is removed by a later emulator of the same user.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import subprocess
import tempfile
from itertools import islice
from pathlib import Path
from typing import Final

_PREFIX: Final = "pytest-capacity-emulator-"
_NAME: Final = re.compile(rf"{_PREFIX}(\d+)-\w+")
#: Held by the emulator as long as it lives, also where its process id means nothing: in another container.
_LOCK: Final = "lock"
#: Folders that one emulator looks at when it starts. It is not to be late for what others left.
_MOST: Final = 200

#: Waits for the end of a pipe that the emulator alone holds open.
_WATCHDOG: Final = 'read -r _; rm -rf "$1"'

#: What this process holds open until its end.
_kept: Final[list[object]] = []


def private_folder() -> Path:
    """Return a new folder that only this user may look into. Removes those of emulators that are gone."""
    remove_left()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    watchdog = subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, "watchdog", os.fspath(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        # Ctrl-C is for the emulator.
        start_new_session=True,
    )
    _kept.extend((lock, watchdog))
    return folder


def remove_left() -> None:
    """Remove folders that killed emulators left: the emulator's by name and owner, process gone, not locked."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        named = ((entry, found) for entry in entries if (found := _NAME.fullmatch(entry.name)))
        for entry, found in islice(named, _MOST):
            if _is_gone(int(found[1])):
                _remove(Path(entry.path))


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            return
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
