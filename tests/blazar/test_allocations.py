"""What `serve` says of a lease, and what the real Blazar says of it, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pytest_capacity.allocations.web.app import make_app
from pytest_capacity.allocations.web.guard import Guard
from pytest_capacity.cli.cloud import Cloud
from pytest_capacity.engine import Engine
from pytest_capacity.engine.leases import LEASE
from pytest_capacity.keeper.spawn import SpawnOptions
from pytest_capacity.model import NodeGroup
from pytest_capacity.testing import Bench
from tests.blazar.lab import DB, LOADER, BlazarLab, Openstack, environment, hosts_of

PORT = 7777
ADMIN = "admin-token-of-this-test"
MEMBER = "member-token-of-this-test"
LIST = "/v1/os-hosts/allocations"

WHOLE = NodeGroup(
    name="whole",
    count=1,
    instance_type="m1.large",
    market="on-demand",
    reserve=True,
    cloud={"reservation": "physical:host"},
)


class Pair:
    """A run on the real Blazar, and both who can be asked about it."""

    def __init__(self, lab: BlazarLab, path: Path, engine: Engine, bench: Bench) -> None:
        self.openstack = lab.openstack
        self.engine = engine
        self.bench = bench
        #: Of others: one that stands, and one to come.
        self.others = [self.openstack.lease(hosts_of(1, "az-b")), self._coming()]
        guard = Guard(tokens={ADMIN: "admin", MEMBER: "member"})
        cloud = Cloud(engine.request, SpawnOptions())
        self._client = make_app(path / "journal.sqlite", guard, PORT, cloud=cloud).test_client()

    def _coming(self) -> dict[str, Any]:
        start = (datetime.now(UTC) + timedelta(hours=5)).strftime("%Y-%m-%d %H:%M")
        return self.openstack.lease(hosts_of(2, "az-a"), start=start, hours=9)

    def ours(self, path: str, user: str | None = "admin") -> tuple[int, Any]:
        """Status and answer of `serve`."""
        token = {"admin": ADMIN, "demo": MEMBER}.get(user or "", user or "")
        headers = {"Host": f"127.0.0.1:{PORT}", **({"X-Auth-Token": token} if token else {})}
        answer = self._client.get(path, headers=headers)
        return answer.status_code, answer.json

    def theirs(self, path: str, user: str | None = "admin") -> tuple[int, Any]:
        """Those of Blazar."""
        return self.openstack.ask("GET", path, user=user)

    def ids(self) -> tuple[str, list[str]]:
        """The run's lease, and its reservations."""
        held = self.engine.run_state.held()
        (lease,) = [one.id for one in held if one.kind == "lease"]
        return lease, [one.id for one in held if one.kind == "reservation"]


@pytest.fixture(scope="module")
def pair(_openstack: Openstack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A run that stands: instances for two groups, a whole host for a third. The tests of this file only look at it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(_openstack).items():
            patch.setenv(name, value)
        _openstack.clear()
        lab, path = BlazarLab(_openstack), tmp_path_factory.mktemp("pair")
        bench = Bench(lab, path / "journal.sqlite")
        try:
            engine = bench.engine(lab.request(WHOLE, DB, LOADER, zones=("az-a",)))
            engine.provision("default")
            yield Pair(lab, path, engine, bench)
            bench.give_back(engine)
        finally:
            bench.close()


def by_host(answer: Any) -> dict[str, list[dict[str, str]]]:
    """The reservations of each of Blazar's hosts, in the order of their ids; its own order is that of no column."""
    return {
        one["resource_id"]: sorted(one["reservations"], key=lambda each: (each["id"], each["start_date"]))
        for one in answer["allocations"]
        if one["resource_id"].isdecimal()
    }


def test_the_same_leases_are_answered_alike_field_by_field(pair: Pair) -> None:
    """Every host of the cloud, an unused one too; of the run, of others, and what is to come: each field."""
    lease, reservations = pair.ids()
    status, theirs = pair.theirs(LIST)
    assert status == 200
    expected = by_host(theirs)
    every = [one for found in expected.values() for one in found]
    assert {one["id"] for one in every if one["lease_id"] == lease} == set(reservations)
    assert {one["lease_id"] for one in every} == {lease, *(other["id"] for other in pair.others)}
    # Of the run two instances, one instance and one host: a host that serves two has the reservation twice.
    assert [one["lease_id"] for one in every].count(lease) == 4
    assert [] in expected.values()
    status, ours = pair.ours(LIST)
    assert status == 200
    assert by_host(ours) == expected
    for host, found in expected.items():
        path = f"/v1/os-hosts/{host}/allocation"
        assert by_host({"allocations": [pair.theirs(path)[1]["allocation"]]}) == {host: found}
        assert by_host({"allocations": [pair.ours(path)[1]["allocation"]]}) == {host: found}


def test_filters_are_answered_alike(pair: Pair) -> None:
    """By lease, by reservation, by both, and by what is not there."""
    lease, reservations = pair.ids()
    coming = pair.others[1]
    for query in (
        f"lease_id={lease}",
        f"lease_id={coming['id']}",
        *(f"reservation_id={one}" for one in reservations),
        f"reservation_id={coming['reservations'][0]['id']}",
        f"lease_id={lease}&reservation_id={reservations[0]}",
        f"lease_id={lease}&reservation_id={coming['reservations'][0]['id']}",
        "lease_id=does-not-exist",
        f"lease_id=does-not-exist&reservation_id={reservations[0]}",
    ):
        theirs, ours = pair.theirs(f"{LIST}?{query}"), pair.ours(f"{LIST}?{query}")
        assert (theirs[0], ours[0]) == (200, 200)
        assert by_host(ours[1]) == by_host(theirs[1]), query


@pytest.mark.parametrize(
    ("path", "user"),
    [
        (LIST, None),
        (LIST, "demo"),
        ("/v1/os-hosts/1/allocation", None),
        ("/v1/os-hosts/1/allocations", "admin"),
        ("/v1/os-hosts/99/allocation", "admin"),
    ],
)
def test_errors_are_answered_alike(pair: Pair, path: str, user: str | None) -> None:
    """Status and body, in each of Blazar's three shapes."""
    assert pair.ours(path, user) == pair.theirs(path, user)


def test_a_renewed_lease_is_answered_alike(pair: Pair) -> None:
    """The end that the keeper moved is the end that Blazar has, without another look at the cloud."""
    before = by_host(pair.theirs(LIST)[1])
    pair.bench._clock.moved = LEASE / 2 + 60
    pair.engine.renew()
    after = by_host(pair.theirs(LIST)[1])
    assert after != before
    assert by_host(pair.ours(LIST)[1]) == after


def test_the_page_shows_others_and_whose_they_are(pair: Pair) -> None:
    """As the REST API does, for people: with the name of the host, and the name of the lease."""
    host = {"Host": f"127.0.0.1:{PORT}", "X-Auth-Token": ADMIN}
    text = pair._client.get("/", headers=host).text
    for words in (*(other["id"] for other in pair.others), "compute-1", "another&#39;s, project", "pending"):
        assert words in text
    assert "Not read" not in text
