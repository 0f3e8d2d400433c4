"""The emulator's run: one process, one port.

It prints one JSON line when it is ready, and needs its standard output no more.
"""

from __future__ import annotations

import argparse
import errno
import gc
import json
import os
import secrets
import select
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

from pytest_capacity.emulator.faces import make_faces
from pytest_capacity.emulator.nodes.fleet import Fleet
from pytest_capacity.emulator.owners import Owners
from pytest_capacity.emulator.secret import Secret, SecretError
from pytest_capacity.emulator.server import Server
from pytest_capacity.emulator.weather import WeatherError, read_scenario
from pytest_capacity.emulator.world import World

#: Seconds that it serves on when its owner is gone and no request comes (a keeper may still be releasing).
PATIENCE_S: Final = 15.0

_HIGHEST_PORT: Final = 65535


def run(argv: Sequence[str] | None = None) -> int:
    """Run the emulator until a stop signal. 0: stopped; 2: the scenario or the port is unusable."""
    parser = argparse.ArgumentParser(prog="pytest-capacity emulator", description="Clouds in a box, on loopback.")
    parser.add_argument("--port", type=_port, default=0, help="the port (default: any that is free)")
    parser.add_argument("--scenario", metavar="FILE", help="the weather, as YAML")
    parser.add_argument("--owner", type=int, metavar="PID", help="end after this process does")
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE_S,
        metavar="S",
        help="seconds without a request before it ends, once the owner is gone (default: %(default)g)",
    )
    parser.add_argument("--secret-file", metavar="FILE", help="the secret of its clients (default: a new one)")
    options = parser.parse_args(argv)
    try:
        secret = Secret.make(options.secret_file)
    except SecretError as problem:
        return _fail(problem)
    world = World(time.time, lambda digits: secrets.token_hex(digits // 2))
    try:
        faces = make_faces(world, secret)
        fleet = Fleet(world)
        if options.scenario is not None:
            world.change(read_scenario(options.scenario, world.names))
        owners = Owners(options.owner)
        server = Server(options.port, world, faces, secret, fleet, owners, time.time, time.sleep)
    except (WeatherError, OSError) as problem:
        secret.remove()
        return _fail(_in_words(problem, options.port))
    stop = _stop_signals()
    for face in faces:
        face.warm()
    gc.freeze()  # Modules and tables stay for as long as we do.
    gc.enable()
    threading.Thread(target=server.serve_forever, name="emulator", daemon=True).start()
    _announce(server)
    _serve(server, stop, options.patience)
    fleet.close()
    secret.remove()
    # Nothing is left to do, and the usual end of an interpreter with all these modules takes most of a second.
    sys.stderr.flush()
    os._exit(0)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _HIGHEST_PORT:
        raise ValueError(text)
    return number


_port.__name__ = f"port (0 to {_HIGHEST_PORT})"  # argparse writes it into its error


def _in_words(problem: Exception, port: int) -> str:
    if isinstance(problem, OSError) and problem.errno == errno.EADDRINUSE:
        return f"port {port} is in use. Name another one, or leave --port out: then it takes one that is free"
    if isinstance(problem, PermissionError):
        return f"port {port} may not be used by this user. Name one above 1023, or leave --port out"
    return str(problem)


def _fail(problem: Exception | str) -> int:
    print(f"pytest-capacity emulator: {problem}", file=sys.stderr)
    return 2


def _announce(server: Server) -> None:
    clouds = {face.name: dict(face.ready(server.url)) for face in server.faces}
    accounts = [cloud["account"] for cloud in clouds.values() if "account" in cloud]
    ready = {
        "url": server.url,
        "pid": os.getpid(),
        "account": next(iter(accounts), ""),
        "emulator": server.world.identity,
        "secret_file": str(server.secret.file),
        "clouds": clouds,
    }
    server.last_request = server.clock()
    print(json.dumps(ready), flush=True)
    # The reader of the other end sees its end now, and may go away.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _stop_signals() -> int:
    """Return a file descriptor that can be read once the process gets a stop signal.

    A pipe, and no `threading.Event`: its lock is taken while the main thread waits, and a handler that runs in the same
    thread would wait for it indefinitely.
    """
    reader, writer = os.pipe()
    # Written by the C handler, in whichever thread the signal arrives: the main one may sit in `select` then.
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reader


def _serve(server: Server, stop: int, patience_s: float) -> None:
    owners = server.owners
    while not select.select([stop], [], [], 1.0 if owners.any else None)[0]:
        if owners.any and not owners.alive() and server.clock() - server.last_request > patience_s:
            return
