"""What was read of a cloud, beside the journal: others' and coming reservations, what has gone, what both know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_capacity.allocations import Allocation, AllocationView, Filter, open_cloud_view
from pytest_capacity.allocations.web.reader import Reader
from pytest_capacity.errors import KeeperError
from pytest_capacity.model import Unread
from pytest_capacity.usage import CloudResource, CloudUse, ResourceKind, Usage, UseFilter
from tests.allocations.runs import HOUR, MIDNIGHT, Lab, reservation

CLOUD = Filter(cloud="blazar", terminated=False)
EVERY = Filter(cloud="blazar")
ENDED = Filter(cloud="blazar", terminated=True)


def use(reservation: str, lease: str = "lease-9", **more: Any) -> CloudUse:
    """Another user's, for an hour from midnight on."""
    wanted = {"since": MIDNIGHT, "until": MIDNIGHT + HOUR, "ends": True, "owner": "alice", **more}
    return CloudUse(reservation=reservation, lease=lease, **wanted)


def resource(id_: str, *uses: CloudUse, kind: ResourceKind = "host", region: str = "r1") -> CloudResource:
    """A host."""
    return CloudResource(id=id_, kind=kind, region=region, zone="az-a", name=f"compute-{id_}", uses=uses)


def reservations(view: AllocationView, wanted: Filter = CLOUD) -> dict[str, list[str | None]]:
    """Reservations by resource."""
    return {one.resource.id: [each.reservation for each in one.allocations] for one in view.all(wanted)}


def every(view: AllocationView, wanted: Filter = EVERY) -> list[Allocation]:
    """All allocations."""
    return [each for one in view.all(wanted) for each in one.allocations]


def test_others_and_coming_reservations_are_there(lab: Lab) -> None:
    """With whom they belong to and who says so; by the journal alone they are not."""
    coming = use("res-2", since=MIDNIGHT + 5 * HOUR, until=MIDNIGHT + 6 * HOUR, state="pending")
    with lab.view() as view:
        view.note("blazar", [resource("1", use("res-1"), coming), resource("2")], ["r1"])
        assert reservations(view) == {"1": ["res-1", "res-2"]}
        assert reservations(view, Filter(terminated=False)) == {}
        found = every(view)
        assert [(one.owner, one.run, one.source, one.seen) for one in found] == [("alice", "", "cloud", MIDNIGHT)] * 2
        assert reservations(view, Filter(cloud="blazar", start=MIDNIGHT + 2 * HOUR)) == {"1": ["res-2"]}
        assert reservations(view, Filter(cloud="blazar", end=MIDNIGHT + 2 * HOUR)) == {"1": ["res-1"]}
        assert reservations(view, Filter(cloud="aws")) == {}


def test_a_host_is_found_by_its_name_too(lab: Lab) -> None:
    """Who takes a host down knows its name; an unused resource is there where empty ones are asked for."""
    with lab.view() as view:
        view.note("blazar", [resource("1", use("res-1")), resource("2")], ["r1"])
        assert reservations(view, Filter(cloud="blazar", resource="compute-1")) == {"1": ["res-1"]}
        (free,) = view.all(Filter(cloud="blazar", resource="compute-2", empty=True))
        assert (free.resource.id, free.resource.zone, free.allocations) == ("2", "az-a", ())
        assert list(view.all(Filter(empty=True))) == []


def test_what_both_know_is_there_once(lab: Lab) -> None:
    """As the journal has it, which knows more; a host that serves two slots of a reservation has it twice."""
    lab.start("run-1", "blazar")
    facts = {"hosts": "1 1", "lease_id": "lease-1"}
    lab.create("run-1", reservation("res-1", facts=facts, deadline=MIDNIGHT + HOUR))
    both = use("res-1", "lease-1")
    with lab.view() as view:
        view.note("blazar", [resource("1", both, both, both)], ["r1"])
        found = every(view)
        assert [(one.reservation, one.source, one.group) for one in found] == [
            ("res-1", "journal", "db"),
            ("res-1", "journal", "db"),
            ("res-1", "cloud", None),
        ]
        lab.gone("run-1", reservation("res-1"))
        assert [one.source for one in every(view, CLOUD)] == ["cloud"] * 3, "the cloud has it still"
        lab.clock.at += 2 * HOUR
        assert [one.source for one in every(view, ENDED)] == ["journal", "journal", "cloud"]


def test_what_is_no_longer_there_has_ended(lab: Lab) -> None:
    """Blazar forgets the hosts of a lease that ends; the index has them, with when it was seen to be gone."""
    early, late = use("res-1"), use("res-2", until=MIDNIGHT + 9 * HOUR)
    with lab.view() as view:
        view.note("blazar", [resource("1", early, late)], ["r1"])
        lab.clock.at += 2 * HOUR
        assert reservations(view) == {"1": ["res-2"]}, "an end that the cloud keeps needs no second reading"
        view.note("blazar", [resource("1")], ["r1"])
        ends = {one.reservation: (one.ended, one.state) for one in every(view, ENDED)}
        assert ends == {"res-1": (MIDNIGHT + HOUR, "gone"), "res-2": (MIDNIGHT + 2 * HOUR, "gone")}


def test_what_was_called_off_before_it_began_never_was(lab: Lab) -> None:
    """A booking that is gone before its begin is among nothing that has ended."""
    with lab.view() as view:
        view.note("blazar", [resource("1", use("res-1", since=MIDNIGHT + HOUR, until=MIDNIGHT + 2 * HOUR))], ["r1"])
        view.note("blazar", [resource("1")], ["r1"])
        assert every(view) == []


@pytest.mark.parametrize("whole", [[], ["r2"]])
def test_what_was_not_read_has_not_ended(lab: Lab, whole: list[str]) -> None:
    """A reading that asked for a part, or of another region, ends nothing."""
    with lab.view() as view:
        view.note("blazar", [resource("1", use("res-1"))], ["r1"])
        view.note("blazar", [], whole)
        assert reservations(view) == {"1": ["res-1"]}


def test_what_has_changed_is_as_it_was_read_last(lab: Lab) -> None:
    """An end that was moved, a state, a begin."""
    with lab.view() as view:
        view.note("blazar", [resource("1", use("res-1", state="pending"))], ["r1"])
        lab.clock.at += 60
        moved = use("res-1", state="ready", since=MIDNIGHT + 1, until=MIDNIGHT + 3 * HOUR)
        view.note("blazar", [resource("1", moved)], ["r1"])
        (one,) = every(view)
        assert (one.state, one.since, one.until, one.seen) == (
            "ready",
            MIDNIGHT + 1,
            MIDNIGHT + 3 * HOUR,
            MIDNIGHT + 60,
        )
        assert one.latest_end == MIDNIGHT + 3 * HOUR


def test_a_state_alone_may_change(lab: Lab) -> None:
    """What was to come has begun when it was said to."""
    with lab.view() as view:
        for state in ("pending", "ready"):
            view.note("blazar", [resource("1", use("res-1", state=state))], ["r1"])
            assert [one.state for one in every(view)] == [state]


def test_anothers_reservation_on_a_host_of_ours_is_there(lab: Lab) -> None:
    """It is not taken for ours, which the journal has on the same host."""
    lab.start("run-1", "blazar")
    lab.create("run-1", reservation("res-1", facts={"hosts": "1", "lease_id": "lease-1"}))
    with lab.view() as view:
        view.note("blazar", [resource("1", use("res-1", "lease-1"), use("res-2"))], ["r1"])
        assert [(one.reservation, one.source) for one in every(view)] == [("res-1", "journal"), ("res-2", "cloud")]


def test_a_lease_that_has_ended_is_its_own_resource_unless_its_hosts_are_known(lab: Lab) -> None:
    """The cloud has the lease still, and not its hosts: where the index saw it on hosts, it is there already."""
    over: dict[str, Any] = {"ended": MIDNIGHT + HOUR, "state": "gone"}
    with lab.view() as view:
        view.note("blazar", [resource("1", use("res-1"))], ["r1"])
        lab.clock.at += 2 * HOUR
        leases = [resource(id_, use(id_, **over), kind="reservation") for id_ in ("res-1", "res-2")]
        for _ in range(2):
            view.note("blazar", [resource("1"), *leases], ["r1"])
        assert reservations(view, ENDED) == {"1": ["res-1"], "res-2": ["res-2"]}


def test_an_end_that_is_only_our_stamp_ends_nothing(lab: Lab) -> None:
    """A node whose stamp's deadline has passed may be renewed, or run on: until it was read again it stands."""
    with lab.view() as view:
        view.note("blazar", [resource("n-1", use("res-1", ends=False), kind="node")], ["r1"])
        lab.clock.at += 2 * HOUR
        assert reservations(view) == {"n-1": ["res-1"]}


def test_without_a_journal_the_cloud_is_there_all_the_same(tmp_path: Path) -> None:
    """Before any run, and for who runs none: no journal is made, and no index beside it."""
    with open_cloud_view(tmp_path / "journal.sqlite") as view:
        view.note("blazar", [resource("1", use("res-1", until=None))], ["r1"])
        assert reservations(view) == {"1": ["res-1"]}
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_found_by_the_stamp_that_the_cloud_shows(lab: Lab) -> None:
    """Of another machine, with another journal."""
    with lab.view() as view:
        view.note("blazar", [resource("1", use("res-1", run="run-7", project="theirs"))], ["r1"])
        (one,) = every(view, Filter(cloud="blazar", lease="run-7"))
        assert (one.lease, one.project, one.renewable_until) == ("lease-9", "theirs", None)


class OneCloud:
    """Gives the readings that a test has put into it; an exception is raised."""

    backend = "blazar"
    regions = ("r1", "r2")

    def __init__(self, *readings: Usage | Exception) -> None:
        self.readings = list(readings)

    def read(self, wanted: UseFilter) -> Usage:
        assert wanted.whole
        found = self.readings.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def test_a_reading_says_what_it_did_not_see() -> None:
    """A region that is unread is not whole; a cloud that fails leaves what was there, and says so until it works."""
    taken: list[tuple[int, list[str]]] = []
    part = Usage((resource("1"),), (Unread("r2", "host", "admins only"),))
    reader = Reader(
        OneCloud(part, KeeperError("no such cloud"), Usage(unread=(Unread("", "everything", "401"),)), Usage()),
        lambda usage, whole: taken.append((len(usage.resources), list(whole))),
    )
    faults = []
    for _ in range(4):
        reader.read()
        faults.append(reader.faults)
    assert faults == [("host in r2: admins only",), ("no such cloud",), ("everything in every region: 401",), ()]
    assert taken == [(1, ["r1"]), (0, []), (0, ["r1", "r2"])]
