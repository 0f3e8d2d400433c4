"""The runtime of the controller, or of the only process: it owns the keeper of its run.

Configured, it has checked everything that can be checked without a call. In sessionstart it starts the keeper, which
creates nothing by itself. In sessionfinish, after everything else has ended, it has the keeper release everything,
waits for that, and keeps the receipt for the summary. However it ends before that, the keeper notices and releases.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
import pytest

from pytest_capacity.backends import provider
from pytest_capacity.errors import CapacityError, CapacityWarning, ConfigError
from pytest_capacity.keeper.owner import Owner
from pytest_capacity.keeper.protocol import Answer, Call, Event
from pytest_capacity.keeper.spawn import SpawnOptions
from pytest_capacity.model import Identity, Request
from pytest_capacity.plugin.collect import collect_dir
from pytest_capacity.plugin.console import Console, folded, width_of
from pytest_capacity.plugin.ending import Ending, Outcome
from pytest_capacity.plugin.hooks import Hooks
from pytest_capacity.plugin.markers import may_ask, name_of, wanted
from pytest_capacity.plugin.request import check_extras, check_workers, read_request
from pytest_capacity.plugin.run_options import keeper_python, on_exhausted, scenario_file
from pytest_capacity.plugin.runtime import Runtime, uses_capacity
from pytest_capacity.plugin.settings import Settings
from pytest_capacity.plugin.signals import Pending, Signals
from pytest_capacity.plugin.worker import hand_over
from pytest_capacity.report import render
from pytest_capacity.report.render import Line
from pytest_capacity.text import clean, fold_all

#: What the keeper refuses is shown at the line of the test that asked; `--full-trace` shows how it got there.
__tracebackhide__ = True

A = TypeVar("A", bound=Answer)

#: How long a serial run whose tests use capacity waits for the account's name before the first of them, seconds.
IDENTITY_PATIENCE: Final = 10.0

#: How long it waits where no test may begin before the account is known, or a scenario is known to be good, seconds.
CERTAINTY_PATIENCE: Final = 120.0

#: Options under which pytest only shows fixtures, whatever the tests are.
_SHOWING_ONLY: Final = ("showfixtures", "show_fixtures_per_test")

#: Options under which pytest runs no fixture's body.
_LOOKING_ONLY: Final = ("collectonly", "showfixtures", "show_fixtures_per_test", "setupplan", "cacheshow")


class Controller(Runtime):
    """Owns the keeper. All its hooks run on the main thread; events come on the connection's reader thread."""

    def __init__(self, config: pytest.Config, settings: Settings, *, looking_only: bool) -> None:
        """Check the configuration; with ``looking_only`` no keeper is started.

        Raises `pytest.UsageError` with every fault of the configuration.
        """
        check_workers(config)
        request = read_request(config, settings, os.environ)
        super().__init__(config, request, collect_dir(config, settings), on_exhausted(config, settings))
        self.options: Final = _spawn_options(config, settings, request)
        self._looking_only = looking_only or any(config.getoption(name, False) for name in _LOOKING_ONLY)
        self._strict_credentials = settings.choice("credentials", ("warn", "error")) == "error"
        self._rebuild = settings.truth("rebuild", default=False)
        self._signals = Signals() if settings.truth("handle_signals", default=True) else None
        # By the options, as xdist itself decides: its session may be registered after us.
        self._distributed = config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))
        self._console = Console(
            config,
            at_once=self._distributed,
            provision_s=request.timeout_s,
            release_s=request.release_timeout_s,
        )
        # As it is now: a test may put another clock in its place.
        self._now: Final = time.time
        self._since = self._now()
        self._pid = os.getpid()
        self._owner: Owner | None = None
        self._awaits_identity = False
        self._identity: Identity | None = None
        self._fault: CapacityError | None = None
        #: Whether a usage error has said already why the run could do nothing.
        self._refused = False
        self._endpoint = provider(request.backend).endpoint_of(request, os.environ)
        #: Whether anything was asked of the cloud, so that there is something to give back.
        self._begun = False
        self._stopped = False
        self._hooks = Hooks(config, request, self._complain)
        self._ending = Ending(emulated=request.emulated, session=request.session)
        self._pending = Pending(self._ending.interrupted)
        self._outcome: Outcome | None = None
        #: What tests are to be warned of, from the reader thread.
        self._warnings: deque[str] = deque()

    def _complain(self, words: str) -> None:
        # As an event: a line that another thread writes would end up in the output of a test.
        self._console.on_event(Event(self._now(), "trouble", data={"words": words}))

    def call(self, message: Call, answer: type[A]) -> A:
        """Ask over the owner's connection; live lines appear while it waits."""
        if self._owner is None:
            raise CapacityError("the keeper of this run is not running: the session has not begun, or is over")
        if threading.current_thread() is not threading.main_thread():
            return self._owner.call(message, answer)  # Lines are the main thread's to write.
        try:
            return self._owner.call(message, answer, beat=self._console.beat)
        except KeyboardInterrupt:
            self._pending.hold(certain=False)
            self._stop()
            raise
        finally:
            self._console.beat()

    def _stop(self) -> None:
        """Answer a Ctrl-C at once: nothing more is asked for, though pytest takes a while to come to the release."""
        if self._owner is None or self._stopped:
            return
        self._stopped = True
        self._owner.stop()
        if self._begun:
            self._console.say("capacity: interrupted: giving back what is held", "yellow")

    @property
    def deaths(self) -> int:
        """How many keepers of this run are gone."""
        return self._owner.deaths if self._owner else 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Start the keeper, unless no fixture's body can run. Before xdist starts its workers."""
        if self._looking_only:
            return
        if self._signals:
            self._signals.install()
        owner = Owner(
            self.request,
            self.options,
            self._on_event,
            rebuild=self._rebuild,
            advisor=self._hooks.advise,
            advises=self._hooks.advises,
            whole=self._hooks.listens,
        )
        try:
            owner.start()
        except CapacityError as error:
            owner.close()
            raise pytest.UsageError(f"capacity: {clean(str(error), lines=True)}") from None
        self._owner = owner
        self.request = owner.request  # A session that was joined has its own run.

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker, the replacement of a crashed one too, where the keeper is."""
        if self._owner:
            node.workerinput["capacity"] = hand_over(
                self._owner, self.collect_dir, self.on_exhausted, width_of(self.config)
            )

    def pytest_report_header(self) -> list[str]:
        """Return where, as whom, which run."""
        owner = self._owner
        said = render.header(self.request, owner.log if owner else "", self._endpoint)
        if owner:
            drift = owner.answer.drift if owner.answer else ()
            said += render.session_lines(self.request, self._now(), owner.found, drift)
        return list(fold_all(said, width_of(self.config)))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse markers that are misused, or that nothing configured can satisfy. Raises `pytest.UsageError`."""
        if any(self.config.getoption(name, False) for name in _SHOWING_ONLY):
            return
        faults = list(dict.fromkeys(fault for item in session.items if (fault := self._fault_of(item))))
        if faults:
            listed = "\n".join(f"  {clean(fault)}" for fault in faults)
            raise pytest.UsageError(f"capacity: what tests ask for cannot be had:\n{listed}")

    def _fault_of(self, item: pytest.Item) -> str | None:
        try:
            asked = wanted(item)
            # A test that may be skipped may ask for what only another configuration has.
            if may_ask(item) and not any(map(item.get_closest_marker, ("skip", "skipif"))):
                self.check(asked)
        except pytest.UsageError as error:
            return str(error)
        except CapacityError as error:
            return f"{name_of(item)}: marker `capacity`: {error}"
        return None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Name the account before the first test that uses capacity.

        An xdist controller does not know what was selected. It waits only where it must not begin without knowing,
        and where a scenario may be no good, which is to be said once; otherwise the account is shown when it comes.
        """
        must_know = self._strict_credentials or self.options.scenario
        if any(map(uses_capacity, session.items)) or (self._distributed and must_know):
            patience = CERTAINTY_PATIENCE if must_know else IDENTITY_PATIENCE
            self._identify(patience, strict=self._strict_credentials)
        elif self._distributed:
            self._tell_of_the_emulator()
        return (yield)

    def pytest_runtest_logfinish(self) -> None:
        """Show, between tests, what has come meanwhile."""
        self._console.beat()
        self._warn()
        if self._awaits_identity:
            self._identify(0, strict=False)

    def _warn(self) -> None:
        """Hand the warnings that have come to pytest, which lists them in its summary. For the main thread."""
        while self._warnings:
            warning = CapacityWarning(clean(self._warnings.popleft()))
            # A filter of the suite's may make it an error: outside of any test there is none to fail.
            with suppress(CapacityWarning):
                self.config.issue_config_time_warning(warning, stacklevel=2)

    def _on_event(self, event: Event) -> None:
        self.on_event(event)
        self._begun = self._begun or event.kind in ("attempt-started", "database-requested")
        if event.kind == "ending":
            self._warnings.append(str(event.data.get("words", "")))
        self._console.on_event(event)
        self._hooks.on_event(event)
        if event.kind == "identity" and self._distributed and not self._strict_credentials:
            self._introduce(msgspec.convert(event.data, Identity))

    def _identify(self, patience: float, *, strict: bool) -> None:
        """Show the account as soon as it is known; wait ``patience`` seconds for it."""
        if self._owner is None:
            return
        self._awaits_identity = False
        if patience:
            self._tell_of_the_emulator()
        try:
            identity = self._owner.identity(timeout=patience, beat=self._console.beat)
        except ConfigError as error:
            # The profile, the scenario or the like is no good: nothing could come of this run.
            self._refused = True
            raise pytest.UsageError(f"capacity: {clean(str(error), lines=True)}") from None
        except CapacityError as error:
            # Tests that need no capacity run all the same; the others fail with this same reason.
            self._fault = error
            self._console.say(f"capacity: {clean(str(error))}", "red")
            return
        if identity is None:
            self._awaits_identity = True
            return
        fault = self._introduce(identity)
        if fault and strict:
            raise pytest.UsageError(f"capacity: {fault} (ini capacity_credentials = error)")

    def _tell_of_the_emulator(self) -> None:
        """Say what a run without a cloud waits for in its first seconds."""
        starts = self.request.emulated and self.request.endpoint is None
        if starts and self._owner and not self._owner.ready and self.config.get_verbosity() >= 0:
            self._console.say("capacity: starting the emulator")

    def _introduce(self, identity: Identity) -> str | None:
        told, self._identity = self._identity == identity, identity
        if not told and self.config.get_verbosity() >= 0:
            self._console.say(render.identity_line(identity, self.request))
        fault = render.expiry_fault(identity, self.request, self._now())
        if fault and not told:
            self._console.say(f"capacity: {fault}", "yellow")
        return fault

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Count Ctrl-C: the second one leaves the release to the keeper. Before the terminal renders the traceback."""
        if isinstance(excinfo.value, KeyboardInterrupt):
            self._pending.hold(certain=True)
            self._ending.interrupted()
            self._stop()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Release and wait, when fixtures are torn down and workers have ended; before the summary is written."""
        self._pending.let_go()
        try:
            return (yield)
        except KeyboardInterrupt:
            # Kept from here on: pytest would end on the spot, without its summary, and by the signal itself.
            self._ending.interrupted()
            session.exitstatus = pytest.ExitCode.INTERRUPTED
            return None
        finally:
            self._end(session)

    def _end(self, session: pytest.Session) -> None:
        # A child that a test forked may come by here as well; the run is not its own.
        if self._owner is None or os.getpid() != self._pid:
            return
        if self._signals:
            self._signals.deaf = True
        self._learn_fault()
        failed = session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        self._console.begin_release()
        self._outcome = self._ending.release(self._owner, self._console.beat, self._console.say_all, failed=failed)
        self._hooks.finish()
        self._console.beat()
        self._warn()
        # Said at once, and again in the summary: after a second Ctrl-C there may be no summary.
        self._console.say_all(Line(f"capacity: {line.text}", line.colour) for line in self._outcome.words)
        if session.exitstatus == pytest.ExitCode.OK and not self._outcome.good:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        try:
            self._close()
        except KeyboardInterrupt:
            # It only cut the wait for the keeper's exit short: the summary is still to be written.
            self._ending.interrupted()

    def _learn_fault(self) -> None:
        """Learn why the run could do nothing, where its tests learned it first: the summary says it once."""
        if self._fault or self._refused or not self._owner or not self._owner.ready:
            return
        try:
            self._owner.identity(timeout=0)
        except CapacityError as error:
            self._fault = error

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the section ``capacity``: attempts, nodes, the receipt."""
        if self._outcome is None:
            return
        receipt, verbosity = self._outcome.receipt, self.config.get_verbosity()
        if receipt and receipt.clean and not receipt.asked and not receipt.troubles and not self._fault:
            return
        terminalreporter.write_sep("=", "capacity")
        width = width_of(self.config)
        before: list[Line] = []
        if verbosity < 0:
            before.append(render.place_line(self.request, self._endpoint, self._identity))
        if self._fault:
            before.append(Line(clean(str(self._fault)), "red"))
        told: Iterable[Line] = self._outcome.words
        if receipt:
            told = render.summary(receipt, self.request, verbosity=verbosity, width=width)
        elif self._outcome.staying:
            told = render.staying_lines(
                self._outcome.staying,
                self.request,
                self._now(),
                verbosity=verbosity,
                since=self._since,
                width=width,
            )
        for line in folded([*before, *told], width):
            terminalreporter.write_line(line.text, **line.markup)

    def pytest_unconfigure(self) -> None:
        """Hang up for sessions that never began properly, and the keeper releases."""
        if os.getpid() == self._pid:
            self._close()
            self._pending.let_go()
            if self._signals:
                self._signals.restore()

    def _close(self) -> None:
        if self._owner:
            owner, self._owner = self._owner, None
            owner.close()


def _spawn_options(config: pytest.Config, settings: Settings, request: Request) -> SpawnOptions:
    """Return how the keeper is started. Raise `pytest.UsageError` where it cannot be."""
    _, scenario = scenario_file(config, settings)
    python = keeper_python(config, settings)
    check_extras(request, python)
    return SpawnOptions(
        python=python,
        outlive_job=settings.truth("outlive_job", default=False),
        scenario=os.fspath(scenario) if scenario else None,
    )
