"""``pytest-capacity release RUN``: have everything given back now, and show the receipt."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import Final

from msgspec.structs import replace

from pytest_capacity.cli.console import complain, say, tell
from pytest_capacity.cli.runs import Run, Seen, absence, expect_description, find, is_taken, look, visit
from pytest_capacity.errors import CapacityError, InUse, KeeperError
from pytest_capacity.keeper import places, protocol
from pytest_capacity.keeper.client import Connection
from pytest_capacity.keeper.sessions import LIVES, Session
from pytest_capacity.keeper.spawn import KeeperArgs, last_lines, spawn
from pytest_capacity.model import Receipt
from pytest_capacity.report.render import receipt_lines

#: How long a keeper that is ending anyway is waited for, beyond the time that a release may take. Seconds.
_PATIENCE: Final = 30.0

#: How often one looks whether it has ended. Seconds.
_LOOK: Final = 0.1


def main(options: argparse.Namespace) -> int:
    """Release; return 0 where nothing is left. Raise `InUse` where it is in use and its release is not confirmed."""
    seen = look(find(options.run, options.journal))
    try:
        if seen.state == "over":
            tell([absence(seen)])
            return 0
        if seen.state == "abandoned":
            return _show(_adopt(seen.run), seen)
        if seen.state == "ending":
            return _await_end(seen)
        expect_description(seen)
        return _show(_order(seen.run, force=options.force), seen)
    except KeyboardInterrupt:
        complain("release", f"not waited for; the keeper goes on releasing. Its log: {seen.run.log}")
        raise


def _order(run: Run, *, force: bool) -> Receipt:
    """Tell the keeper, and wait."""
    with closing(visit(run)) as connection:
        try:
            return _release(connection, run, force=force)
        except InUse as error:
            if not _agreed(str(error)):
                raise
        return _release(connection, run, force=True)


def _agreed(words: str) -> bool:
    """Return whether the user confirms it at a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    say(words)
    print("Release it now, under their hands? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _release(connection: Connection, run: Run, *, force: bool) -> Receipt:
    say(f"releasing {run.name} (keeper {connection.welcome.pid}, log {connection.welcome.log})")
    return connection.call(protocol.Release(now=True, force=force), protocol.Settled).receipt


def _show(receipt: Receipt, seen: Seen) -> int:
    emulated = bool(seen.request.get("emulated"))
    tell(line.text for line in receipt_lines(receipt, emulated=emulated))
    if not receipt.clean:
        say(f"its keeper goes on releasing; its log: {seen.run.log}")
    return 0 if receipt.clean else 1


def _adopt(run: Run) -> Receipt:
    """Start a keeper that takes over what a dead one held, and gives it back."""
    session = Session(run.record_name) if run.record_name else None
    with session.elected() if session else nullcontext():
        record = session.read() if session else None
        if record != run.record:
            raise KeeperError(f"session {run.session}: another process has just taken it over. Look again: ls")
        path = places.same_socket(run.socket) if run.socket else places.new_socket()
        post = KeeperArgs(
            run=run.id,
            places=replace(run.places, log=run.log),
            socket=path,
            parent=os.getpid(),
            session=run.record_name,
            deaths=LIVES,
            adopt=True,
        )
        keeper = spawn(post)
        if session:
            session.write(post.record(keeper.pid))
    try:
        with closing(Connection(path, "visitor", f"pytest-capacity {os.getpid()}")) as connection:
            return _release(connection, run, force=True)
    except KeeperError as error:
        raise KeeperError(f"{error}. The keeper's log {run.log} ends:\n{last_lines(run.log)}") from error
    finally:
        if keeper.poll() is None:
            keeper.returncode = 0  # It goes on by itself, and is not our child to wait for any more.
        places.remove_socket(path)


def _await_end(seen: Seen) -> int:
    """Wait for a run that is being released, whose keeper takes no visitors: the journal has the outcome."""
    run = seen.run
    say(f"{run.name} is being released already (keeper {run.pid}, log {run.log}): waiting")
    longest = float(seen.request.get("release_timeout_s") or 0) + _PATIENCE
    if not _wait(lambda: not is_taken(run.places.lock), longest):
        raise CapacityError(f"run {run.id} has not ended within {longest:g} s. Follow it: logs -f {run.id}")
    after = look(find(run.id, run.places.journal))
    if after.state != "over":
        raise CapacityError(absence(after))
    tell([absence(after)])
    return 0


def _wait(over: Callable[[], bool], seconds: float) -> bool:
    """Return whether it was over in time."""
    end = time.monotonic() + seconds
    while not over():
        if time.monotonic() > end:
            return False
        time.sleep(_LOOK)
    return True
