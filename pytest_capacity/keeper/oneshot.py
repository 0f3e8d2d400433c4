"""What a run would try, whose credentials these are, who uses what: read by a process that does this and ends.

The SDKs never load in pytest, hence a process. It is no keeper: it begins no run, joins no session, and makes no call
that changes anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.errors import CapacityError, KeeperError
from pytest_capacity.keeper.client import expect
from pytest_capacity.keeper.places import Places
from pytest_capacity.keeper.protocol import Answer, Failed
from pytest_capacity.keeper.spawn import SpawnOptions, command_of, environment, last_lines
from pytest_capacity.model import Request
from pytest_capacity.preview import Plan
from pytest_capacity.usage import Usage, UseFilter

T = TypeVar("T")

#: How long a plan may take: an emulator that starts, and reads that are throttled. Seconds.
PATIENCE: Final = 120.0

#: The exit status of a process whose answer is a refusal.
_REFUSED: Final = 3

#: How long the cloud may take to say whose credentials these are. Seconds.
_PATIENCE_WHOAMI: Final = 30.0


class Asked(Struct, frozen=True):
    """What the process reads. ``log`` is where its standard error goes; ``scenario`` is the emulator's file.

    Without a ``journal`` only the account is asked for; with ``wanted``, who uses what.
    """

    request: Request
    journal: str | None = None
    scenario: str | None = None
    wanted: UseFilter | None = None
    log: str = ""


def plan(request: Request, options: SpawnOptions) -> Plan:
    """Return what a run of this request would try. With ``emulated`` an emulator is started for it, which ends with it.

    Raises what the reads raise (`Refused`, `ConfigError`), and `KeeperError` where the process fails.
    """
    asked = Asked(request, Places.of(request.run, request.journal).journal, options.scenario)
    return _ask(Plan, "what a run would try", asked, options.python)


def uses(request: Request, options: SpawnOptions, wanted: UseFilter) -> Usage:
    """Return who uses what of the cloud of ``request``, in its regions.

    Raises `ConfigError`, and `KeeperError` where the process fails; what the cloud did not say is in the answer.
    """
    asked = Asked(request, Places.of("", request.journal).journal, wanted=wanted)
    return _ask(Usage, "who uses what", asked, options.python)


def whoami(request: Request, python: str | None) -> str:
    """Return the account of this process's credentials. Raises `KeeperError` with the cloud's words.

    Only where a session is joined with other credentials than it began with, and their account must be known.
    """
    return _ask(str, "whose credentials these are", Asked(request), python, _PATIENCE_WHOAMI)


def _ask(answer: type[T], what: str, asked: Asked, python: str | None, patience: float = PATIENCE) -> T:
    with tempfile.NamedTemporaryFile(prefix="pytest-capacity-oneshot-", suffix=".log") as log:
        try:
            done = subprocess.run(
                command_of("keeper.oneshot", python),
                check=False,
                cwd="/",
                env=environment(os.environ),
                input=msgspec.json.encode(replace(asked, log=log.name)),
                stdout=subprocess.PIPE,
                stderr=log,
                timeout=patience,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KeeperError(f"{what} could not be asked: {error}. See --capacity-keeper-python") from error
        said = last_lines(log.name, 1)
    try:
        if done.returncode == _REFUSED:
            expect(msgspec.json.decode(done.stdout, type=Failed), Answer)
        return msgspec.json.decode(done.stdout, type=answer)
    except msgspec.DecodeError:
        raise KeeperError(
            f"{what} could not be read: the process ended with {done.returncode}: {said or 'no words'}. "
            "--capacity-keeper-python names its interpreter, which must have this pytest-capacity"
        ) from None


def main() -> int:
    """Read what is asked, read the cloud, print the answer, or what was refused, which the exit status says."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    answer: Plan | Usage | str | Failed
    try:
        if asked.journal is None:
            answer = _identify(asked.request)
        elif asked.wanted is not None:
            answer = _uses(asked.request, asked.journal, asked.wanted)
        else:
            answer = _plan(asked, asked.journal)
    except CapacityError as error:
        from pytest_capacity.backends.wording import wording

        answer = Failed(error=type(error).__name__, message=wording(asked.request)(str(error)))
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return _REFUSED if isinstance(answer, Failed) else 0


def _identify(request: Request) -> str:
    from pytest_capacity.backends import open_backend

    backend = open_backend(request)
    try:
        return backend.whoami().account
    except Exception as error:
        found = backend.diagnose(error)  # Whatever the SDK raises: the backend reads it.
        raise KeeperError(
            f"session {request.session!r}: the cloud does not know these credentials: {found.code}: {found.words}"
        ) from error


def _uses(request: Request, journal: str, wanted: UseFilter) -> Usage:
    from pytest_capacity.backends import open_backend
    from pytest_capacity.engine.usage import open_runs, read_usage
    from pytest_capacity.journal import ReadJournal

    runs: list[str] = []
    if Path(journal).exists():
        with closing(ReadJournal(Path(journal))) as read:
            runs = open_runs(read, request.backend)
    return read_usage(open_backend(request), request.regions, runs, wanted)


def _plan(asked: Asked, journal: str) -> Plan:
    from pytest_capacity.backends import open_backend
    from pytest_capacity.engine.clock import SystemClock
    from pytest_capacity.engine.dry_run import make_plan
    from pytest_capacity.journal import PassingJournal
    from pytest_capacity.keeper import emulated

    request = asked.request
    if request.emulated:
        emulated.isolate()
    if request.emulated and request.endpoint is None:
        request = replace(request, endpoint=emulated.start(os.getpid(), asked.scenario, asked.log).url)
    with closing(PassingJournal(Path(journal))) as read:
        which = emulated.identify(request.endpoint)
        return make_plan(request, open_backend(request), read, SystemClock(), which)


if __name__ == "__main__":
    sys.exit(main())
