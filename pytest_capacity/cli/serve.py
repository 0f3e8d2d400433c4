"""``pytest-capacity serve``: who uses what, over HTTP on this machine."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
from importlib.util import find_spec
from typing import Final

from pytest_capacity.cli.cloud import cloud_of, journal_of
from pytest_capacity.cli.console import Misused, tell
from pytest_capacity.install_advice import install_command

#: Where a script puts a token of its own, so that it need not read ours. The second one has no role but ``member``.
TOKEN: Final = "PYTEST_CAPACITY_SERVE_TOKEN"
MEMBER_TOKEN: Final = "PYTEST_CAPACITY_SERVE_MEMBER_TOKEN"

_NEEDS: Final = ("flask", "waitress")
_LEAST: Final = 16


def main(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; return 0. Raises `Misused` where it cannot begin."""
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise Misused(f"{', '.join(missing)} is not installed here: {install_command('serve')}")
    from pytest_capacity.allocations.web.guard import Guard, Role
    from pytest_capacity.allocations.web.server import serve

    admin = _token(TOKEN) or secrets.token_urlsafe(32)
    member = _token(MEMBER_TOKEN)
    tokens: dict[str, Role] = {admin: "admin"}
    if member and member != admin:
        tokens[member] = "member"

    def ready(url: str) -> None:
        if options.json:
            tell([json.dumps({"url": url, "token": admin, "pid": os.getpid()})], whole=True)
        else:
            tell([f"serving on {url} until Ctrl-C", f"in a browser: {url}/?token={admin}"])

    cloud = cloud_of(options)
    # As Ctrl-C: the server closes its sockets and we return.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve(
            journal_of(options, cloud),
            Guard(tokens=tokens, policy=options.policy),
            options.port,
            ready,
            cloud,
        )
    except OSError as error:
        raise Misused(f"port {options.port} cannot be used: {error}. Give another with --port") from error
    except KeyboardInterrupt:
        pass
    return 0


def _token(name: str) -> str:
    value = os.environ.get(name, "")
    if value and len(value) < _LEAST:
        raise Misused(f"{name} is too short: a token has at least {_LEAST} characters")
    return value
