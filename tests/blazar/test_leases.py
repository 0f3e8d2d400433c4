"""What a topology becomes at Blazar and Nova, and what Blazar does by itself."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.allocations import Filter, open_view
from pytest_capacity.backends import open_backend
from pytest_capacity.errors import Exhausted, Refused
from pytest_capacity.model import Change, Fallback, Held, NodeGroup, Unread
from pytest_capacity.testing import Bench
from tests.blazar.lab import DB, LOADER, BlazarLab, Openstack, environment, hosts_of, until

HOUR = 3600.0


@pytest.fixture
def bench(lab: BlazarLab, tmp_path: Path) -> Iterator[Bench]:
    """Keepers of one run."""
    bench = Bench(lab, tmp_path / "journal.sqlite")
    yield bench
    bench.close()


def group(name: str, count: int = 1, **cloud: Any) -> NodeGroup:
    """A group with settings of its own."""
    return replace(LOADER, name=name, count=count, cloud=cloud)


def ours(openstack: Openstack) -> dict[str, Any]:
    """The only lease."""
    (lease,) = openstack.leases()
    return lease


def test_a_topology_is_one_lease_with_a_reservation_for_each_group(lab: BlazarLab, bench: Bench) -> None:
    """Of the kind, size and filter that the group asks for; each server sits in its group's."""
    engine = bench.engine(
        lab.request(
            group("hosts", reservation="physical:host", resource_properties='["==", "$gpu", "h200"]'), DB, LOADER
        )
    )
    placed = engine.provision("default")
    by_type: dict[str, list[Any]] = {}
    for one in ours(lab.openstack)["reservations"]:
        by_type.setdefault(one["resource_type"], []).append(one)
    (host,) = by_type["physical:host"]
    assert (host["min"], host["max"]) == (1, 1)
    assert json.loads(host["resource_properties"]) == [
        "and",
        ["==", "$availability_zone", "az-a"],
        ["==", "$gpu", "h200"],
    ]
    sizes = {(one["amount"], one["vcpus"], one["memory_mb"], one["disk_gb"]) for one in by_type["virtual:instance"]}
    assert sizes == {(2, 2, 4096, 40), (1, 1, 2048, 20)}
    ids = {one["id"]: (one["resource_type"], one.get("amount")) for one in ours(lab.openstack)["reservations"]}
    reservations = {name: {ids[node.reservation_id or ""] for node in nodes} for name, nodes in placed.nodes.items()}
    assert reservations == {
        "hosts": {("physical:host", None)},
        "db": {("virtual:instance", 2)},
        "loader": {("virtual:instance", 1)},
    }
    (on_host,) = [one for one in lab.openstack.world()["servers"] if one["host"] == "compute-1"]
    assert on_host["name"].split("-")[2] == "hosts"
    bench.give_back(engine)


@pytest.mark.parametrize(("affinity", "hosts"), [(True, 1), (False, 2)])
def test_affinity_puts_instances_on_one_host_or_on_several(
    lab: BlazarLab, bench: Bench, affinity: bool, hosts: int
) -> None:
    """By the server group that Blazar makes for the reservation."""
    engine = bench.engine(lab.request(group("db", 2, affinity=affinity)))
    engine.provision("default")
    assert len({one["host"] for one in lab.openstack.world()["servers"]}) == hosts
    bench.give_back(engine)


def test_a_group_that_is_not_reserved_gets_no_lease(lab: BlazarLab, bench: Bench) -> None:
    """Its servers go to a host that is none of Blazar's, in the zone that is tried."""
    engine = bench.engine(lab.request(replace(LOADER, reserve=False), zones=("az-free",)))
    placed = engine.provision("default")
    assert (placed.zone, placed.reservations, lab.openstack.leases()) == ("az-free", (), [])
    bench.give_back(engine)


def test_a_zone_without_hosts_of_blazars_is_not_tried(lab: BlazarLab, bench: Bench) -> None:
    """An admin reads which hosts may be reserved; it costs no attempt."""
    engine = bench.engine(lab.request(LOADER, zones=("az-free",)))
    with pytest.raises(Refused, match="Blazar has no reservable host there"):
        engine.provision("default")
    assert engine.run_state.attempts == []


def test_a_flavor_that_is_not_there_leaves_the_zone_out(lab: BlazarLab, bench: Bench) -> None:
    """And the next one of the group is tried instead, where it names one."""
    engine = bench.engine(lab.request(replace(LOADER, instance_type="m9.none", alternatives=("m1.small",))))
    placed = engine.provision("default")
    assert {node.instance_type for nodes in placed.nodes.values() for node in nodes} == {"m1.small"}
    bench.give_back(engine)


def test_not_enough_hosts_is_no_fault_of_the_server(lab: BlazarLab, bench: Bench) -> None:
    """Blazar says it with HTTP 500: each zone is asked once, and left."""
    engine = bench.engine(lab.request(group("db", 3, reservation="physical:host")))
    with pytest.raises(Exhausted):
        engine.provision("default")
    assert {one.words for one in engine.run_state.attempts} == {"Not enough hosts available"}
    assert [(one.zone, one.outcome) for one in engine.run_state.attempts] == [
        ("az-a", "no-capacity"),
        ("az-b", "no-capacity"),
    ]
    assert [call for call in lab.calls() if call == "POST /v1/leases"] == ["POST /v1/leases"] * 2


def test_the_whole_topology_moves_with_its_first_group(lab: BlazarLab, bench: Bench) -> None:
    """What fits in no zone as a whole is in none in part, and nothing is left of the first try."""
    lab.openstack.lease(hosts_of(1, "az-a"))
    engine = bench.engine(
        lab.request(group("one", reservation="physical:host"), group("two", reservation="physical:host"))
    )
    placed = engine.provision("default")
    assert {node.zone for nodes in placed.nodes.values() for node in nodes} == {"az-b"}
    assert len([one for one in lab.openstack.leases() if one["name"].startswith("pc|")]) == 1
    bench.give_back(engine)


def test_a_lease_is_extended_while_the_run_lives(lab: BlazarLab, bench: Bench) -> None:
    """One call moves the end of the lease, and with it of all its reservations; never past the hard end."""
    engine = bench.engine()
    engine.provision("default")
    backend = open_backend(engine.request)
    held = next(one for one in engine.run_state.held() if one.kind == "lease")
    moved = backend.change(held, Change(deadline=time.time() + HOUR))
    assert [call for call in lab.calls() if call.startswith("PUT /v1")] == [f"PUT /v1/leases/{held.id}"]
    assert {
        one.deadline for one in backend.refresh([one for one in engine.run_state.held() if one.kind != "node"])
    } == {moved.deadline}
    with pytest.raises(ValueError, match="cannot change"):
        backend.change(held, Change(count=1))
    bench.give_back(engine)


def test_a_refused_extension_is_lack_of_capacity_and_the_lease_stands(lab: BlazarLab, bench: Bench) -> None:
    """The hosts are booked next by another user: Blazar says so, and the old end holds."""
    engine = bench.engine(lab.request(group("db", 2, reservation="physical:host")))
    engine.provision("default")
    backend = open_backend(engine.request)
    held = next(one for one in engine.run_state.held() if one.kind == "lease")
    after = time.strftime("%Y-%m-%d %H:%M", time.gmtime((held.deadline or 0) + 600))
    lab.openstack.lease(hosts_of(2, "az-a"), start=after, hours=9)
    with pytest.raises(Exception, match="Not enough hosts available") as refusal:
        backend.change(held, Change(deadline=time.time() + 2 * HOUR))
    assert backend.diagnose(refusal.value).kind == "capacity-zone"
    (now,) = backend.refresh([held])
    assert (now.state, now.deadline) == ("ready", held.deadline)
    bench.give_back(engine)


def test_a_lease_of_a_flavor_has_the_hard_end_from_the_start(lab: BlazarLab, bench: Bench) -> None:
    """Blazar 18.0.0 cannot extend one, so none is ever asked to be."""
    engine = bench.engine(lab.request(group("db", reservation="flavor:instance"), duration_s=2 * HOUR))
    began = time.time()
    placed = engine.provision("default")
    held = next(one for one in engine.run_state.held() if one.kind == "lease")
    assert began + 2 * HOUR - 60 <= (held.deadline or 0) <= time.time() + 2 * HOUR
    assert all(node.reservation_id for nodes in placed.nodes.values() for node in nodes)
    bench.give_back(engine)


def test_the_end_of_the_lease_is_the_net(lab: BlazarLab, bench: Bench) -> None:
    """With every process of ours dead, Blazar ends the lease at its end and has the servers in it deleted."""
    engine = bench.engine()
    engine.provision("default")
    engine.stop.set()
    engine.close(wait=True)
    assert len(lab.held()) == 4
    lab.openstack.world({"ahead_s": 31 * 60})
    until(lambda: not lab.held(), "Blazar has ended it")
    (ended,) = lab.openstack.ask("GET", "/v1/leases")[1]["leases"]
    assert ended["status"] == "TERMINATED"
    backend = lab.backend(engine.request)
    assert list(backend.inventory(engine.request.run, engine.request.regions)) == []


def test_a_lease_that_cannot_be_listed_is_unread_not_empty(lab: BlazarLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """With credentials that are refused nothing is known, and nothing is said to be gone."""
    monkeypatch.setenv("OS_PASSWORD", "wrong")
    found = list(lab.backend(lab.request()).inventory("run-1", ("RegionOne",)))
    assert [type(one) for one in found] == [Unread, Unread]


@pytest.mark.parametrize(
    ("variable", "value", "kind"),
    [("OS_PASSWORD", "wrong", "auth"), ("OS_AUTH_URL", "http://127.0.0.1:1/v3", "transient")],
)
def test_what_fails_on_the_way_is_read(
    lab: BlazarLab, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, kind: str
) -> None:
    """A wrong password is one; a Keystone that does not answer is asked again."""
    monkeypatch.setenv(variable, value)
    backend = lab.backend(lab.request())
    with pytest.raises(Exception) as error:  # noqa: PT011 - whatever keystoneauth1 raises
        backend.whoami()
    assert backend.diagnose(error.value).kind == kind


def test_a_member_needs_no_rights_of_an_admin(lab: BlazarLab, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the ids of the hosts stay unknown: a run of a member is placed and released like any other."""
    for name, value in environment(lab.openstack, "demo").items():
        monkeypatch.setenv(name, value)
    engine = bench.engine()
    placed = engine.provision("default")
    assert {node.group for nodes in placed.nodes.values() for node in nodes} == {"db", "loader"}
    reservations = [one for one in engine.run_state.held() if one.kind == "reservation"]
    assert reservations
    assert not any("hosts" in one.facts for one in reservations)
    bench.give_back(engine)


def test_an_entry_of_clouds_yaml_is_used(
    lab: BlazarLab, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its password in secure.yaml; another entry is another region of the ladder."""
    variables = environment(lab.openstack)
    for name in variables:
        monkeypatch.delenv(name)
    auth = {
        "auth_url": variables["OS_AUTH_URL"],
        "username": "admin",
        "project_name": "admin",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": {"one": {"auth": auth}, "two": {"auth": auth}}}))
    secret = {"auth": {"password": variables["OS_PASSWORD"]}}
    (tmp_path / "secure.yaml").write_text(json.dumps({"clouds": {"one": secret, "two": secret}}))
    settings = {**lab.request().settings, "cloud": "one", "clouds_file": str(tmp_path / "clouds.yaml")}
    lab.weather(dry=("az-a",))
    fallback = Fallback(regions=True)
    engine = bench.engine(
        lab.request(settings=settings, regions=("RegionOne", "two/RegionOne"), zones=("az-a",), fallback=fallback)
    )
    with pytest.raises(Exhausted):
        engine.provision("default")
    assert [one.region for one in engine.run_state.attempts] == ["RegionOne", "two/RegionOne"]


def test_the_runs_key_and_the_users_data_reach_cloud_init(lab: BlazarLab) -> None:
    """Both in one message of several parts; alone each is as it is."""
    from pytest_capacity.backends.blazar.plan import user_data

    assert user_data("", "") == ""
    assert user_data("#!/bin/sh\ntrue\n", "") == "#!/bin/sh\ntrue\n"
    alone = user_data("", "ssh-ed25519 AAAA")
    assert alone.startswith("#cloud-config\n")
    assert "ssh-ed25519 AAAA" in alone
    both = user_data("#!/bin/sh\ntrue\n", "ssh-ed25519 AAAA")
    assert "Content-Type: multipart/mixed" in both
    assert base64.b64encode(b"#!/bin/sh\ntrue\n").decode().strip() in both


def test_what_is_not_ours_is_left_alone(lab: BlazarLab) -> None:
    """A lease of another user is in no listing of ours, and is not released."""
    hosts = {
        "resource_type": "physical:host",
        "min": 1,
        "max": 1,
        "hypervisor_properties": "",
        "resource_properties": "",
    }
    lease = lab.openstack.lease(hosts)
    backend = lab.backend(lab.request())
    assert list(backend.inventory("run-1", ("RegionOne",))) == []
    foreign = Held(kind="lease", id=lease["id"], region="RegionOne", zone="az-a", state="ready")
    with pytest.raises(ValueError, match="left alone"):
        backend.release([foreign])
    assert [one["id"] for one in lab.openstack.leases()] == [lease["id"]]


def test_what_has_ended_is_known_to_the_journal_only(lab: BlazarLab, bench: Bench, tmp_path: Path) -> None:
    """Blazar ignores `terminated` and forgets; the journal has the hosts still, with when it ended."""
    engine = bench.engine()
    engine.provision("default")
    reservations = {one.id for one in engine.run_state.held() if one.kind == "reservation"}
    bench.give_back(engine)
    answer = lab.openstack.ask("GET", "/v1/os-hosts/allocations?terminated=true")[1]
    assert not [one for host in answer["allocations"] for one in host["reservations"]]
    view = open_view(tmp_path / "journal.sqlite")
    assert view is not None
    with view:
        assert list(view.all(Filter(terminated=False))) == []
        ended = [one for found in view.all(Filter(terminated=True)) for one in found.allocations]
    on_hosts = {one.reservation for one in ended if one.resource.isdecimal()}
    assert on_hosts == reservations
    assert all(one.ended is not None and one.ended <= time.time() for one in ended)


def test_a_lease_of_a_flavor_is_never_extended(lab: BlazarLab, bench: Bench) -> None:
    """It has the limit of its run from the start, and no run asks Blazar to move it: releases before 18 refuse that.

    18.0.0 as it was released does move it (flavor_plugin.py, "Only supports updating lease start and end date").
    """
    engine = bench.engine(lab.request(group("db", reservation="flavor:instance"), duration_s=HOUR, limit_s=3 * HOUR))
    engine.provision("default")
    held = next(one for one in engine.run_state.held() if one.kind == "lease")
    assert time.time() + 3 * HOUR - 120 < (held.deadline or 0) <= engine.limit
    before = len(lab.calls())
    for moved in (HOUR - 60, 3 * HOUR - 60):
        bench._clock.moved = moved
        engine.extend(engine.limit)
        engine.renew()
        assert engine.over_at == engine.hard_end
    assert [call for call in lab.calls()[before:] if call.startswith("PUT /v1/leases")] == []
    backend = open_backend(engine.request)
    moved_to = backend.change(held, Change(deadline=(held.deadline or 0) + HOUR))
    assert [one.deadline for one in backend.refresh([held])] == [moved_to.deadline]
    bench.give_back(engine)


def test_blazar_refuses_to_shrink_a_lease_and_we_never_ask_it_to(lab: BlazarLab, bench: Bench) -> None:
    """Fewer instances of an active reservation are a conflict there; here no change has a count, or an earlier end."""
    engine = bench.engine(lab.request(DB))
    engine.provision("default")
    lease = ours(lab.openstack)
    (reservation,) = lease["reservations"]
    body = {"reservations": [{"id": reservation["id"], "amount": 1}]}
    status, answer = lab.openstack.ask("PUT", f"/v1/leases/{lease['id']}", body)
    assert (status, "reduce" in answer["error_message"]) == (409, True), answer
    backend = open_backend(engine.request)
    held = next(one for one in engine.run_state.held() if one.kind == "lease")
    before = len(lab.calls())
    for change in (Change(count=1), Change(count=1, deadline=time.time() + HOUR), Change(instance_type="m1.small")):
        with pytest.raises(ValueError, match="cannot change"):
            backend.change(held, change)
    with pytest.raises(ValueError, match="never ended earlier"):
        backend.change(held, Change(deadline=(held.deadline or 0) - 300))
    assert lab.calls()[before:] == []
    assert ours(lab.openstack)["reservations"][0]["amount"] == 2
    bench.give_back(engine)
