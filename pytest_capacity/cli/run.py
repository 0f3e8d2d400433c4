"""``pytest-capacity run -- COMMAND``: the life cycle of a run around any command, without pytest.

Nodes are requested, the command runs with them in its environment, and all is given back, however the command, or
this process, ends. What is said on the way goes to standard error; standard output is the command's own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from pytest_capacity.backends import INSTALLED, provider
from pytest_capacity.cli.child import BY_SIGNAL, Signals, run_child
from pytest_capacity.cli.child_env import check_names, hand_over
from pytest_capacity.cli.console import Misused, complain, complain_of, say
from pytest_capacity.config.loading import load
from pytest_capacity.config.source import Overrides
from pytest_capacity.errors import CapacityError, ConfigError
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.owner import Owner
from pytest_capacity.keeper.protocol import Event, Staying
from pytest_capacity.keeper.spawn import SpawnOptions, missing_where, needed_extras
from pytest_capacity.model import Identity, Placed, Receipt, Request
from pytest_capacity.report import render
from pytest_capacity.text import width_of

#: The file that is read when nothing names another one.
DEFAULT_FILE: Final = "capacity.yaml"

#: The exit status where the nodes could not be had.
_NO_CAPACITY: Final = 3

#: As a shell says it of a command that is not there.
_NO_COMMAND: Final = 127


def main(options: argparse.Namespace) -> int:
    """Return the command's exit code; 1 where it is 0 and something is left; 3 where there is no capacity."""
    if shutil.which(options.command[0]) is None:
        complain("run", f"there is no program {options.command[0]!r}. Nothing was asked for")
        return _NO_COMMAND
    request = read_request(options, os.environ)
    names = chosen(request, options.topology)
    check_names([request.topologies[name] for name in names])
    spawn = spawn_options(options, request)
    signals = Signals()
    signals.install()
    life = Life(request, spawn, signals, rebuild=bool(options.rebuild), quiet=options.quiet)
    return life.run(names, options.command)


class Interrupted(Exception):
    """A signal came while nodes were asked for."""


class Leave(Exception):
    """Ctrl-C once more: the release is left to the keeper."""


class Life:
    """One run, from its keeper's start to its receipt."""

    def __init__(
        self, request: Request, options: SpawnOptions, signals: Signals, *, rebuild: bool, quiet: bool
    ) -> None:
        self._owner = Owner(request, options, self._hear, rebuild=rebuild)
        self._signals = signals
        self._quiet = quiet
        self._since = time.time()
        #: Ctrl-C that the command was given by the terminal, and we were not.
        self._unseen = 0
        #: Whether there is something of ours to release: a session that took us in, or a keeper of our own.
        self._begun = False

    def run(self, topologies: Sequence[str], command: Sequence[str]) -> int:
        """Return the exit status of all of it."""
        status = _NO_CAPACITY
        try:
            status = self._use(topologies, command)
        except Interrupted:
            say("capacity: interrupted: giving back what is held")
            self._owner.stop()
            status = BY_SIGNAL + self._signals.caught[0]
        except CapacityError as error:
            complain_of("run", error)
            status = 2 if isinstance(error, ConfigError) else _NO_CAPACITY
        finally:
            good = self._end(failed=status != 0)
            self._owner.close()
        return status if status or good else 1

    def _use(self, topologies: Sequence[str], command: Sequence[str]) -> int:
        owner = self._owner
        owner.start()
        self._begun = True
        self._introduce()
        placed = [
            owner.call(protocol.Ask(topology=name), protocol.Ready, beat=self._heed).placed for name in topologies
        ]
        self._heed()
        return self._command(placed, command)

    def _command(self, placed: Sequence[Placed], command: Sequence[str]) -> int:
        folder = Path(tempfile.mkdtemp(prefix="pytest-capacity-"))
        try:
            variables = hand_over(placed, self._owner.request, folder)
            status = run_child(command, {**os.environ, **variables}, self._signals)
        except OSError as error:
            complain("run", f"{command[0]} cannot be started: {error}")
            return _NO_COMMAND - 1
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._unseen = int(status == BY_SIGNAL + 2 and not self._signals.caught)
        return status

    def _heed(self) -> None:
        if self._signals.caught:
            raise Interrupted

    def _introduce(self) -> None:
        owner = self._owner
        drift = owner.answer.drift if owner.answer else ()
        if not self._quiet:
            say(*render.header(owner.request, owner.log, owner.request.endpoint))
            say(*render.session_lines(owner.request, time.time(), owner.found, drift))

    def _hear(self, event: Event) -> None:
        """Say what happens as it happens: on the thread that reads it."""
        if event.kind == "identity" and not self._quiet:
            say(render.identity_line(msgspec.convert(event.data, Identity), self._owner.request))
        line = render.live(event)
        if line and (not self._quiet or line.colour == "red"):
            say(line.text)

    def _end(self, *, failed: bool) -> bool:
        """Have everything given back, and wait for it; whether the end is as it should be."""
        if not self._begun:
            return True
        owner, seen = self._owner, [len(self._signals.caught)]

        def beat() -> None:
            if len(self._signals.caught) == seen[0]:
                return
            seen[0] = len(self._signals.caught)
            if seen[0] + self._unseen >= 2 and os.getpid() != 1:
                raise Leave
            say("capacity: releasing what this run holds; press Ctrl-C again to leave that to the keeper")

        try:
            return self._show(owner.release(failed=failed, beat=beat))
        except Leave:
            _say_all(render.held_lines(owner.held(), owner.pid, owner.log, emulated=owner.request.emulated))
        except CapacityError as error:
            say(f"the release could not be confirmed: {error}", f"look into the keeper's log: {owner.log}")
        return False

    def _show(self, answer: Receipt | Staying) -> bool:
        request, columns = self._owner.request, width_of(sys.stderr, os.environ)
        width = None if columns is None else columns - len("capacity: ")
        if isinstance(answer, Receipt):
            _say_all(render.summary(answer, request, verbosity=-1, width=width))
            return answer.clean
        verbosity = -1 if self._quiet else 0
        _say_all(
            render.staying_lines(answer, request, time.time(), verbosity=verbosity, since=self._since, width=width)
        )
        return True


def _say_all(lines: Iterable[render.Line]) -> None:
    say(*(f"capacity: {line.text}" for line in lines))


def read_request(options: argparse.Namespace, environ: Mapping[str, str]) -> Request:
    """Return the checked request. Raises `ConfigError` with every fault."""
    paths = [Path(one).expanduser() for one in options.config or [DEFAULT_FILE]]
    for path in paths:
        if not path.is_file():
            raise ConfigError([f"--config: there is no file {path}. Name one that says which nodes are needed"])

    def option(name: str) -> tuple[Any, str] | None:
        value = getattr(options, name, None)
        given = tuple(value) if isinstance(value, list) else value
        return None if given is None else (given, f"--{name.replace('_', '-')}")

    overrides = Overrides.of(option, emulator=options.emulator is not None)
    folder = paths[-1].absolute().parent
    request = load(
        overrides,
        clouds=INSTALLED,
        path=paths,
        environ=environ,
        project=folder.name,
        warn=lambda words: say(f"capacity: {words}"),
    )
    journal = request.journal
    if journal is not None:
        # In the file it is relative to the file; the keeper runs in another directory.
        base = Path.cwd() if overrides.journal else folder
        journal = os.fspath(base / Path(journal).expanduser())
    return replace(provider(request.backend).with_environment(request, environ), journal=journal)


def spawn_options(options: argparse.Namespace, request: Request) -> SpawnOptions:
    """Return how the process is started that speaks to the cloud. Raise `Misused`, and `ConfigError`."""
    python = keeper_python(options.keeper_python)
    if missing := missing_where(python, needed_extras(request)):
        raise ConfigError([*missing, "or name an interpreter that has it by --keeper-python"])
    return SpawnOptions(python=python, scenario=_scenario(options.emulator))


def chosen(request: Request, named: Sequence[str] | None) -> list[str]:
    """Return the topologies that are named, each once; all where none is. Raise `Misused` for an unknown one."""
    unknown = [name for name in named or () if name not in request.topologies]
    if unknown:
        known = ", ".join(request.topologies)
        raise Misused(f"--topology: there is no topology {unknown[0]!r} in the configuration. It has: {known}")
    return list(dict.fromkeys(named or request.topologies))


def _scenario(given: str | None) -> str | None:
    if not given:
        return None
    path = Path(given).expanduser().absolute()
    if not path.is_file():
        raise Misused(f"--emulator: there is no scenario file {path}")
    return os.fspath(path)


def keeper_python(given: str | None) -> str | None:
    """Return the interpreter that has the cloud's SDK; None: this one. Raises `Misused`."""
    if given is None:
        return None
    # Not resolved: a virtual environment's interpreter is a link, and known by its own path.
    path = os.path.normpath(Path(given).expanduser().absolute()) if os.sep in given else shutil.which(given)
    if path is None or not os.access(path, os.X_OK):
        raise Misused(f"--keeper-python: there is no program {path or given}")
    return path
