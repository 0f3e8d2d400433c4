"""Machines of one's own, as a backend: for the engine like any cloud, and at the end nothing is left to remove."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from pytest_capacity.backends import missing_extra, open_backend
from pytest_capacity.backends.static.backend import StaticBackend
from pytest_capacity.engine import Engine
from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.journal import Journal
from pytest_capacity.model import Change, Held, Host, NodeGroup, Order, Piece, Placement, Request, Ssh, Topology
from tests.emulated import ROOT
from tests.engine.runs import within

NOW = 2_000_000_000.0
BIG = Host(address="db9.example.com", name="big", user="admin", port=2222)
DB = NodeGroup(
    name="db", count=3, instance_type="a big one", hosts=(Host(address="10.0.0.1"), BIG, Host(address="fe80::1"))
)
LOADER = NodeGroup(name="loader", count=1, instance_type="", hosts=(Host(address="10.0.0.9"),))


def request(*groups: NodeGroup) -> Request:
    """What a configuration with these machines comes to."""
    return Request(
        backend="static",
        run="run-1",
        project="tests",
        topologies={"default": Topology(groups or (DB, LOADER))},
        regions=("static",),
        reserve=False,
        duration_s=5400.0,
        timeout_s=60.0,
        ssh=Ssh(),
    )


def order(wanted: Request, **more: Any) -> Order:
    """What an engine makes of it."""
    made = Order(
        run=wanted.run,
        project=wanted.project,
        topology=wanted.topologies["default"],
        placement=Placement("static", "static"),
        attempt=1,
        lease_end=NOW + 1800,
        hard_end=NOW + 5400,
    )
    return replace(made, **more)


@pytest.fixture(name="backend")
def _backend() -> StaticBackend:
    return StaticBackend(request())


def taken(backend: StaticBackend) -> list[Held]:
    """All nodes of the request."""
    pieces = chain(*backend.plan(order(request())))
    return [held for piece in pieces for held in backend.create(piece)]


def test_it_needs_no_extra_and_no_sdk() -> None:
    """In an interpreter that has none."""
    script = """
import sys
sys.modules["boto3"] = sys.modules["botocore"] = None
from pytest_capacity.backends import open_backend
from tests.backends.static.test_static import request
print(open_backend(request()).whoami().account)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("static\n", "")
    assert missing_extra("static") is None
    assert open_backend(request()).name == "static"


def test_who_we_are_here_we_are_there(backend: StaticBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the machine does not know our name."""
    identity = backend.whoami()
    assert (identity.account, identity.who, identity.expires) == ("static", getpass.getuser(), None)
    assert backend.default_user == identity.who

    def nameless() -> str:
        raise OSError("no name")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert StaticBackend(request()).default_user == str(os.getuid())


def test_the_hosts_are_where_they_are(backend: StaticBackend) -> None:
    """One region with one zone, which takes everything."""
    assert backend.regions() == ["static"]
    (offer,) = backend.offers("static", request().topologies["default"])
    assert (offer.region, offer.zone, offer.ok) == ("static", "static", True)


def test_a_group_is_a_piece_and_a_host_a_node(backend: StaticBackend) -> None:
    """In the file's order, with what was said of each and nothing that was not."""
    ((db, loader),) = backend.plan(order(request()))
    assert (db.kind, db.subject, db.count) == ("node", "default/1/static/node/db", 3)
    assert (loader.group, loader.count) == ("loader", 1)
    first, big, last = backend.create(db)
    assert [held.facts["name"] for held in (first, big, last)] == ["db-0", "big", "db-2"]
    assert [held.facts["index"] for held in (first, big, last)] == ["0", "1", "2"]
    assert {(held.state, held.group, held.subject) for held in (first, big, last)} == {("ready", "db", db.subject)}
    assert (big.facts["address"], big.facts["user"], big.facts["port"]) == ("db9.example.com", "admin", "2222")
    assert (first.facts["private_ip"], first.facts["instance_type"]) == ("10.0.0.1", "a big one")
    assert not {"user", "port", "public_ip"} & set(first.facts)
    assert "instance_type" not in backend.create(loader)[0].facts


def test_ids_are_stable_and_can_name_a_file(backend: StaticBackend) -> None:
    """Of the address, and the port where that tells machines apart."""
    ids = [held.id for held in taken(backend)]
    assert ids == ["host-10.0.0.1", "host-db9.example.com-2222", "host-fe80--1", "host-10.0.0.9"]
    assert [held.id for held in taken(StaticBackend(request()))] == ids


def test_the_plan_is_pure_and_survives_the_journal(backend: StaticBackend) -> None:
    """A second keeper plans the same, and makes the same of what was written."""
    pieces = backend.plan(order(request()))
    assert pieces == StaticBackend(request()).plan(order(request()))
    again = msgspec.json.decode(msgspec.json.encode(pieces[0][0]), type=Piece)
    assert backend.create(again) == backend.create(pieces[0][0])
    assert backend.plan(order(request(), attempt=2))[0][0].subject != pieces[0][0].subject
    assert backend.plan(order(request(), launch=False)) == []


def test_what_was_let_go_is_gone_until_it_is_taken_again(backend: StaticBackend) -> None:
    """The engine's release comes to an end, and the next attempt may have the same machines."""
    nodes = taken(backend)
    assert list(backend.refresh(nodes)) == nodes
    backend.release(nodes[:1])
    backend.release(nodes[:1])
    assert [held.state for held in backend.refresh(nodes)] == ["gone", "ready", "ready", "ready"]
    assert taken(backend) == nodes
    assert list(backend.refresh(nodes)) == nodes


def test_nothing_is_left_ever(backend: StaticBackend) -> None:
    """No listing, no commands, no console; what is held is held until the run's end."""
    nodes = taken(backend)
    assert list(backend.inventory("run-1", ["static"])) == []
    assert list(backend.inventory("another", ["static"])) == []
    assert backend.by_hand(nodes) == []
    assert backend.console(nodes[0]) == ""
    assert backend.ends(nodes[0], NOW) == NOW
    assert backend.change(nodes[0], Change(deadline=NOW)).deadline == NOW
    assert not backend.leased
    assert list(backend.releasable(nodes)) == nodes


def test_no_problem_is_a_reason_to_look_elsewhere(backend: StaticBackend) -> None:
    """There is no other zone."""
    found = backend.diagnose(ValueError("odd"))
    assert (found.step, found.code, found.words) == ("stop", "ValueError", "odd")
    lost = backend.diagnose(replace(taken(backend)[0], state="gone"))
    assert (lost.step, lost.words) == ("gone", "host-10.0.0.1 was let go")


def test_for_the_engine_it_is_a_cloud_like_any(tmp_path: Path) -> None:
    """Placed in one attempt, reached as the file says, and the receipt counts no things."""
    journal = Journal(tmp_path / "journal")
    run_state = RunState(journal, "run-1", SystemClock())
    run_state.intend("run-started", data={"started": SystemClock().now(), "nonce": "n"})
    engine = Engine(request(), open_backend(request()), run_state, SystemClock())
    try:
        assert engine.open().account == "static"
        placed = engine.provision("default")
        assert {name: len(nodes) for name, nodes in placed.nodes.items()} == {"db": 3, "loader": 1}
        ways = {node.name: node.access for nodes in placed.nodes.values() for node in nodes}
        big = ways["big"]
        assert big is not None
        assert (big.address, big.user, big.port, big.key) == ("db9.example.com", "admin", 2222, None)
        engine.renew()
        receipt = engine.release(within(60))
    finally:
        engine.close()
        journal.close()
    assert (receipt.clean, receipt.left, receipt.troubles, receipt.by_hand) == (True, (), (), ())
    assert [attempt.outcome for attempt in receipt.attempts] == ["placed"]
