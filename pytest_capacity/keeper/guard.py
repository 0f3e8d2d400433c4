"""The guard of a kept session: while no owner is there to see its keeper die, a small process is.

It waits for the end of the keeper. Where the session's record is still there, the guard starts another keeper, which
adopts what is kept from the journal. A keeper that begins to end removes the record; where it died before the end, the
guard starts one that releases the rest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from pytest_capacity.errors import CapacityError, KeeperError, Silent
from pytest_capacity.keeper import places
from pytest_capacity.keeper.liveness import Watch
from pytest_capacity.keeper.sessions import LIVES, Session
from pytest_capacity.keeper.spawn import (
    KeeperArgs,
    as_text,
    collect_garbage,
    command_of,
    detached,
    read_keeper_args,
    spawn,
)

#: How long a keeper that took over may take to say that it is there. Seconds.
_PATIENCE: Final = 15.0


class Guard:
    """The keeper's side: one guard at a time."""

    def __init__(self, post: KeeperArgs) -> None:
        self._post = post
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start a guard of this process, unless there is one."""
        if self._post.session and (self._process is None or self._process.poll() is not None):
            command = [*command_of("keeper.guard"), f"--keeper={os.getpid()}", f"--post={as_text(self._post)}"]
            self._process = detached(command, self._post)


def main(argv: Sequence[str] | None = None) -> int:
    """Watch until the session's keeper has ended by itself, or another process has taken over."""
    parser = argparse.ArgumentParser(prog="pytest-capacity-guard")
    parser.add_argument("--keeper", type=int, required=True)
    parser.add_argument("--post", type=read_keeper_args, required=True)
    options = parser.parse_args(argv)
    keeper, post = options.keeper, options.post
    collect_garbage()
    while True:
        _await_end(keeper)
        successor = _take_over(post, keeper)
        if successor is None:
            return 0
        keeper = successor.pid


def _await_end(pid: int) -> None:
    ended = threading.Event()
    Watch(pid, ended.set)
    ended.wait()


def _take_over(post: KeeperArgs, dead: int) -> subprocess.Popen[bytes] | None:
    """Start another keeper, if the dead one is still the session's."""
    assert post.session is not None
    session = Session(post.session)
    with session.elected():
        record = session.read()
        if record is None or record.run != post.run:
            _finish_release(post)
            return None
        if record.pid != dead:
            return None
        try:
            path = places.same_socket(record.socket)
            post = replace(post, socket=path, parent=os.getpid(), deaths=record.deaths + 1, adopt=True)
            keeper = spawn(post)
        except KeeperError as error:
            print(f"guard of session {post.session}: {error}", file=sys.stderr)
            return None
        session.write(post.record(keeper.pid))
        return keeper


def _finish_release(post: KeeperArgs) -> None:
    """Start a keeper that releases what the dead one did not come to, unless another process has."""
    # Only now: while it waits, a guard is to be small.
    from pytest_capacity.journal import ReadJournal
    from pytest_capacity.keeper.client import Connection

    try:
        with closing(ReadJournal(Path(post.places.journal))) as reader:
            if all(begun.run != post.run for begun in reader.runs()):
                return
        try:
            Connection(post.socket, "visitor", f"guard-{os.getpid()}", patience=_PATIENCE).close()
        except Silent:
            return
        except KeeperError:
            path = places.same_socket(post.socket)
            spawn(replace(post, socket=path, parent=os.getpid(), session=None, deaths=LIVES, adopt=True))
    except CapacityError as error:
        print(f"guard of session {post.session}: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
