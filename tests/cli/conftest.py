"""The command line as a user's shell starts it, beside real runs of pytest on an emulator."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.emulated import Emulator
from tests.safety.runs import GRANTED, PATIENCE, Ended, Going, Suite, suite_in, until

SESSION: Final = "dev"

#: Says that it has its nodes, and waits until it is let go.
TESTS: Final = """
import pathlib, time

HERE = pathlib.Path(__file__).parent

def test_it(capacity):
    capacity.nodes()
    (HERE / "at").touch()
    while not (HERE / "go").exists():
        time.sleep(0.02)
"""

#: The command, from this checkout.
PROGRAM: Final = (sys.executable, "-c", "import sys; from pytest_capacity.cli import main; sys.exit(main())")


class Shell:
    """A user's shell in a suite's directory."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.emulator = suite.emulator
        self.tests = suite.tests
        self._frozen: list[int] = []
        suite.configure({"db": {"count": 2, "instance_type": "i4i.large"}})
        suite.write("test_suite.py", TESTS)

    def __call__(self, *arguments: str, **how: Any) -> Ended:
        """``pytest-capacity ARGUMENTS``, to its end."""
        return self.start(*arguments, **how).wait()

    def start(self, *arguments: str, **how: Any) -> Going:
        """It, beside us."""
        return self.suite.start(*arguments, program=PROGRAM, endpoint=False, **how)

    def run(self, *command: str, options: Sequence[str] = (), **how: Any) -> Ended:
        """``pytest-capacity run -- COMMAND`` on the emulator, to its end."""
        return self.start_run(*command, options=options, **how).wait()

    def start_run(self, *command: str, options: Sequence[str] = (), **how: Any) -> Going:
        """It, beside us."""
        return self.start("run", f"--endpoint={self.emulator.url}", *options, "--", *command, **how)

    def python(self, code: str) -> tuple[str, ...]:
        """A command for `run`: this Python."""
        return (sys.executable, "-c", code)

    def keep(self, *arguments: str) -> None:
        """A real run of pytest has ended, and its nodes are kept."""
        self.let_go()
        session = (f"--capacity-session={SESSION}", "--capacity-keep=5m")
        ended = self.suite.run(*session, *arguments)
        assert ended.code == 0, ended

    def use(self, *arguments: str) -> Going:
        """A real run of pytest is under way, and has its nodes."""
        going = self.suite.start(*arguments)

        def there() -> bool:
            assert going.process.poll() is None, going.wait()
            return (self.tests / "at").exists()

        until(there, PATIENCE, "the nodes are there")
        return going

    def let_go(self) -> None:
        """The tests may end."""
        self.suite.write("go", "")

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        """``ls --json``, read."""
        ended = self("ls", "--json", *arguments)
        assert ended.code == 0, ended
        found: list[dict[str, Any]] = json.loads(ended.out)
        return found

    def one(self) -> dict[str, Any]:
        """The only run that there is."""
        (found,) = self.listed()
        return found

    def kill_keepers(self) -> None:
        """No process is left of those that would release: neither guards nor keepers."""
        for pid in self.suite.guards() + self.suite.keepers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self.suite.guards() + self.suite.keepers(), GRANTED, "they are gone")

    def freeze(self, pid: int) -> None:
        """Let a process hang, until the test is over."""
        os.kill(pid, signal.SIGSTOP)
        self._frozen.append(pid)

    def thaw(self) -> None:
        """Those that hang go on."""
        while self._frozen:
            with suppress(ProcessLookupError):
                os.kill(self._frozen.pop(), signal.SIGCONT)

    def instances(self) -> list[str]:
        """The nodes in the World."""
        return sorted(one["id"] for one in self.emulator.held("instance"))


@pytest.fixture
def shell(tmp_path: Path, emulator_process: Emulator) -> Iterator[Shell]:
    """A shell of this test's own, on an empty World; nothing that it started is left running."""
    with suite_in(tmp_path, emulator_process) as suite:
        shell = Shell(suite)
        yield shell
        shell.thaw()
