"""Whose credentials a process has: asked by a process of its own, since the SDKs never load in pytest.

Only where a session is joined with other credentials than it began with, and their account must be known.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import msgspec

from pytest_capacity.backends import open_backend
from pytest_capacity.errors import KeeperError
from pytest_capacity.keeper.spawn import command_of, environment
from pytest_capacity.model import Request

#: How long the cloud may take to say it. Seconds.
PATIENCE: Final = 30.0


def whoami(request: Request, python: str | None) -> str:
    """The account of this process's credentials. Raises `KeeperError` with the cloud's words."""
    try:
        done = subprocess.run(
            command_of("keeper.whoami", python),
            check=False,
            cwd="/",
            env=environment(os.environ),
            input=msgspec.json.encode(request),
            capture_output=True,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KeeperError(f"whose credentials these are could not be asked: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"it ended with {done.returncode}"
        raise KeeperError(f"session {request.session!r}: the cloud does not know these credentials: {said}")
    return done.stdout.decode().strip()


def main() -> int:
    """Read a request, ask, print the account."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    print(open_backend(request).whoami().account)
    return 0


if __name__ == "__main__":
    sys.exit(main())
