"""Whole runs on the emulated OCI, by the engine: where they fall back to, what they leave, in how many calls."""

from __future__ import annotations

from typing import Any

import oci
import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.oci import listing
from pytest_capacity.backends.oci.backend import OciBackend
from pytest_capacity.backends.oci.session import COMPUTE
from pytest_capacity.errors import Exhausted, Refused
from pytest_capacity.model import Change, Fallback
from tests.backends.oci.runs import COMPARTMENT, DB, DOMAINS, FIXED, LOADER, OTHER, REGION, SETTINGS, SHAPE, request
from tests.emulated import Emulator, rounds
from tests.engine.runs import Bench, within

PHOENIX = "us-phoenix-1"
OUT = {"error": "InternalError", "message": "Out of host capacity."}


def give_back(bench: Bench, emulator: Emulator) -> None:
    """Release the last engine's run, and see that the cloud has nothing left."""
    receipt = bench.engines[-1].release(within(120))
    assert receipt.clean, receipt
    assert emulator.held() == []


def outcomes(bench: Bench) -> list[tuple[str, str]]:
    return [(one.zone, one.outcome) for one in bench.engines[-1].run_state.attempts]


@pytest.mark.parametrize(
    ("zone", "domain"),
    [("1", 0), ("AD-2", 1), ("US-ASHBURN-AD-3", 2), ("Uocm:US-ASHBURN-AD-2", 1)],
)
def test_a_domain_by_any_of_its_names(bench: Bench, emulator: Emulator, zone: str, domain: int) -> None:
    """Number, short name, name, and name with the tenancy's prefix are one domain."""
    engine = bench.engine(request(emulator, zones=(zone,)))
    assert engine.provision("default", launch=False).zone == DOMAINS[domain]
    give_back(bench, emulator)


def test_fault_domains_are_fallen_back_along(bench: Bench, emulator: Emulator) -> None:
    """A dry fault domain is left for the next one of the same availability domain; all nodes lie in it."""
    first, second = (f"{DOMAINS[0]}.FAULT-DOMAIN-{number}" for number in (1, 2))
    emulator.weather(stock={first: {"*": 0}})
    settings = replace(SETTINGS, fault_domains=("FAULT-DOMAIN-1", "FAULT-DOMAIN-2"))
    engine = bench.engine(request(emulator, settings=settings, zones=("AD-1",)))
    placed = engine.provision("default")
    assert outcomes(bench) == [(first, "no-capacity"), (second, "placed")]
    assert {node.zone for nodes in placed.nodes.values() for node in nodes} == {second}
    assert {held.facts["fault_domain"] for held in engine.run_state.held() if held.kind == "node"} == {"FAULT-DOMAIN-2"}
    give_back(bench, emulator)


def test_regions_are_fallen_back_along(bench: Bench, emulator: Emulator) -> None:
    """When every domain of a region is dry the run goes on in the next one, with a network of its own there."""
    emulator.weather(stock={domain: {"*": 0} for domain in DOMAINS})
    settings = replace(SETTINGS, image=dict.fromkeys((REGION, PHOENIX), SETTINGS.image[REGION]))
    asked = request(emulator, settings=settings, regions=(REGION, PHOENIX), zones=(), fallback=Fallback(regions=True))
    placed = bench.engine(asked).provision("default")
    assert placed.region == PHOENIX
    assert placed.zone == "Uocm:PHX-AD-1"
    assert {one["region"] for one in emulator.held()} == {PHOENIX}
    give_back(bench, emulator)


def test_preemptible_falls_back_to_on_demand(bench: Bench, emulator: Emulator) -> None:
    """Where there is no preemptible capacity the group is on-demand in the same domain, and reserved then."""
    emulator.weather(stock={DOMAINS[0]: {"spot": {"*": 0}}})
    engine = bench.engine(request(emulator, replace(DB, market="spot"), LOADER))
    placed = engine.provision("default")
    assert placed.zone == DOMAINS[0]
    assert {node.market for node in placed.nodes["db"]} == {"on-demand"}
    assert all(node.reservation_id for node in placed.nodes["db"])
    give_back(bench, emulator)


def test_preemptible_stands_beside_reserved_nodes(bench: Bench, emulator: Emulator) -> None:
    """Preemptible nodes sit in no reservation, and the others in theirs."""
    placed = bench.engine(request(emulator, replace(DB, market="spot"), LOADER)).provision("default")
    assert {node.market for node in placed.nodes["db"]} == {"spot"}
    assert [node.reservation_id for node in placed.nodes["db"]] == [None, None]
    assert placed.nodes["loader"][0].reservation_id == placed.reservations[0].id
    give_back(bench, emulator)


def test_types_are_fallen_back_along(bench: Bench, emulator: Emulator) -> None:
    """A shape that the domain has run out of is replaced by the group's alternative, in the same domain."""
    emulator.weather(stock={domain: {SHAPE: 0} for domain in DOMAINS})
    asked = request(emulator, replace(DB, alternatives=(OTHER,)), LOADER)
    placed = bench.engine(asked).provision("default")
    assert {node.instance_type for node in placed.nodes["db"]} == {OTHER}
    assert {node.instance_type for node in placed.nodes["loader"]} == {FIXED}
    give_back(bench, emulator)


def test_a_launch_that_fails_later_says_why(bench: Bench, emulator: Emulator) -> None:
    """The reason stands in the work request alone; the attempt has its code and words, and the next domain is tried."""
    emulator.weather(
        boot_s=0.2, faults=[{"cloud": "oci", "operation": "LaunchInstance", "zone": DOMAINS[0], "late": True, **OUT}]
    )
    engine = bench.engine(request(emulator))
    assert engine.provision("default").zone == DOMAINS[1]
    first = engine.run_state.attempts[0]
    assert (first.outcome, first.code, first.words) == ("no-capacity", "InternalError", "Out of host capacity.")
    give_back(bench, emulator)


def test_a_reservation_that_fails_later_says_why(bench: Bench, emulator: Emulator) -> None:
    """A reservation that was accepted and taken back is left like a dry domain."""
    fault = {"operation": "CreateComputeCapacityReservation", "zone": DOMAINS[0], "late": True, **OUT}
    emulator.weather(pending_s=0.2, faults=[fault])
    engine = bench.engine(request(emulator))
    assert engine.provision("default").zone == DOMAINS[1]
    assert engine.run_state.attempts[0].words == "Out of host capacity."
    give_back(bench, emulator)


def test_the_reason_is_found_without_the_work_requests_id(emulator: Emulator) -> None:
    """After a crash only the thing is known: its work request is looked up by it."""
    emulator.weather(
        boot_s=0.3, faults=[{"operation": "LaunchInstance", "zone": DOMAINS[0], "late": True, "times": 1, **OUT}]
    )
    asked = request(emulator, replace(DB, count=1, reserve=False))
    backend = open_backend(asked)
    pieces = [piece for some in backend.plan(_order(asked)) for piece in some]
    made: dict[str, Any] = {}
    for piece in pieces:
        ids = {need.key: made[need.subject].id for need in piece.needs}
        (held,) = backend.create(replace(piece, inputs=ids))
        made[piece.subject] = held
    (node,) = (held for held in made.values() if held.kind == "node")
    forgotten = replace(node, facts={key: value for key, value in node.facts.items() if key != "work_request"})
    now = forgotten
    while now.state == "creating":
        (now,) = backend.refresh([now])
    assert now.state == "failed"
    assert [part.message for part in now.parts] == ["Out of host capacity."]
    assert backend.diagnose(now).kind == "capacity-zone"


def _order(asked: Any) -> Any:
    from tests.backends.oci.test_plan import order

    image = {f"image/db/{SHAPE}": "ocid1.image.oc1.iad.aaaaaaaaoraclelinux96202610200"}
    return order(asked, facts=image)


@pytest.mark.parametrize(
    ("code", "message", "tried"),
    [
        ("LimitExceeded", "The following service limits were exceeded: standard-e4-core-count.", 2),
        ("LimitExceeded", "The following service limits were exceeded: standard-e4-core-regional-count.", 1),
        ("QuotaExceeded", "The following compartment quotas were exceeded: standard-e4-core-count.", 1),
    ],
)
def test_a_quota_reaches_as_far_as_it_says(
    bench: Bench, emulator: Emulator, code: str, message: str, tried: int
) -> None:
    """A limit of a domain is tried in the next one, one of the region or the compartment in no other domain."""
    fault = {"operation": "CreateComputeCapacityReservation", "error": code, "message": message}
    emulator.weather(faults=[fault])
    engine = bench.engine(request(emulator, DB))
    with pytest.raises(Exhausted, match=code):
        engine.provision("default")
    assert {outcome for _, outcome in outcomes(bench)} == {"quota"}
    assert len({zone for zone, _ in outcomes(bench)}) == tried
    give_back(bench, emulator)


def test_what_is_not_allowed_stops_the_run(bench: Bench, emulator: Emulator) -> None:
    """A refusal that another domain would not cure is not tried there, and the user reads what to allow."""
    error = {"error": "NotAuthorizedOrNotFound", "message": "Authorization failed or requested resource not found."}
    emulator.weather(faults=[{"operation": "CreateComputeCapacityReservation", **error}])
    engine = bench.engine(request(emulator))
    with pytest.raises(Refused, match="Allow CreateComputeCapacityReservation to these credentials"):
        engine.provision("default")
    assert len(emulator.calls("CreateComputeCapacityReservation")) == 1
    give_back(bench, emulator)


def test_the_sdk_repeats_nothing(bench: Bench, emulator: Emulator) -> None:
    """Out of host capacity is HTTP 500, which the SDK's own strategy would ask eight times: it is asked once."""
    emulator.weather(stock={domain: {"*": 0} for domain in DOMAINS})
    with pytest.raises(Exhausted):
        bench.engine(request(emulator)).provision("default")
    assert len(emulator.calls("CreateComputeCapacityReservation")) == 2
    give_back(bench, emulator)


@pytest.mark.parametrize("operation", ["CreateComputeCapacityReservation", "LaunchInstance"])
def test_out_of_host_capacity_is_one_call(
    bench: Bench, emulator: Emulator, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A domain that has room again by the second call is left after the first, with the SDK's switches on, too."""
    monkeypatch.setenv("OCI_SDK_DEFAULT_RETRY_ENABLED", "True")
    monkeypatch.setattr(oci.retry, "GLOBAL_RETRY_STRATEGY", oci.retry.DEFAULT_RETRY_STRATEGY)
    out = {"operation": operation, "zone": DOMAINS[0], "http": 500, "times": 1, **OUT}
    emulator.weather(faults=[{"cloud": "oci", **out}])
    bench.engine(request(emulator, replace(DB, count=1))).provision("default")
    assert outcomes(bench) == [(DOMAINS[0], "no-capacity"), (DOMAINS[1], "placed")]
    assert [(call["zone"], call["error"]) for call in emulator.calls(operation)] == [
        (DOMAINS[0], "InternalError"),
        (DOMAINS[1], None),
    ]
    give_back(bench, emulator)


def test_the_capacity_report_saves_an_attempt(bench: Bench, emulator: Emulator) -> None:
    """A domain that the report calls out of capacity is tried after the others."""
    emulator.weather(stock={DOMAINS[0]: {"*": 0}})
    bench.engine(request(emulator, settings=replace(SETTINGS, capacity_report=True))).provision("default")
    assert outcomes(bench) == [(DOMAINS[1], "placed")]
    give_back(bench, emulator)


def test_the_capacity_report_fails_open(bench: Bench, emulator: Emulator) -> None:
    """Who may not ask for the report gets the domains in the order in which they stand."""
    emulator.weather(
        stock={DOMAINS[0]: {"*": 0}},
        faults=[{"operation": "CreateComputeCapacityReport", "error": "NotAuthorizedOrNotFound", "http": 404}],
    )
    bench.engine(request(emulator, settings=replace(SETTINGS, capacity_report=True))).provision("default")
    assert outcomes(bench) == [(DOMAINS[0], "no-capacity"), (DOMAINS[1], "placed")]
    give_back(bench, emulator)


CLUSTERED = replace(DB, placement_group=True)


def test_nodes_stand_in_a_cluster_placement_group(bench: Bench, emulator: Emulator) -> None:
    """One is made in the domain that has room; nodes and reserved capacity are in it, and it goes after them."""
    emulator.weather(stock={DOMAINS[0]: {"*": 0}}, pending_s=0.2, stop_s=0.2)
    engine = bench.engine(request(emulator, CLUSTERED, LOADER))
    placed = engine.provision("default")
    assert (placed.zone, len(placed.reservations)) == (DOMAINS[1], 1)
    (cluster,) = emulator.held("cluster-placement-group")
    assert cluster["zone"] == DOMAINS[1]
    backend = open_backend(engine.request)
    assert isinstance(backend, OciBackend)
    inside = {node: clusters_of(backend, node.id) for nodes in placed.nodes.values() for node in nodes}
    assert {node.group: cluster for node, cluster in inside.items()} == {"db": cluster["id"], "loader": ""}
    assert all(node.reservation_id for node in inside)
    give_back(bench, emulator)
    deletes = [call["operation"] for call in emulator.calls() if call["operation"].startswith(("Delete", "Terminate"))]
    assert "Conflict" not in {call["error"] for call in emulator.calls()}
    last = {one: number for number, one in enumerate(deletes)}
    assert last["DeleteClusterPlacementGroup"] > last["DeleteComputeCapacityReservation"] > last["TerminateInstance"]
    assert deletes.count("DeleteClusterPlacementGroup") == 2  # One is that of the dry domain.


def clusters_of(backend: OciBackend, node: str) -> str:
    """The cluster placement group in which the cloud has a node."""
    body = backend._cloud.get(COMPUTE, REGION, "GetInstance", f"/instances/{node}").data
    return str(body.get("clusterPlacementGroupId", ""))


def test_a_cluster_placement_group_that_fails_stops_the_run(bench: Bench, emulator: Emulator) -> None:
    """Why stands in its own service's work request; another domain is not tried, and nothing is left."""
    words = {"error": "InvalidParameter", "message": "The tenancy is not enabled.", "late": True}
    emulator.weather(pending_s=0.2, faults=[{"operation": "CreateClusterPlacementGroup", **words}])
    engine = bench.engine(request(emulator, CLUSTERED))
    with pytest.raises(Refused, match="The tenancy is not enabled"):
        engine.provision("default")
    assert len(emulator.calls("CreateClusterPlacementGroup")) == 1
    give_back(bench, emulator)


def test_release_goes_from_the_nodes_to_the_network(bench: Bench, emulator: Emulator) -> None:
    """Instances; then reservation and subnet; the tables; the gateway; the VCN. No delete is refused on the way."""
    engine = bench.engine(request(emulator, settings=replace(SETTINGS, public_ip=True)))
    engine.provision("default")
    give_back(bench, emulator)
    deletes = [call for call in emulator.calls() if call["operation"].startswith(("Delete", "Terminate"))]
    assert [call["error"] for call in deletes] == [None] * len(deletes)
    first_of: dict[str, int] = {}
    for number, call in enumerate(deletes):
        first_of.setdefault(call["operation"], number)
    order = sorted(first_of, key=first_of.__getitem__)
    assert order[0] == "TerminateInstance"
    assert set(order[1:3]) == {"DeleteComputeCapacityReservation", "DeleteSubnet"}
    assert set(order[3:5]) == {"DeleteRouteTable", "DeleteSecurityList"}
    assert order[5:] == ["DeleteInternetGateway", "DeleteVcn"]


def test_public_nodes_have_two_addresses(bench: Bench, emulator: Emulator) -> None:
    """Both addresses of a node are those of its card."""
    engine = bench.engine(request(emulator, settings=replace(SETTINGS, public_ip=True)))
    placed = engine.provision("default")
    nodes = [node for some in placed.nodes.values() for node in some]
    assert all(node.private_ip and node.private_ip.startswith("10.0.0.") for node in nodes)
    assert all(node.public_ip and node.public_ip.startswith("203.0.113.") for node in nodes)
    assert sorted(node.name for node in nodes) == ["db-0", "db-1", "loader-0"]
    give_back(bench, emulator)


def test_the_reservation_counts_the_nodes_that_it_serves(bench: Bench, emulator: Emulator) -> None:
    """Each node is in it by its own word, and the reservation's count of used seats says the same: none is left."""
    engine = bench.engine(request(emulator))
    engine.provision("default", launch=False)
    backend = open_backend(engine.request)
    (reservation,) = backend.refresh([held for held in engine.run_state.held() if held.kind == "reservation"])
    assert (reservation.count, reservation.facts["available"]) == (3, "3")
    give_back(bench, emulator)
    engine = bench.engine(request(emulator, run="two"))
    placed = engine.provision("default")
    (reservation,) = backend.refresh([held for held in engine.run_state.held() if held.kind == "reservation"])
    assert (reservation.count, reservation.facts["available"]) == (3, "0")
    assert {node.reservation_id for nodes in placed.nodes.values() for node in nodes} == {reservation.id}
    give_back(bench, emulator)


def test_a_node_is_ready_when_its_reservation_counts_it(bench: Bench, emulator: Emulator) -> None:
    """The count may lag behind the launch: that is waited for, and nothing stays of it."""
    engine = bench.engine(request(emulator))
    engine.provision("default")
    nodes = [held for held in engine.run_state.held() if held.kind == "node"]
    begun = [replace(held, state="creating") for held in nodes]
    emulator.weather(own={"oci": {"count_lag_s": 3600}})
    backend = open_backend(engine.request)
    early = backend.refresh(begun)
    assert {(held.state, held.facts["uncounted"]) for held in early} == {("creating", "1")}
    assert {held.facts["uncounted"] for held in backend.refresh(early)} == {"2"}
    assert list(backend.refresh(nodes)) == nodes, "what was ready once is not counted again"
    emulator.weather(own={"oci": {"count_lag_s": 0}})
    assert list(backend.refresh(early)) == nodes
    stopped, *others = nodes
    backend.change(stopped, Change(running=False))
    begun = [replace(held, state="creating") for held in others]
    assert list(backend.refresh(begun)) == others, "one that is stopped names the reservation, and is not counted"
    give_back(bench, emulator)


def test_a_node_that_its_reservation_never_counts_is_believed(
    bench: Bench, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own field names the reservation, whose count never has it: after some looks the log says so, once a node."""
    monkeypatch.setattr(listing, "_PATIENCE", 3)
    emulator.weather(own={"oci": {"count_lag_s": 3600}})
    engine = bench.engine(request(emulator))
    engine.provision("default")
    said = [one.getMessage() for one in caplog.records if one.name == "pytest_capacity.oci"]
    nodes = [held for held in engine.run_state.held() if held.kind == "node"]
    assert sorted(said) == sorted(
        f"node {node.id} names reservation {node.facts['reservation_id']}, which counts 0 as used: fewer than name it"
        for node in nodes
    )
    give_back(bench, emulator)


def test_a_count_that_may_not_be_read_decides_nothing(bench: Bench, emulator: Emulator) -> None:
    """Without the right to list reservations a node is believed by its own field."""
    denied = {"operation": "ListComputeCapacityReservations", "error": "NotAuthorizedOrNotFound", "http": 404}
    engine = bench.engine(request(emulator))
    engine.provision("default")
    nodes = [held for held in engine.run_state.held() if held.kind == "node"]
    emulator.weather(faults=[denied], own={"oci": {"count_lag_s": 3600}})
    assert list(open_backend(engine.request).refresh([replace(held, state="creating") for held in nodes])) == nodes
    emulator.weather(faults=[])
    give_back(bench, emulator)


def test_the_run_is_in_its_compartment(bench: Bench, emulator: Emulator) -> None:
    """Whose run it is: the tenancy is the account, the compartment the place."""
    engine = bench.engine(request(emulator))
    assert engine.run_state.identity is not None
    assert engine.run_state.identity.place == COMPARTMENT
    assert engine.run_state.identity.account.startswith("ocid1.tenancy.")


def test_calls_and_rounds_of_a_run(bench: Bench, emulator: Emulator) -> None:
    """A run of three nodes with a subnet of the user's: what it costs in calls, and how few go one after the other."""
    first = bench.engine(request(emulator, run="other", settings=replace(SETTINGS, public_ip=True)))
    first.provision("default")
    subnet = next(held.id for held in first.run_state.held() if held.kind == "subnet")
    before = len(emulator.calls())
    asked = request(emulator, settings=replace(SETTINGS, subnets={REGION: subnet}))
    emulator.weather(latency_ms=1000)
    bench.engine(asked).provision("default")
    made = emulator.calls()[before:]
    counts: dict[str, int] = {}
    for call in made:
        counts[call["operation"]] = counts.get(call["operation"], 0) + 1
    assert counts.pop("ListInstances") <= 3
    assert counts.pop("ListVnicAttachments") <= 2
    assert counts.pop("ListComputeCapacityReservations", 0) <= 4  # The nodes are counted there, beside their addresses.
    assert counts == {
        "ListAvailabilityDomains": 2,  # Whose credentials these are, and the domains.
        "ListImages": 2,
        "ListShapes": 3,
        "CreateComputeCapacityReservation": 1,
        "LaunchInstance": 3,
        "GetVnic": 3,
    }
    assert rounds(made) <= 9
    emulator.weather(latency_ms=0)
    for engine in reversed(bench.engines):
        assert engine.release(within(120)).clean


def test_an_existing_reservation_is_used(bench: Bench, emulator: Emulator) -> None:
    """A reservation that the user names takes its group whole; nothing is reserved for that one."""
    other = bench.engine(request(emulator, DB, run="other"))
    other.provision("default", launch=False)
    existing = next(held.id for held in other.run_state.held() if held.kind == "reservation")
    emulator.weather(faults=[])
    engine = bench.engine(request(emulator, use_reservations=(existing,)))
    placed = engine.provision("default")
    assert {node.reservation_id for node in placed.nodes["db"]} == {existing}
    assert [one.instance_type for one in placed.reservations] == [FIXED]
    assert engine.release(within(120)).clean
    assert existing in {one["container"] for one in emulator.held("capacity-reservation")}
    assert other.release(within(120)).clean


def test_a_reservation_that_is_nowhere_is_refused(bench: Bench, emulator: Emulator) -> None:
    """A slip in an OCID would cost a second reservation: the run stops before anything is made."""
    asked = request(emulator, use_reservations=("ocid1.capacityreservation.oc1.iad.nowhere",))
    with pytest.raises(Refused, match="OCI has no such capacity reservation"):
        bench.engine(asked).provision("default")
    assert emulator.held() == []


@pytest.mark.parametrize("lost", ["LaunchInstance", "CreateVcn", "CreateSubnet", "CreateClusterPlacementGroup"])
def test_a_lost_answer_makes_one_thing(bench: Bench, emulator: Emulator, lost: str) -> None:
    """The call is asked again with its retry token, and gives what the first one made."""
    emulator.weather(faults=[{"operation": lost, "lose_reply": True, "times": 1}])
    bench.engine(request(emulator, CLUSTERED, LOADER)).provision("default")
    assert len(emulator.held("instance")) == 3
    assert {len(emulator.held(kind)) for kind in ("vcn", "subnet", "cluster-placement-group")} == {1}
    give_back(bench, emulator)


def test_too_many_calls_are_waited_out(bench: Bench, emulator: Emulator) -> None:
    """A throttled create is asked again, and is no lack of capacity."""
    error = {"error": "TooManyRequests", "message": "Too many requests for the user.", "times": 2}
    emulator.weather(faults=[{"operation": "LaunchInstance", **error}])
    assert bench.engine(request(emulator)).provision("default").zone == DOMAINS[0]
    assert outcomes(bench) == [(DOMAINS[0], "placed")]
    give_back(bench, emulator)


@pytest.mark.parametrize(
    "refused", ["DeleteSubnet", "DeleteComputeCapacityReservation", "DeleteClusterPlacementGroup", "DeleteVcn"]
)
def test_a_conflict_at_the_end_is_waited_out(bench: Bench, emulator: Emulator, refused: str) -> None:
    """Oracle lets go of a card a while after its instance: a delete that is refused for it is asked again."""
    engine = bench.engine(request(emulator, CLUSTERED, LOADER))
    engine.provision("default")
    emulator.weather(faults=[{"operation": refused, "error": "Conflict", "message": "It is in use.", "times": 2}])
    give_back(bench, emulator)
    assert len(emulator.calls(refused)) >= 3


def test_a_release_that_is_denied_is_told(bench: Bench, emulator: Emulator) -> None:
    """What may not be deleted stays in the receipt, with the command that removes it."""
    engine = bench.engine(request(emulator, replace(DB, count=1)))
    engine.provision("default")
    emulator.weather(faults=[{"operation": "TerminateInstance", "error": "NotAuthorizedOrNotFound", "http": 404}])
    receipt = engine.release(within(2))
    assert not receipt.clean
    assert "node" in {held.kind for held in receipt.left}
    assert any("oci compute instance terminate" in command for command in receipt.by_hand)
    emulator.weather(faults=[])
    give_back(bench, emulator)
