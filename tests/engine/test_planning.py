"""A plan from a cloud and a journal: reads, and nothing else."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.engine.dry_run import make_plan
from pytest_capacity.errors import Refused
from pytest_capacity.journal import PassingJournal
from pytest_capacity.model import Request
from pytest_capacity.preview import Plan
from tests.emulated import IMAGE, Emulator
from tests.engine.runs import DB, Bench, request


def planned(bench: Bench, wanted: Request) -> Plan:
    """The plan of a run that has not begun."""
    return make_plan(wanted, open_backend(wanted), PassingJournal(bench.path), bench.clock)


def test_another_run_is_told_what_one_was_refused(emulator: Emulator, bench: Bench) -> None:
    """It plans to try that zone last, by no call but reads; the journal knows of no other run."""
    emulator.weather(stock={"us-east-1a": {"i4i.large": 0}})
    bench.engine(request(emulator, DB)).provision("default")
    before, calls = bench.events(), len(emulator.calls())
    plan = planned(bench, request(emulator, DB, run="run-2", prices={"i4i.large": 0.2}))
    first, last = plan.topologies["default"].rungs
    assert (first.zone, first.dry, first.price) == ("us-east-1b", (), 0.6)
    assert (last.zone, [one.code for one in last.dry]) == ("us-east-1a", ["InsufficientInstanceCapacity"])
    assert plan.account == "123456789012"
    reads = {call["operation"] for call in emulator.calls()[calls:]}
    assert "DescribeInstanceTypeOfferings" in reads
    assert all(operation.startswith(("Describe", "Get", "List")) for operation in reads), reads
    assert bench.events() == before
    assert bench.events("run-2") == []


def test_a_run_that_is_under_way_is_left_alone(emulator: Emulator, bench: Bench) -> None:
    """Its id may be the same."""
    bench.engine(request(emulator, DB)).provision("default")
    held, before = emulator.held(), bench.events()
    assert planned(bench, request(emulator, DB)).good
    assert (emulator.held(), bench.events()) == (held, before)


def test_without_a_journal_nothing_is_remembered(emulator: Emulator, bench: Bench) -> None:
    """And none is made."""
    assert planned(bench, request(emulator, DB)).good
    assert not bench.path.exists()


def test_what_refuses_a_run_refuses_its_plan(emulator: Emulator, bench: Bench) -> None:
    """Another account, a zone that is not there, credentials that do not work: in the words of the run."""
    other = request(emulator, aws=AwsSettings(image={"us-east-1": IMAGE}, account="1" * 12))
    with pytest.raises(Refused, match=r"belong to account 123456789012, but aws\.account says 111111111111"):
        planned(bench, other)
    with pytest.raises(Refused, match="zones us-east-1z are not in us-east-1"):
        planned(bench, replace(other, zones=("us-east-1z",), settings={"image": {"us-east-1": IMAGE}}))
    emulator.weather(faults=[{"operation": "GetCallerIdentity", "error": "InvalidClientTokenId"}])
    with pytest.raises(Refused, match="InvalidClientTokenId"):
        planned(bench, request(emulator))
