"""Start the emulator for a test and talk to its World. Standard library only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from functools import cache
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any, ClassVar, Final, cast
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent

#: An image that exists in every emulated region: Linux/UNIX, x86_64.
IMAGE = "ami-12c6146b"

#: The secret of the emulators that tests start: the secret access key of `NO_CLOUD` in the root conftest.
SECRET: Final = "testing"

EMPTY: Final[Mapping[str, str]] = MappingProxyType({})

#: How long the longest call that a test scripts may take on a loaded machine. Seconds.
PATIENCE: Final = 60.0

#: How long a keeper that an earlier test has left at work may take to end. Seconds.
LAST_CALLS: Final = 20.0

#: For how long a call is held open at most, less than an SDK waits for an answer. Seconds.
HELD_OPEN: Final = 50.0


class Emulator:
    """A running emulator. Use it as a context manager, or `close` it."""

    #: The keepers whose files are below this folder are of this test process; "" where that is not known.
    runs_below: ClassVar[str] = ""

    def __init__(self, process: subprocess.Popen[bytes], ready: Mapping[str, Any], errors: IO[bytes]) -> None:
        self.process = process
        self.url: str = ready["url"]
        #: What it printed when it was ready.
        self.ready: Mapping[str, Any] = ready
        self.secret = Path(ready["secret_file"]).read_text(encoding="ascii").strip()
        self._errors = errors

    def world(self, calls: bool = True) -> dict[str, Any]:
        """What ``GET /_world`` says: held, bill, weather, now, and the calls."""
        return self._ask(f"/_world?calls={int(calls)}", None)

    def held(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What bills or blocks, of one kind or all."""
        held: list[dict[str, Any]] = self.world(calls=False)["held"]
        return [one for one in held if kind is None or one["kind"] == kind]

    def calls(self, operation: str | None = None) -> list[dict[str, Any]]:
        """The calls made since the last reset, of one operation or all."""
        calls: list[dict[str, Any]] = self.world()["calls"]
        return [one for one in calls if operation is None or one["operation"] == operation]

    def weather(self, **parts: Any) -> dict[str, Any]:
        """Change the weather; a part replaces that part. `ValueError`, in the emulator's words, for nonsense."""
        return self._ask("/_world", parts)

    def reset(self, **parts: Any) -> dict[str, Any]:
        """Empty the World, then change the weather."""
        return self._ask("/_world", {"reset": True, **parts})

    def hold(self, *operations: str, times: int | None = None) -> None:
        """Hold the calls of these operations open before they have an effect, until `go_on`. No other fault stays."""
        self.weather(faults=[{"operation": one, "delay_s": HELD_OPEN, "times": times} for one in operations])

    def go_on(self) -> None:
        """End all faults, and so the delays of the calls that are held open."""
        self.weather(faults=[])

    def under_way(self) -> list[str]:
        """Return the operations of the calls that are not answered yet."""
        operations: list[str] = self.world(calls=False)["under_way"]
        return operations

    def renew(self) -> None:
        """An empty World and fair weather for another test, once the calls of the one before have ended."""
        # A client that was killed over a call would fill the World anew, or have it counted as the next test's.
        end = time.monotonic() + PATIENCE
        self.go_on()
        self._end_keepers()
        while under_way := self.under_way():
            assert time.monotonic() < end, f"calls of an earlier test do not end: {under_way}"
            time.sleep(0.02)
        self.reset()

    def _end_keepers(self) -> None:
        """Wait until the keepers of earlier tests have ended, and end those that go on: the next test counts calls."""
        end = time.monotonic() + LAST_CALLS
        while keepers := keepers_below(self.runs_below):
            if time.monotonic() > end:
                # A guard first, which would start another keeper.
                for pid, _ in sorted(keepers, key=lambda keeper: "--keeper=" not in keeper[1]):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def errors(self) -> str:
        """What the emulator wrote to its standard error: defects of its own."""
        return _whole(self._errors)

    def close(self) -> None:
        """End the process; twice is fine."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Emulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def headers(self) -> dict[str, str]:
        """What ``/_world`` wants of its clients."""
        return {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}

    def _ask(self, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        status, answer = ask(self.url, path, data, self.headers)
        if status != HTTPStatus.OK:
            raise ValueError(answer.decode())
        return cast("dict[str, Any]", json.loads(answer))


def ask(url: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = EMPTY) -> tuple[int, bytes]:
    """Status and body of an answer. By hand, since urllib.request makes a TLS context for each call, for 40 ms."""
    host = urlsplit(url).netloc
    with closing(HTTPConnection(host, timeout=60)) as connection:
        connection.request("GET" if body is None else "POST", path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()


def start_emulator(scenario: Mapping[str, Any] | None = None, *options: str, measured: bool = False) -> Emulator:
    """Start an emulator with this weather, and wait until it is ready. `RuntimeError` with its words if it fails.

    ``measured``: its code is what is being tested, so coverage looks at it, which makes it slow.
    """
    # It has no name, so that nothing of it stays where this process is killed.
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the emulator
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    if not measured:
        environment.pop("COVERAGE_PROCESS_START", None)
    if "--secret-file" not in options:
        options = (*options, f"--secret-file={secret_file()}")
    command = [sys.executable, "-m", "pytest_capacity.emulator", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=errors, env=environment, cwd=tempfile.gettempdir()
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(60)
        process.stdout.close()
        words = _whole(errors)
        errors.close()
        raise RuntimeError(f"the emulator ended with {process.returncode}: {words}")
    emulator = Emulator(process, json.loads(line), errors)
    if scenario is not None:
        emulator.weather(**scenario)
    return emulator


def _whole(errors: IO[bytes]) -> str:
    """Return what was written, without moving where the emulator writes on."""
    return os.pread(errors.fileno(), os.fstat(errors.fileno()).st_size, 0).decode(errors="replace")


@cache
def secret_file() -> Path:
    """Return the file with the secret access key that the tests have in their environment: one for all test runs."""
    folder = Path(tempfile.gettempdir()) / f"pytest-capacity-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    assert folder.lstat().st_uid == os.getuid(), f"{folder} is another user's. Set TMPDIR"
    folder.chmod(0o700)
    file = folder / "secret"
    if not file.is_file() or file.read_text(encoding="ascii") != SECRET:
        new = folder / f"secret-{os.getpid()}"
        new.touch(mode=0o600)
        new.write_text(SECRET, encoding="ascii")
        new.replace(file)
    return file


def rounds(calls: list[dict[str, Any]]) -> int:
    """How many rounds these calls make: a call that begins while all of a round are under way is of that round."""
    count, until = 0, float("-inf")
    for call in sorted(calls, key=lambda call: call["began"]):
        if call["began"] >= until:
            count, until = count + 1, call["ended"]
        else:
            until = min(until, call["ended"])
    return count


def keepers_below(folder: str) -> list[tuple[int, str]]:
    """The keepers, and what guards them, whose files are below a folder; none for ""."""
    marks = ("--listener=", "--keeper=")
    return [one for one in processes() if folder in one[1] and any(mark in one[1] for mark in marks)] if folder else []


def processes() -> Iterator[tuple[int, str]]:
    """The processes of this machine: id and command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
