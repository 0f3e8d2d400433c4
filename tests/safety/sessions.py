"""Several processes that use one session: started, watched, let go, each under a name of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.client import Connection
from tests.safety.runs import PATIENCE, Ended, Going, Suite, until

SESSION: Final = "dev"

#: Says which nodes it has and waits to be let go; what it said is of its process alone (ME).
SHARED: Final = """
import os, pathlib, time

HERE, ME = pathlib.Path(__file__).parent, os.environ["ME"]

def test_waits(capacity):
    ids = ",".join(sorted(node.id for node in capacity.nodes()))
    spare = HERE / f".at-{ME}"
    spare.write_text(ids)
    spare.rename(HERE / f"at-{ME}")
    while not (HERE / f"go-{ME}").exists():
        time.sleep(0.02)

def test_after(capacity_node, capacity):
    assert capacity_node.id in (HERE / f"at-{ME}").read_text()
    assert not (HERE / f"fail-{ME}").exists()
"""


class Sharers:
    """Processes of one suite that name the same session."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        suite.configure({"db": {"count": 2, "instance_type": "i4i.large"}})
        suite.write("test_suite.py", SHARED)

    def start(self, name: str, *arguments: str, **how: Any) -> Going:
        """A process called ``name``."""
        env = {"ME": name, **how.pop("env", {})}
        return self.suite.start(f"--capacity-session={SESSION}", *arguments, env=env, **how)

    def run(self, name: str, *arguments: str, **how: Any) -> Ended:
        """One that is let go before it begins, to its end."""
        self.let_go(name)
        return self.start(name, *arguments, **how).wait()

    def nodes(self, name: str) -> list[str] | None:
        """The nodes that this process has; None: it has not said so yet."""
        path = self.suite.tests / f"at-{name}"
        return path.read_text().split(",") if path.exists() else None

    def await_nodes(self, name: str, going: Going) -> list[str]:
        """Wait for them."""

        def there() -> bool:
            assert going.process.poll() is None, f"{name} ended: {going.wait()}"
            return self.nodes(name) is not None

        until(there, PATIENCE, f"{name} has its nodes: {going.written()}\n{self.suite.logs()}")
        return self.nodes(name) or []

    def let_go(self, *names: str) -> None:
        """They may end."""
        for name in names:
            self.suite.write(f"go-{name}", "")

    @property
    def record(self) -> dict[str, Any] | None:
        """The session's record; None: it is not kept."""
        with suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(self._record.read_bytes())
            return found
        return None

    @property
    def _record(self) -> Path:
        return self.suite.state / "pytest-capacity" / "sessions" / f"{SESSION}.json"

    def keeper(self) -> int:
        """The process that keeps the session."""
        assert self.record is not None
        return int(self.record["pid"])

    def visit(self) -> Connection:
        """Speak to the keeper as the command line does."""
        assert self.record is not None
        return Connection(self.record["socket"], "visitor", "test")

    def kept_until(self) -> float:
        """Until when it is kept, of which it is certain that it is."""
        with closing(self.visit()) as visitor:
            until_ = visitor.call(protocol.Describe(), protocol.Description).kept_until
        assert until_ is not None
        return until_

    def await_successor(self, *dead: int) -> int:
        """Wait for a keeper that is none of these and has adopted the run."""

        def there() -> bool:
            record = self.record
            return (
                record is not None and record["pid"] not in dead and self.suite.logs().count(" adopted ") >= len(dead)
            )

        until(there, PATIENCE, f"another keeper than {dead}\n{self.suite.logs()}")
        return self.keeper()

    def instances(self) -> Sequence[str]:
        """The nodes in the World."""
        return sorted(one["id"] for one in self.suite.emulator.held("instance"))


def kill(pid: int, number: int) -> None:
    """A signal; that the process is gone already is fine."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
