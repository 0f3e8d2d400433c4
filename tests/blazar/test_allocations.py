"""What `serve` says of a lease, and what the real Blazar says of it, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pytest_capacity.allocations.web.app import make_app
from pytest_capacity.allocations.web.guard import Guard
from pytest_capacity.backends import open_backend
from pytest_capacity.engine import Engine
from pytest_capacity.model import Change, NodeGroup
from pytest_capacity.testing import Bench
from tests.blazar.lab import DB, LOADER, BlazarLab, Openstack, environment

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

    def __init__(self, lab: BlazarLab, path: Path, engine: Engine) -> None:
        self.openstack = lab.openstack
        self.engine = engine
        guard = Guard(tokens={ADMIN: "admin", MEMBER: "member"})
        self._client = make_app(path / "journal.sqlite", guard, PORT).test_client()

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
            engine = bench.engine(lab.request(WHOLE, DB, LOADER))
            engine.provision("default")
            yield Pair(lab, path, engine)
            bench.give_back(engine)
        finally:
            bench.close()


def by_host(answer: Any, *leases: str) -> dict[str, list[dict[str, str]]]:
    """The reservations of these leases by host, in the order of their ids; hosts without any left out."""
    found = {
        one["resource_id"]: sorted(
            (each for each in one["reservations"] if each["lease_id"] in leases), key=lambda each: each["id"]
        )
        for one in answer["allocations"]
    }
    return {host: reservations for host, reservations in found.items() if reservations}


def test_the_same_leases_are_answered_alike_field_by_field(pair: Pair) -> None:
    """Every host, reservation, lease, begin and end; a host that serves two instances has the reservation twice."""
    lease, reservations = pair.ids()
    status, theirs = pair.theirs(LIST)
    assert status == 200
    expected = by_host(theirs, lease)
    assert {one["id"] for every in expected.values() for one in every} == set(reservations)
    assert sum(map(len, expected.values())) == 4  # two instances, one instance, one host
    status, ours = pair.ours(LIST)
    assert status == 200
    # A node of Nova's is a resource here, too; Blazar knows its hosts only.
    assert {host: found for host, found in by_host(ours, lease).items() if host.isdecimal()} == expected
    for host, found in expected.items():
        path = f"/v1/os-hosts/{host}/allocation"
        assert by_host({"allocations": [pair.theirs(path)[1]["allocation"]]}, lease) == {host: found}
        assert by_host({"allocations": [pair.ours(path)[1]["allocation"]]}, lease) == {host: found}


def test_filters_are_answered_alike(pair: Pair) -> None:
    """By lease, by reservation, by both, and by what is not there."""
    lease, reservations = pair.ids()
    for query in (
        f"lease_id={lease}",
        *(f"reservation_id={one}" for one in reservations),
        f"lease_id={lease}&reservation_id={reservations[0]}",
        "lease_id=does-not-exist",
        f"lease_id=does-not-exist&reservation_id={reservations[0]}",
    ):
        theirs, ours = pair.theirs(f"{LIST}?{query}")[1], pair.ours(f"{LIST}?{query}")[1]
        hosts = {host: found for host, found in by_host(ours, lease).items() if host.isdecimal()}
        assert hosts == by_host(theirs, lease), query


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
    lease, _ = pair.ids()
    before = by_host(pair.theirs(LIST)[1], lease)
    backend = open_backend(pair.engine.request)
    end = (datetime.now(UTC) + timedelta(minutes=50)).replace(second=0, microsecond=0).timestamp()
    held = next(one for one in pair.engine.run_state.held() if one.id == lease)
    backend.change(held, Change(deadline=end))
    pair.engine.run_state.note(
        "renewed", held.subject, {"kind": "lease", "region": held.region, "id": lease, "deadline": end}
    )
    after = by_host(pair.theirs(LIST)[1], lease)
    assert after != before
    ours = by_host(pair.ours(LIST)[1], lease)
    assert {host: found for host, found in ours.items() if host.isdecimal()} == after
