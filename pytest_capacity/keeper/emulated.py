"""The embedded emulator: a process beside the keeper, for runs without any cloud."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from pytest_capacity.backends import environment_prefixes, missing_extra
from pytest_capacity.backends.emulator_secret import SECRET_FILE, emulator_secret
from pytest_capacity.config.near import is_loopback
from pytest_capacity.engine.reach import Located
from pytest_capacity.errors import ConfigError
from pytest_capacity.keeper.spawn import last_lines

_BOOT: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from pytest_capacity.emulator.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


class Started(msgspec.Struct, frozen=True):
    """What an emulator says of itself once it listens."""

    url: str
    secret_file: str


def start(owner: int, scenario: str | None, log: str) -> Started:
    """Start an emulator that outlives us but not ``owner`` (a pid) by much, and let this process use it.

    ``log`` is where our standard error goes, and so the emulator's. Raises `ConfigError` with what it wrote there.
    """
    command = [sys.executable, "-I", "-c", _BOOT, str(Path(__file__).resolve().parents[2])]
    command += [f"--owner={owner}", *([f"--scenario={scenario}"] if scenario else [])]
    # What an SDK would read there (credentials, endpoints, profiles) is no business of an emulator.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(environment_prefixes())}
    process = subprocess.Popen(
        command, cwd="/", env=kept, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
    try:
        started = msgspec.json.decode(line, type=Started)
    except msgspec.DecodeError:
        process.kill()  # It says nothing more, whatever it does.
        process.wait()
        advice = missing_extra("emulator") or ("Correct the scenario" if scenario else "Report it")
        raise ConfigError(
            [f"--capacity-emulator: it did not start: {last_lines(log, 1).rstrip('.')}.", f"{advice}. Its log: {log}"]
        ) from None
    use(started.secret_file)
    return started


def use(file: str) -> None:
    """Let this process use the emulator whose secret is in ``file``; an older journal names none."""
    if file:
        os.environ[SECRET_FILE] = file


def own(url: str, pid: int) -> None:
    """Have a running emulator live on with process ``pid``; one that is gone is not missed before it is asked."""
    with contextlib.suppress(OSError, HTTPException):
        _ask(url, "/_world", msgspec.json.encode({"owner": pid}))


def locator(endpoint: str | None) -> Callable[[], Located] | None:
    """Return how to ask where emulated nodes listen, if ``endpoint`` is on this machine and so may be an emulator's."""
    if endpoint is None or not _may_be_emulator(endpoint):
        return None

    def locate() -> Located:
        try:
            places = msgspec.json.decode(_ask(endpoint, "/_world/ssh"), type=dict[str, _Place])
        except (OSError, HTTPException, msgspec.DecodeError):
            return {}  # Another emulation of a cloud: its nodes are where it says.
        return {node: (place.address, place.port) for node, place in places.items()}

    return locate


def identify(endpoint: str | None) -> Callable[[], str]:
    """Return how to ask which emulator listens at ``endpoint``; "" where it is none.

    One that is started on the port of an earlier one is another cloud, whose zones have not run dry.
    """

    @cache
    def ask() -> str:
        if endpoint is None or not _may_be_emulator(endpoint):
            return ""
        try:
            return msgspec.json.decode(_ask(endpoint, "/_world?calls=0"), type=_World).emulator
        except (OSError, HTTPException, ConfigError, msgspec.DecodeError):
            return ""  # Another emulation of a cloud, or one that is gone.

    return ask


def isolate() -> None:
    """Take every cloud's variables from this process: nothing of the user's accounts reaches an emulated run.

    So no advice of this process is about them either.
    """
    from pytest_capacity.backends.diagnosis import advise  # Only a keeper needs the tables.

    advise(
        "auth", f"An emulator refuses what its scenario says (faults), and clients without its secret ({SECRET_FILE})"
    )
    for name in [name for name in os.environ if name.startswith(environment_prefixes())]:
        del os.environ[name]


def _may_be_emulator(url: str) -> bool:
    return url.startswith("http:") and is_loopback(url)


class _World(msgspec.Struct):
    emulator: str = ""


class _Place(msgspec.Struct):
    address: str
    port: int | None = None


def _ask(url: str, path: str, body: bytes | None = None) -> bytes:
    """Return what the emulator answers; nothing where it refuses.

    No proxy stands between us and this machine; and what urllib.request makes for a call, a TLS context with the
    system's certificates, takes longer than the call.
    """
    headers = {"Content-Type": "application/json"}
    with contextlib.suppress(OSError):
        if secret := emulator_secret():
            headers["Authorization"] = f"Bearer {secret}"
    parts = urlsplit(url)
    with contextlib.closing(HTTPConnection(parts.hostname or "", parts.port, timeout=10)) as connection:
        connection.request("GET" if body is None else "POST", f"{parts.path.rstrip('/')}{path}", body, headers)
        answer = connection.getresponse()
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise ConfigError(
                [
                    f"the emulator at {url} does not take our secret. Set {SECRET_FILE} to the `secret_file` that it "
                    "named when it started"
                ]
            )
        return answer.read() if answer.status == HTTPStatus.OK else b""
