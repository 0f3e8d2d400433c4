"""A lease with which its nodes end, and that cannot be extended: tests are warned, and the run is over before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_capacity.engine import Engine
from pytest_capacity.engine.leases import LEAD, LEASE, ROUNDING
from pytest_capacity.model import Held
from pytest_capacity.text import moment
from tests.engine.made_up_cloud import Habits, MadeUpBench
from tests.engine.test_other_clouds import DB

LEASED = frozenset({"lease"})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[MadeUpBench]:
    """Engines over an empty made-up cloud."""
    bench = MadeUpBench(tmp_path / "journal.sqlite")
    yield bench
    bench.close()


def placed(bench: MadeUpBench, code: str, ends_nodes: frozenset[str] = LEASED) -> tuple[Engine, Held]:
    """A run that stands past half of its lease, whose extension is refused with that code."""
    habits = Habits(lease=True, leased=LEASED, ends_nodes=ends_nodes, unextended=code)
    engine = bench.engine(DB, habits=habits)
    engine.provision("default")
    bench.clock.wait(LEASE / 2 + 60)
    (lease,) = (held for held in engine.run_state.held() if held.kind == "lease")
    return engine, lease


def events(engine: Engine, kind: str) -> list[str]:
    """The words of the run's events of that kind."""
    return [entry.data["words"] for entry in engine.run_state._journal.events("run-1") if entry.kind == kind]


def test_a_refused_extension_warns_and_ends_the_run_before_the_lease(bench: MadeUpBench) -> None:
    """Once, with the cloud's words, the end, and when the release begins; it is asked for again at each look."""
    engine, lease = placed(bench, "POOL_EXHAUSTED")
    assert lease.deadline is not None
    engine.renew()
    engine.renew()
    (words,) = events(engine, "ending")
    for part in (lease.id, "the hosts are booked next", moment(lease.deadline), moment(lease.deadline - LEAD)):
        assert part in words
    assert engine.run_state.troubles == [words]
    assert bench.cloud.called("change") == 2
    assert engine.over_at == lease.deadline - LEAD < engine.hard_end
    bench.give_back()


def test_an_extension_that_comes_after_all_ends_the_warning(bench: MadeUpBench) -> None:
    """The other's booking is gone: the run lasts as long as it was to, and the user reads that."""
    engine, lease = placed(bench, "POOL_EXHAUSTED")
    engine.renew()
    engine.backend.habits.unextended = ""  # type: ignore[attr-defined]
    engine.renew()
    assert engine.over_at > (lease.deadline or 0) + LEASE / 4
    (words,) = events(engine, "changed")
    assert words.startswith(f"lease {lease.id} could be extended after all, until ")
    engine.renew()
    assert len(events(engine, "changed")) == 1
    bench.give_back()


def test_what_is_only_not_answered_is_no_refusal(bench: MadeUpBench) -> None:
    """A call that is asked again is no warning; but a lease that is never extended ends the run all the same."""
    engine, lease = placed(bench, "LOST")
    engine.renew()
    assert events(engine, "ending") == []
    assert engine.over_at == (lease.deadline or 0) - LEAD
    bench.give_back()


def test_nodes_that_outlive_a_lease_are_used_on(bench: MadeUpBench) -> None:
    """Where only the reservation ends, the user reads that it could not be extended, and the run goes on."""
    engine, _ = placed(bench, "POOL_EXHAUSTED", ends_nodes=frozenset())
    engine.renew()
    assert events(engine, "ending") == []
    assert len(engine.run_state.troubles) == 1
    assert engine.over_at == engine.hard_end
    bench.give_back()


def test_a_lease_that_reaches_the_hard_end_is_not_extended(bench: MadeUpBench) -> None:
    """A cloud that counts in minutes may end it up to one before; that is the end that was asked for."""
    engine, lease = placed(bench, "")
    engine.renew()
    key = {"kind": "lease", "region": lease.region, "id": lease.id}
    engine.run_state.note("renewed", lease.subject, {**key, "deadline": engine.hard_end - ROUNDING})
    bench.clock.wait(engine.hard_end - bench.clock.now() - LEASE / 4)
    asked = bench.cloud.called("change")
    engine.renew()
    assert bench.cloud.called("change") == asked
    assert engine.over_at == engine.hard_end
    bench.give_back()


def test_what_is_on_its_way_out_ends_nothing(bench: MadeUpBench) -> None:
    """A lease whose release the cloud has accepted has an end that no longer counts."""
    engine, lease = placed(bench, "POOL_EXHAUSTED")
    assert engine.over_at < engine.hard_end
    engine.run_state.note_releasing([lease])
    assert engine.over_at == engine.hard_end
