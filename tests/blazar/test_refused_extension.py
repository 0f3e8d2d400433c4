"""The hosts of a lease are booked next by another user, so it cannot be extended: a whole run on the real Blazar."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_capacity.allocations.web.bodies import date
from pytest_capacity.engine.leases import LEAD, LEASE
from pytest_capacity.testing import Bench
from tests.blazar.lab import BlazarLab, hosts_of, until
from tests.blazar.runs import PATIENCE, Suite
from tests.blazar.test_leases import group

MINUTE: Final = 60.0

#: An interpreter whose clock is ahead of the machine's by what the file ``ahead`` beside it says.
INTERPRETER: Final = """#!{python} -I
import pathlib, runpy, sys, time

real, ahead = time.time, pathlib.Path(__file__).with_name("ahead")
time.time = lambda: real() + float(ahead.read_text())
isolated, how, what, *sys.argv = sys.argv[1:]
sys.argv.insert(0, what)
if how == "-c":
    exec(what)
else:
    runpy.run_module(what, run_name="__main__", alter_sys=True)
"""


class Keeper:
    """The interpreter of a keeper, whose clock the test moves."""

    def __init__(self, folder: Path) -> None:
        self._ahead = folder / "ahead"
        self.python = folder / "keeper-python"
        self.set_ahead(0)
        self.python.write_text(INTERPRETER.format(python=sys.executable))
        self.python.chmod(0o755)

    def set_ahead(self, seconds: float) -> None:
        """From now on its clock is ahead by so much."""
        spare = self._ahead.with_name("ahead.new")
        spare.write_text(str(seconds))
        spare.rename(self._ahead)


def end_of(suite: Suite) -> float:
    """When our lease ends, by Blazar."""
    (lease,) = [one for one in suite.lab.openstack.leases() if one["name"].startswith("pc|")]
    return datetime.fromisoformat(lease["end_date"]).replace(tzinfo=UTC).timestamp()


def book_next(lab: BlazarLab, end: float, minutes: float = 10) -> dict[str, Any]:
    """Another user books all hosts of the zone, from some minutes after ``end`` on."""
    start = datetime.fromtimestamp(end + minutes * MINUTE, UTC).strftime("%Y-%m-%d %H:%M")
    return lab.openstack.lease(hosts_of(2, "az-a"), start=start, hours=9)


def test_tests_are_warned_and_the_release_begins_before_the_end(suite: Suite) -> None:
    """A live line, a warning of pytest's and the summary say it; by the lease's end nothing is held any more."""
    keeper = Keeper(suite.path)
    process = suite.start(f"--capacity-keeper-python={keeper.python}")
    until((suite.path / "at").exists, "a test runs", PATIENCE)
    end = end_of(suite)
    theirs = book_next(suite.lab, end)
    keeper.set_ahead(LEASE / 2 + 2 * MINUTE)
    until(lambda: suite.events("ending"), "tests are warned", PATIENCE)
    assert suite.statuses() == ["ACTIVE"], "it stands until then"
    keeper.set_ahead(LEASE - LEAD)
    until(lambda: not suite.lab.held(), "all is given back", PATIENCE)
    assert datetime.now(UTC).timestamp() < end, "Blazar, whose clock was not moved, did not end it"
    suite.let_go()
    process.wait(PATIENCE)
    until(lambda: not suite.others(), "the keeper has ended", PATIENCE)
    told, over = dict.fromkeys(event["words"] for event in suite.events("ending"))
    assert "Not enough hosts available" in told
    assert over == "this run is over: a lease that its nodes end with could not be extended"
    assert "CapacityWarning" in suite.out
    assert suite.out.count("could not be extended") >= 3, suite.out
    assert "\ncapacity: lease " in suite.out, "a live line"
    assert "\ntrouble: lease " in suite.out, "the summary"
    assert [one["id"] for one in suite.lab.openstack.leases()] == [theirs["id"]]


def test_it_is_extended_once_the_others_booking_is_gone(lab: BlazarLab, tmp_path: Path) -> None:
    """Until the end it is asked for again: then the run lasts, and Blazar and the journal agree on the end."""
    bench = Bench(lab, tmp_path / "journal.sqlite")
    engine = bench.engine(lab.request(group("db", 2, reservation="physical:host")))
    engine.provision("default")
    (lease,) = [one for one in engine.run_state.held() if one.kind == "lease"]
    assert lease.deadline is not None
    theirs = book_next(lab, lease.deadline)
    bench._clock.moved = LEASE / 2 + 2 * MINUTE
    engine.renew()
    assert engine.over_at == lease.deadline - LEAD
    assert len(engine.run_state.troubles) == 1
    assert lab.openstack.ask("DELETE", f"/v1/leases/{theirs['id']}")[0] == 204
    engine.renew()
    (now,) = [one for one in engine.run_state.held() if one.kind == "lease"]
    (shown,) = lab.openstack.leases()
    assert now.deadline == pytest.approx(lease.deadline + LEASE / 2, abs=3 * MINUTE)
    assert shown["end_date"] == date(now.deadline or 0)
    assert engine.over_at == (now.deadline or 0) - LEAD
    bench.give_back(engine)
    bench.close()
