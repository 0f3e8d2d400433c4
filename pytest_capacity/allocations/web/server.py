"""The server of `make_app`: loopback only, until it is ended by a signal."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from waitress.server import create_server

from pytest_capacity.allocations.web.app import make_app
from pytest_capacity.allocations.web.guard import Guard
from pytest_capacity.allocations.web.reader import Cloud

ADDRESS: Final = "127.0.0.1"

#: Requests at once. Each waits for the index only.
_THREADS: Final = 4


def serve(journal: Path, guard: Guard, port: int, ready: Callable[[str], None], cloud: Cloud | None = None) -> None:
    """Listen on ``port`` (0: a free one) of the loopback interface; say the URL to ``ready``; return when interrupted.

    Raises `OSError` where the port is taken.
    """
    logging.getLogger("waitress").setLevel(logging.ERROR)
    # The application checks the Host header by the port, which is known once the socket is bound.
    listening = socket.create_server((ADDRESS, port))
    found = int(listening.getsockname()[1])
    server = create_server(
        make_app(journal, guard, found, cloud=cloud), sockets=[listening], threads=_THREADS, ident=None
    )
    ready(f"http://{ADDRESS}:{found}")
    try:
        server.run()
    finally:
        server.close()
