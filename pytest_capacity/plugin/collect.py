"""When a test has failed: the console output and files of the nodes that it used, in a folder beside the report."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_capacity.errors import CapacityError
from pytest_capacity.keeper import protocol
from pytest_capacity.plugin.fetch import Fetch
from pytest_capacity.plugin.other_plugins import unhurried
from pytest_capacity.plugin.settings import Settings, base_of
from pytest_capacity.remote.machine import Machine
from pytest_capacity.remote.sockets import Countdown
from pytest_capacity.text import clean

if TYPE_CHECKING:
    from pytest_capacity.plugin.runtime import Runtime

#: The folder's name, unless another one is given.
DEFAULT_DIR: Final = "capacity-collected"

#: How long all nodes of one failed test have, side by side. Seconds.
LIMIT: Final = 30.0

#: pytest's and pytest-html's options that name a report.
_REPORTS: Final = ("xmlpath", "htmlpath")

#: Lines about one node; the length of one line of it.
_NOTES: Final = 8
_NOTE: Final = 400

_LONGEST_NAME: Final = 120
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._=+-]+")


def collect_dir(config: pytest.Config, settings: Settings) -> Path:
    """Return where to collect: the directory that was named, or one beside the run's report, or in its root."""
    setting = settings.get("collect_dir")
    if setting:
        return base_of(config, setting) / Path(str(setting.value)).expanduser()
    for option in _REPORTS:
        report = config.getoption(option, None)
        if report:
            return (config.invocation_params.dir / Path(os.path.expandvars(report)).expanduser()).parent / DEFAULT_DIR
    return config.rootpath / DEFAULT_DIR


class Collection:
    """Collects once for each execution of a test: when its setup or its call has failed, its nodes are still its own.

    Each node has a thread and a folder, which the hook is called with. None of them can fail the test any further,
    nor hold it up for longer than `LIMIT`.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._done = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Begin anew: another test, or the same once more."""
        self._done = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Collect where the report is a failure. Outside of all others: they say that a failure was expected."""
        report = yield
        if report.failed and not self._done:
            self._done = True
            with unhurried(item, in_call=False):
                told = self._collect(item)
            if told:
                report.sections.append(("capacity", told))
        return report

    def _collect(self, item: pytest.Item) -> str:
        """Return what to say in the report; empty where there was nothing to collect, and nothing to say of it."""
        nodes = self._runtime.nodes_of(item)
        if not nodes:
            return ""
        root = self._runtime.collect_dir
        created = not root.exists()
        try:
            folder = _new_folder(root, safe_name(item.nodeid))
            visits = self._visit(item, nodes, folder)
        except OSError as error:
            return f"nothing could be collected: {error}. --capacity-collect-dir names another directory"
        lines = [line for visit in visits for line in (*visit.found(), *self._fate(visit.node), *visit.notes())]
        if _pruned(folder):
            if created:
                with suppress(OSError):
                    root.rmdir()
        else:
            lines.insert(0, f"collected in {folder}")
            if created:
                _ignore(root)
        # That a node was given back is no news if there was nothing to collect from it.
        return "\n".join(lines) if any(visit.found() or visit.notes() for visit in visits) else ""

    def _visit(self, item: pytest.Item, nodes: Sequence[Machine], folder: Path) -> Sequence[_Visit]:
        stopped = threading.Event()
        visits = [
            _Visit(self._runtime, item, node, _new_folder(folder, safe_name(node.name)), stopped) for node in nodes
        ]
        try:
            within = Countdown(LIMIT)
            for visit in visits:
                visit.thread.start()
            for visit in visits:
                visit.thread.join(within.rest())
        finally:
            stopped.set()
        return visits

    def _fate(self, node: Machine) -> Sequence[str]:
        if node in self._runtime.uses.suspect:
            return [f"  {node.name}: is suspect, and not lent again"]
        if node in self._runtime.uses.returned:
            return [f"  {node.name}: had been given back when this failed; another test may have it"]
        return []


class _Visit:
    """One node: what we collect ourselves, then the hook, on a thread that does not keep the process alive.

    ``stopped`` is set when it is not waited for any more.
    """

    def __init__(
        self, runtime: Runtime, item: pytest.Item, node: Machine, path: Path, stopped: threading.Event
    ) -> None:
        self.node = node
        self._runtime = runtime
        self._item = item
        self._path = path
        self._stopped = stopped
        self._told: list[str] = []
        self.thread = threading.Thread(target=self._run, name=f"capacity-collect-{node.name}", daemon=True)

    def found(self) -> Sequence[str]:
        """Return how much there is, in a line."""
        sizes = [file.stat().st_size for file in self._path.rglob("*") if file.is_file()]
        if not sizes:
            return []
        return [f"  {self.node.name}: {len(sizes)} file{'s' * (len(sizes) > 1)}, {_size(sum(sizes))}"]

    def notes(self) -> Sequence[str]:
        """Return what could not be had, a line each."""
        told = [f"not all within {LIMIT:.0f} s"] if self.thread.is_alive() else []
        told += [clean(line, limit=_NOTE) for words in self._told for line in words.splitlines() if line.strip()]
        if len(told) > _NOTES:
            told[_NOTES - 1 :] = [f"{len(told) - _NOTES + 1} more of the kind"]
        return [f"  {self.node.name}: {line}" for line in told]

    def _run(self) -> None:
        for collect in (self._console, self._files, self._hook):
            if self._stopped.is_set():
                return
            try:
                collect()
            except (CapacityError, OSError) as error:
                # One line: a keeper that is gone gives the end of its log to each test that asks it.
                self._told.append(str(error).partition("\n")[0])
            except BaseException as error:  # noqa: BLE001 - the edge of a thread: it goes into the report.
                self._told.append(f"{type(error).__name__}: {error}")

    def _console(self) -> None:
        text = self._runtime.call(protocol.ReadConsole(node=self.node.id), protocol.Console).text
        if text:
            (self._path / "console.txt").write_text(text, encoding="utf-8", errors="replace", newline="")

    def _files(self) -> None:
        if self._runtime.request.collect:
            files = Fetch(self.node, self._path / "files", self._stopped)
            files.fetch(self._runtime.request.collect)
            self._told += files.notes

    def _hook(self) -> None:
        told = self._item.ihook.pytest_capacity_collect(node=self.node, item=self._item, path=self._path)
        self._told += [str(words) for words in told if words]


def safe_name(nodeid: str) -> str:
    """Return the test's id as the name of a folder."""
    name = _UNSAFE.sub("-", nodeid).strip("-.") or "test"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 9]}-{hashlib.sha256(nodeid.encode()).hexdigest()[:8]}"


def _new_folder(root: Path, name: str) -> Path:
    """Return a folder that is used once: another worker, an earlier run and a rerun have theirs."""
    root.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = root / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        except FileNotFoundError:
            root.mkdir(parents=True, exist_ok=True)  # Another worker found nothing, and removed it.
        else:
            return folder


def _pruned(folder: Path) -> bool:
    """Remove directories that are empty; whether that was all of it."""
    for path, _, __ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(path).rmdir()
    return not folder.exists()


def _ignore(root: Path) -> None:
    """Keep what we collect in a directory of our own out of version control."""
    with suppress(OSError):
        (root / ".gitignore").write_text("# Made by pytest-capacity.\n*\n", encoding="utf-8")


def _size(count: int) -> str:
    for unit in ("bytes", "kB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count //= 1000
    return f"{count} MB"
