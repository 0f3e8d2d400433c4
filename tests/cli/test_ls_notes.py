"""The lines of `ls` below a run's row."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from pytest_capacity.cli.ls import _notes
from pytest_capacity.cli.runs import Seen, known_runs
from pytest_capacity.journal import Journal
from pytest_capacity.model import Held, Request


def seen(folder: Path, *, emulated: bool, ending: bool) -> Seen:
    """A run as its journal has it."""
    values = {"run": "run-1", "project": "p", "topologies": {}, "regions": ("r",), "duration_s": 60.0}
    wanted = Request(backend="aws", timeout_s=60.0, emulated=emulated, **values)  # type: ignore[arg-type]
    journal = Journal(folder / f"{emulated}-{ending}.sqlite")
    started = {"started": time.time(), "request": msgspec.to_builtins(wanted)}
    journal.write("run-1", "run-started", data=started)
    journal.close()
    (run,) = known_runs(str(folder / f"{emulated}-{ending}.sqlite"))
    node = {"kind": "node", "region": "r", "zone": "r-a", "state": "ready", "subject": "s"}
    held = tuple(Held(id=f"i-{number}", **node) for number in range(2))  # type: ignore[arg-type]
    return Seen(run=run, state="ending" if ending else "kept", held=held)


def test_an_emulated_run_is_called_so(tmp_path: Path) -> None:
    """It is not taken for machines that are billed."""
    told = "  EMULATED: no cloud is used, nothing is billed"
    assert list(_notes(seen(tmp_path, emulated=True, ending=False))) == [told]
    assert list(_notes(seen(tmp_path, emulated=False, ending=False))) == []


def test_a_run_that_ends_says_what_is_given_back(tmp_path: Path) -> None:
    """By the number of each kind of thing."""
    assert list(_notes(seen(tmp_path, emulated=False, ending=True))) == ["  being given back: 2 nodes"]
