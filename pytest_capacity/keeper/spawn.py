"""Start the keeper: detached, on a listening socket that we made, so that it can be spoken to at once.

It runs isolated (``-I``, in ``/``), so that neither a user's ``queue.py`` nor ``PYTHONPATH`` nor a coverage tool of the
suite gets into it, and writes to its log alone, so that ``pytest | cat`` ends with pytest.
"""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from pytest_capacity.backends import file_variables, missing_extra
from pytest_capacity.backends.emulator_secret import SECRET_FILE
from pytest_capacity.errors import KeeperError
from pytest_capacity.keeper.places import Places
from pytest_capacity.keeper.sessions import Record
from pytest_capacity.model import Request

#: Environment of the suite's tools, not of the user's cloud. What says where the secret of a running emulator is stays
#: all the same.
_DROPPED: Final = ("COV_CORE_", "PYTEST_", "PYTHON")

#: By these, CI systems find and kill what a job leaves behind.
_TRACKING: Final = ("RUNNER_TRACKING_ID", "BUILD_ID", "JENKINS_NODE_COOKIE", "JENKINS_SERVER_COOKIE", "HUDSON_COOKIE")

#: Variables that hold a path, which may be relative to the directory that we leave; beside those of the SDKs.
_PATHS: Final = (
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "COVERAGE_PROCESS_START",
)

_LACKING: Final = (
    "import sys; from pytest_capacity.backends import missing_extra; "
    "print(*filter(None, map(missing_extra, sys.argv[1:])), sep='\\n', end='')"
)


class KeeperArgs(Struct, frozen=True, kw_only=True):
    """The arguments of a keeper; ``parent`` is the process that started it.

    ``adopt``: there may be no owner to say what the run wants, since its nodes were only kept; the journal says it.
    """

    run: str
    places: Places
    socket: str
    parent: int
    session: str | None = None
    deaths: int = 0
    adopt: bool = False
    outlive_job: bool = False

    def record(self, pid: int) -> Record:
        """Return the record of its session, once it runs as process ``pid``."""
        log, journal = self.places.log, self.places.journal
        return Record(run=self.run, socket=self.socket, pid=pid, log=log, deaths=self.deaths, journal=journal)


class SpawnOptions(Struct, frozen=True, kw_only=True):
    """How to start it. ``python``: another interpreter, which has pytest-capacity installed."""

    python: str | None = None
    scenario: str | None = None
    outlive_job: bool = False


def spawn(post: KeeperArgs, python: str | None = None) -> subprocess.Popen[bytes]:
    """Start a keeper that listens at ``post.socket``. Returns at once; connections wait until it accepts them."""
    listener = _listen(post.socket)
    try:
        command = [*command_of("keeper.__main__", python), f"--listener={listener.fileno()}", f"--post={as_text(post)}"]
        return detached(command, post, keep=listener.fileno())
    finally:
        listener.close()


def detached(command: Sequence[str], post: KeeperArgs, *, keep: int = -1) -> subprocess.Popen[bytes]:
    """Start a process that outlives us, in ``/``, with nothing of ours open but descriptor ``keep``, and the log."""
    try:
        log = os.open(post.places.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        log = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        return subprocess.Popen(
            command,
            cwd="/",
            env=environment(os.environ, outlive=post.outlive_job),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(keep,) if keep >= 0 else (),
            start_new_session=True,
        )
    except OSError as error:
        raise KeeperError(
            f"the keeper could not be started with {command[0]}: {error}. "
            "--capacity-keeper-python names its interpreter"
        ) from error
    finally:
        os.close(log)


def command_of(module: str, python: str | None = None) -> list[str]:
    """Return the beginning of the command line that runs ``main`` of a module of ours, isolated.

    It starts with the garbage collector off, which would look at all that is being imported again and again, a third of
    the start; the started process calls `collect_garbage`.
    """
    ours = f"pytest_capacity.{module}"
    if python:
        return [python, "-I", "-m", ours]
    # Our own directory goes last, so that it shadows nothing: it is for a package that is on the path, not installed.
    path = "sys.path.append(sys.argv.pop(1))"
    boot = f"import gc, sys; gc.disable(); {path}; from {ours} import main; sys.exit(main())"
    return [sys.executable, "-I", "-c", boot, str(Path(__file__).resolve().parents[2])]


def collect_garbage() -> None:
    """Switch the collector on, for what is made from now on: modules and the SDK's descriptions stay."""
    gc.freeze()
    gc.enable()


def as_text(post: KeeperArgs) -> str:
    """Return a post for a command line."""
    return msgspec.json.encode(post).decode()


def read_keeper_args(text: str) -> KeeperArgs:
    """Return a post from a command line."""
    return msgspec.json.decode(text, type=KeeperArgs)


def environment(inherited: Mapping[str, str], *, outlive: bool = False) -> dict[str, str]:
    """Return what the keeper's environment is made of: ours, less the suite's tools, with relative paths resolved."""
    dropped = _DROPPED + (_TRACKING if outlive else ())
    kept = {name: value for name, value in inherited.items() if name == SECRET_FILE or not name.startswith(dropped)}
    for name in (*_PATHS, SECRET_FILE, *file_variables()):
        if kept.get(name):
            kept[name] = str(Path(kept[name]).expanduser().absolute())
    return kept


def needed_extras(request: Request) -> list[str]:
    """Return the extras that must be installed where the keeper of ``request`` runs."""
    emulator = ["emulator"] if request.emulated and request.endpoint is None else []
    return [request.backend, *emulator, *(["ssh"] if request.ssh else [])]


def missing_where(python: str | None, extras: Sequence[str]) -> list[str]:
    """Return what ``python`` (None: this interpreter) lacks to run with these extras, in words; empty: nothing."""
    if python is None:
        return [words for extra in extras if (words := missing_extra(extra))]
    try:
        done = subprocess.run(
            [python, "-I", "-c", _LACKING, *extras],
            check=False,
            cwd="/",
            env=environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"it does not run as one: {error}"]
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"it ended with {done.returncode}"
        return [f"it is no Python interpreter that has this pytest-capacity: {said}"]
    return done.stdout.decode(errors="replace").splitlines()


def _listen(path: str) -> socket.socket:
    # A test may have replaced the Python class; the keeper of a second try is started in the middle of one.
    listener = socket.SocketType(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Path(path).unlink(missing_ok=True)
        listener.bind(path)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise KeeperError(f"the keeper's socket {path} cannot be made: {error}") from error
    return listener  # type: ignore[return-value]


def last_lines(log: str, count: int = 12) -> str:
    """Return the end of the keeper's log, for a message."""
    try:
        return "\n".join(Path(log).read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""
