"""What a run would try: asked by a process of its own, since the SDKs never load in pytest.

It is no keeper: it begins no run, joins no session, and makes no call that changes anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

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

#: How long all of it may take: an emulator that starts, and reads that are throttled. Seconds.
PATIENCE: Final = 120.0


class Asked(Struct, frozen=True):
    """What the process is told. ``log`` is where its standard error goes; ``scenario`` is the emulator's file."""

    request: Request
    journal: str
    log: str
    scenario: str | None = None


class Planned(Answer, frozen=True, tag="planned"):
    """What it says."""

    plan: Plan


def plan(request: Request, options: SpawnOptions) -> Plan:
    """What a run of this request would try. With ``emulated`` an emulator is started for it, which ends with it.

    Raises what the reads raise (`Refused`, `ConfigError`), and `KeeperError` where the process fails.
    """
    with tempfile.NamedTemporaryFile(prefix="pytest-capacity-plan-", suffix=".log") as log:
        asked = Asked(request, Places.of(request.run, request.journal).journal, log.name, options.scenario)
        try:
            done = subprocess.run(
                command_of("keeper.oneshot", options.python),
                check=False,
                cwd="/",
                env=environment(os.environ),
                input=msgspec.json.encode(asked),
                stdout=subprocess.PIPE,
                stderr=log,
                timeout=PATIENCE,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KeeperError(
                f"what a run would try could not be asked: {error}. See --capacity-keeper-python"
            ) from error
        said = last_lines(log.name, 1)
    try:
        answer = msgspec.json.decode(done.stdout, type=Planned | Failed)
    except msgspec.DecodeError:
        raise KeeperError(
            f"what a run would try could not be read: the process ended with {done.returncode}: {said or 'no words'}. "
            "--capacity-keeper-python names its interpreter, which must have this pytest-capacity"
        ) from None
    return expect(answer, Planned).plan


def main() -> int:
    """Read what is asked, read the cloud, print the answer."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    answer: Planned | Failed
    try:
        answer = Planned(plan=_read(asked))
    except CapacityError as error:
        answer = Failed(error=type(error).__name__, message=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


def _read(asked: Asked) -> Plan:
    from pytest_capacity.backends import open_backend
    from pytest_capacity.engine.clock import SystemClock
    from pytest_capacity.engine.dry_run import make_plan
    from pytest_capacity.journal import PassingJournal
    from pytest_capacity.keeper import emulated

    request = asked.request
    if request.emulated and request.endpoint is None:
        request = replace(request, endpoint=emulated.start(os.getpid(), asked.scenario, asked.log))
    journal = PassingJournal(Path(asked.journal))
    try:
        return make_plan(request, open_backend(request), journal, SystemClock())
    finally:
        journal.close()


if __name__ == "__main__":
    sys.exit(main())
