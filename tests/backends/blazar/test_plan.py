"""What a topology becomes, as calls: pure, so read without a cloud."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_capacity.backends.blazar import stamp
from pytest_capacity.backends.blazar.plan import flavor_fact, plan_rounds, server_body, user_data
from pytest_capacity.backends.blazar.reading import in_order_of, lease_things, server_thing
from pytest_capacity.model import NodeGroup, Order, Placement, Request, Subject, Topology

MINUTE = 60.0
#: 2026-11-21 00:00 UTC.
MIDNIGHT = 1795219200.0
DB = NodeGroup(name="db", count=2, instance_type="m1.large", market="on-demand", reserve=True, image="image")


def order_of(*groups: NodeGroup, **changes: Any) -> tuple[Request, Order]:
    """A run's first attempt in zone ``nova``."""
    topology = Topology(groups or (DB,))
    request = Request(
        backend="blazar",
        run="run-1",
        project="tests",
        topologies={"default": topology},
        regions=("RegionOne",),
        duration_s=7200,
        timeout_s=60,
    )
    order = Order(
        run="run-1",
        project="tests",
        topology=topology,
        placement=Placement("RegionOne", "nova"),
        attempt=1,
        lease_end=MIDNIGHT + 30 * MINUTE + 59,
        hard_end=MIDNIGHT + 120 * MINUTE + 59,
        facts={flavor_fact("m1.large"): "flavor-id 2 4096 40"},
    )
    return request, replace(order, **changes)


def test_rounds_are_the_lease_and_then_the_servers() -> None:
    """Servers need their group's reservation; without launch there are none."""
    request, order = order_of()
    (lease,), (nodes,) = plan_rounds(request, order)
    assert (lease.kind, nodes.kind, nodes.count) == ("lease", "node", 2)
    assert [need.key for need in nodes.needs] == ["reservation#db", "lease"]
    assert plan_rounds(request, replace(order, launch=False)) == [[lease]]
    assert plan_rounds(request, order) == [[lease], [nodes]]


def test_a_lease_ends_in_whole_minutes_and_never_late() -> None:
    """Blazar reads no seconds; a lease that cannot be extended has the hard end."""
    request, order = order_of()
    ((lease,), _) = plan_rounds(request, order)
    assert lease.spec["end_date"] == "2026-11-21 00:30"
    request, order = order_of(replace(DB, cloud={"reservation": "flavor:instance"}))
    ((lease,), _) = plan_rounds(request, order)
    assert lease.spec["end_date"] == "2026-11-21 02:00"
    assert lease.spec["reservations"][0]["flavor_id"] == "flavor-id"


def test_a_server_names_its_reservation_in_the_way_of_its_kind() -> None:
    """A whole host by a hint, an instance by its flavor, with the server group where there is one."""
    for kind, flavor, hints in (
        ("physical:host", "flavor-id", {"reservation": "res-1"}),
        ("virtual:instance", "res-1", {"group": "group-1"}),
    ):
        request, order = order_of(replace(DB, cloud={"reservation": kind}))
        _, (nodes,) = plan_rounds(request, order)
        body = server_body(replace(nodes, inputs={"reservation#db": "res-1", "lease": "lease-1"}), "group-1")
        assert (body["server"]["flavorRef"], body["os:scheduler_hints"]) == (flavor, hints)


@settings(deadline=None)  # What a loaded machine takes for one example says nothing.
@given(
    st.text(st.characters(codec="ascii", exclude_characters="|/"), min_size=1, max_size=90).filter(str.strip),
    st.text(min_size=1, max_size=90),
    st.integers(0, 9999),
)
def test_a_leases_name_fits_and_says_whose_it_is(run: str, project: str, series: int) -> None:
    """Whatever run and project are called: 80 characters, and no other run's."""
    _, order = order_of(run=run, project=project)
    subject = Subject("x" * 20, series, "z" * 13, "lease")
    name = stamp.lease_name(order, subject, "token")
    assert len(name) <= stamp.LEASE_NAME
    found = stamp.read_lease_name(name)
    assert found is not None
    assert found.subject == str(subject)
    assert found.is_of(run)
    assert not found.is_of(run + "x")


@pytest.mark.parametrize(
    "name", ["", "mine", "pc|run|project", "pc|run|project|default|mark", "pc||p|t/1/z|m", "a|b|c|t/1/z|e"]
)
def test_other_names_are_not_ours(name: str) -> None:
    """Of a lease that another user made nothing is read."""
    assert stamp.read_lease_name(name) is None


def test_reservations_are_told_apart_by_their_sizes() -> None:
    """A database may list them in any order."""
    spec = [
        {"resource_type": "virtual:instance", "amount": 2, "vcpus": 2},
        {"resource_type": "physical:host", "max": 1},
    ]
    found = [
        {"id": "b", "resource_type": "physical:host", "max": 1, "created_at": "1"},
        {"id": "a", "resource_type": "virtual:instance", "amount": 2, "vcpus": 2, "created_at": "2"},
    ]
    assert [one["id"] for one in in_order_of(found, spec)] == ["a", "b"]
    assert [one["id"] for one in in_order_of(found, ())] == ["b", "a"]


@pytest.mark.parametrize(
    ("status", "reservation", "states"),
    [
        ("PENDING", "pending", ["creating", "creating"]),
        ("ACTIVE", "active", ["ready", "ready"]),
        ("UPDATING", "active", ["ready", "ready"]),
        ("ERROR", "error", ["failed", "failed"]),
        ("DELETING", "active", ["leaving", "leaving"]),
        ("TERMINATED", "deleted", ["gone", "gone"]),
    ],
)
def test_states_of_a_lease(status: str, reservation: str, states: list[str]) -> None:
    """Of the lease, and of what it holds."""
    lease = {
        "id": "lease-1",
        "status": status,
        "start_date": "2026-11-21T00:00:00.000000",
        "end_date": "2026-11-21T00:30:00.000000",
        "reservations": [{"id": "res-1", "status": reservation, "amount": 2}],
    }
    things = lease_things(lease, "R", "default/1/nova/lease/", [("db", "m1.large")], {"res-1": ["1", "1"]})
    assert [one.state for one in things] == states
    assert {one.deadline for one in things} == {MIDNIGHT + 30 * MINUTE}
    assert (things[1].output, things[1].count, things[1].facts["hosts"]) == ("db", 2, "1 1")


def test_a_server_without_our_whole_stamp_has_no_subject() -> None:
    """So it is never released."""
    _, order = order_of()
    subject = "default/1/nova/node/db/m1.large"
    words = stamp.metadata(order, subject, "db", {"team": "x"})
    server = {"id": "1", "name": "pc-1-db-2-2", "status": "ACTIVE", "metadata": words}
    held = server_thing(server, "R")
    assert (held.subject, held.group, held.facts["name"], held.facts["instance_type"]) == (
        subject,
        "db",
        "db-1",
        "m1.large",
    )
    for key in (stamp.RUN, stamp.PROJECT, stamp.PIECE, stamp.DEADLINE):
        rest = {name: value for name, value in words.items() if name != key}
        assert server_thing({**server, "metadata": rest}, "R").subject == ""


def test_the_key_and_the_users_data_are_one_message() -> None:
    """Alone each is as it is."""
    assert user_data("#!/bin/sh\n", "") == "#!/bin/sh\n"
    assert json.loads(user_data("", "ssh-ed25519 AAAA").partition("\n")[2]) == {
        "ssh_authorized_keys": ["ssh-ed25519 AAAA"]
    }
    both = user_data("#cloud-config\npackages: [x]\n", "ssh-ed25519 AAAA")
    assert both.count("Content-Type: text/cloud-config") == 2
