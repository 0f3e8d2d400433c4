"""The keeper's process: ``python -I -m pytest_capacity.keeper``, started by `pytest_capacity.keeper.spawn`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence

from pytest_capacity.keeper.server import Server
from pytest_capacity.keeper.spawn import read_keeper_args


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until the last owner is gone and everything is released; the exit code is 0 if nothing was left."""
    parser = argparse.ArgumentParser(prog="pytest-capacity-keeper")
    parser.add_argument("--listener", type=int, required=True)
    parser.add_argument("--post", type=read_keeper_args, required=True)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("pytest_capacity").setLevel(logging.INFO)
    server = Server(socket.socket(fileno=options.listener), options.post)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    _end_on_sigterm(server)
    return server.serve()


def _end_on_sigterm(server: Server) -> None:
    # The handler only writes to a pipe: it may interrupt the main thread while that holds a lock which `end` needs.
    read, write = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(write, b"."))

    def wait() -> None:
        os.read(read, 1)
        server.end("told to stop (SIGTERM)")

    threading.Thread(target=wait, name="capacity-sigterm", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
