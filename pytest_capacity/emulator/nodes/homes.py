"""The nodes' directories, and the end of everything that was started in them.

All of them lie below one directory of the emulator's, which a watchdog removes, with the processes, when the emulator
has ended in a way that let it do nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

#: In the environment of all that runs on a node: its directory.
MARK: Final = "EMULATED_NODE"

#: Waits for the end of a pipe that the emulator alone holds open. What a node's commands started bears their mark
#: (which can be read on Linux), and each command is a process group of its own, written down in `groups`.
_WATCHDOG: Final = """
read -r _
[ -d "$1" ] || exit 0
for group in "$1"/*/.emulator/groups/*; do
  [ -e "$group" ] && kill -9 -"${group##*/}"
done
for environ in $(grep -ls "EMULATED_NODE=$1/" /proc/[0-9]*/environ); do
  process=${environ%/environ}
  kill -9 "${process#/proc/}"
done
rm -rf "$1"
"""


class Homes:
    """The directory of all nodes' directories, from the first node to the emulator's end."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="pytest-capacity-nodes-")).resolve()
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(self.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            # Ctrl-C is for the emulator, which then tells the watchdog by its end.
            start_new_session=True,
        )

    def remove(self) -> None:
        """Remove it all; the watchdog then has nothing left to do."""
        shutil.rmtree(self.root, ignore_errors=True)


class Home:
    """One node's directory: its commands' HOME, with their `bin` first in the PATH."""

    def __init__(self, path: Path) -> None:
        self.path = path
        own = path / ".emulator"
        self.groups = own / "groups"
        #: A named pipe, by which the node's commands speak to the emulator.
        self.door = own / "door"
        #: The status that cloud-init tells.
        self.cloud_init = own / "cloud-init"
        self.console = path / "console"
        self.user_data = path / "user-data"
        self.bin = path / "bin"
        self.tmp = path / "tmp"
        self._orphaned: set[int] = set()

    def make(self, user_data: bytes) -> None:
        """Make it, readable for its user only."""
        for folder in (self.path, self.groups.parent, self.groups, self.bin, self.tmp):
            folder.mkdir(mode=0o700)
        os.mkfifo(self.door, 0o600)
        self.cloud_init.write_text("running\n", encoding="ascii")
        self.user_data.write_bytes(user_data)
        self.console.touch()

    def remove(self) -> None:
        """Remove it. A process that was just killed may still make files: twice, then."""
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def command_ended(self, group: int) -> None:
        """Free the number of a command that has ended. What it left behind in its group runs until the node ends."""
        self._orphaned.add(group)
        self._forget_ended(group)

    def running(self) -> list[int]:
        """Return the process groups of commands, as far as something of them is left."""
        groups = [int(path.name) for path in self.groups.glob("*")]
        for group in groups:
            self._forget_ended(group)
        return [int(path.name) for path in self.groups.glob("*")]

    def _forget_ended(self, group: int) -> None:
        # While one of ours is in the group its number is not given again: a process that bears it is another one.
        if group in self._orphaned and (_exists(group, os.kill) or not _exists(group, os.killpg)):
            self._orphaned.discard(group)
            (self.groups / str(group)).unlink(missing_ok=True)


def end_processes(homes: Iterable[Home]) -> None:
    """Kill all that runs on these nodes: their commands' process groups, and, on Linux, what left those."""
    homes = list(homes)
    for home in homes:
        for group in home.running():
            kill_group(group)
    marks = tuple(f"{MARK}={home.path}".encode() for home in homes)
    if marks:
        for path in Path("/proc").glob("[0-9]*/environ"):
            _kill_marked(int(path.parent.name), path, marks)


def kill_group(group: int, number: int = signal.SIGKILL) -> None:
    """Signal all processes of a group; one that has ended is left alone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _exists(number: int, ask: Callable[[int, int], None]) -> bool:
    try:
        ask(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Another user's, or, on macOS, a group of zombies.
        return ask is os.kill
    return True


def _kill_marked(process: int, environ: Path, marks: tuple[bytes, ...]) -> None:
    try:
        fd = os.pidfd_open(process)
    except OSError:
        return
    try:
        # Read after the process is held: its number cannot be another's now.
        if any(mark in environ.read_bytes().split(b"\0") for mark in marks):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except OSError:
        # Another user's, or gone.
        pass
    finally:
        os.close(fd)
