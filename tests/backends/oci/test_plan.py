"""What a plan asks of OCI: rounds, bodies in the words of the SDK's own models, tokens."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends.oci.plan import create_body, plan_rounds
from pytest_capacity.backends.oci.settings import OciSettings
from pytest_capacity.backends.pieces import PUBLIC_KEY
from pytest_capacity.model import NodeGroup, Order, Piece, Placement, Request, Share, Topology
from tests.backends.oci.models import CLUSTERS, CORE, strangers
from tests.backends.oci.runs import (
    COMPARTMENT,
    DB,
    DOMAINS,
    FIXED,
    LOADER,
    OTHER,
    REGION,
    SETTINGS,
    SHAPE,
    TENANCY,
    request,
)
from tests.emulated import Emulator

MODELS = {
    "node": "LaunchInstanceDetails",
    "reservation": "CreateComputeCapacityReservationDetails",
    "network": "CreateVcnDetails",
    "gateway": "CreateInternetGatewayDetails",
    "route-table": "CreateRouteTableDetails",
    "security-list": "CreateSecurityListDetails",
    "subnet": "CreateSubnetDetails",
    "placement-group": "CreateClusterPlacementGroupDetails",
}
FACTS = {f"image/{group}/{shape}": "ocid1.image.oc1.iad.aaaa" for group in ("db", "loader") for shape in (SHAPE, FIXED)}
SUBNET = "ocid1.subnet.oc1.iad.aaaa"


class _Nowhere:
    """What `request` needs of an emulator, where nothing is called."""

    url = "http://127.0.0.1:9"


def wanted(*groups: NodeGroup, settings: OciSettings = SETTINGS, **changes: Any) -> Request:
    nowhere: Any = _Nowhere()
    emulator: Emulator = nowhere
    return request(emulator, *groups, settings=settings, **changes)


def order(asked: Request, zone: str = DOMAINS[0], **changes: Any) -> Order:
    given: dict[str, Any] = {
        "run": asked.run,
        "project": asked.project,
        "topology": asked.topologies["default"],
        "placement": Placement(REGION, zone),
        "attempt": 1,
        "lease_end": 1_900_000_000.0,
        "hard_end": 1_900_003_600.0,
        "nonce": "n",
        "facts": FACTS,
    }
    return Order(**{**given, **changes})


def plan(asked: Request, **changes: Any) -> list[list[Piece]]:
    return plan_rounds(asked, order(asked, **changes))


def of_kind(rounds: list[list[Piece]], kind: str) -> list[Piece]:
    return [piece for pieces in rounds for piece in pieces if piece.kind == kind]


def body(piece: Piece) -> dict[str, Any]:
    """The body with an id for each thing that the piece needs."""
    return create_body(
        replace(piece, inputs={need.key: f"ocid1.{need.kind}.oc1.iad.a" for need in piece.needs}), TENANCY
    )


def faults_of(piece: Piece) -> list[str]:
    """What the SDK's model of the call has against the body of a piece."""
    modules = CLUSTERS if piece.kind == "placement-group" else CORE
    return list(strangers(MODELS[piece.kind], body(piece), modules))


def test_rounds_of_a_network_with_a_way_out() -> None:
    """The reservation goes beside the network, which is four rounds with a gateway; nodes are the last."""
    rounds = plan(wanted(settings=replace(SETTINGS, public_ip=True)))
    assert [sorted(piece.kind for piece in pieces) for pieces in rounds] == [
        ["network", "reservation"],
        ["gateway", "security-list"],
        ["route-table"],
        ["subnet"],
        ["node", "node", "node"],
    ]


def test_rounds_of_a_closed_network() -> None:
    """Without public addresses there is neither gateway nor route table."""
    rounds = plan(wanted())
    assert [sorted(piece.kind for piece in pieces) for pieces in rounds] == [
        ["network", "reservation"],
        ["security-list"],
        ["subnet"],
        ["node", "node", "node"],
    ]


@pytest.mark.parametrize("place", [REGION, DOMAINS[0], "US-ASHBURN-AD-1"])
def test_a_named_subnet_is_used(place: str) -> None:
    """A subnet of the region or of the domain, by its full or its short name, takes the place of a network of ours."""
    rounds = plan(wanted(settings=replace(SETTINGS, subnets={place: SUBNET})))
    assert [sorted({piece.kind for piece in pieces}) for pieces in rounds] == [["reservation"], ["node"]]
    assert {body(piece)["createVnicDetails"]["subnetId"] for piece in of_kind(rounds, "node")} == {SUBNET}


@pytest.mark.parametrize("market", ["on-demand", "spot"])
@pytest.mark.parametrize("public", [True, False])
def test_every_body_is_the_sdks_own(market: Any, public: bool) -> None:
    """Each body has only keys of the SDK's model, of its types, and all that the model requires."""
    settings = replace(
        SETTINGS,
        public_ip=public,
        boot_volume_gb=100,
        tags={"team": "storage"},
        defined_tags={"SCT": {"TestId": "1"}},
        network_security_groups={REGION: ("ocid1.networksecuritygroup.oc1.iad.a",)},
        fault_domains=("FAULT-DOMAIN-1",),
    )
    asked = wanted(replace(DB, market=market, user_data="#!/bin/sh\ntrue\n"), LOADER, settings=settings)
    zone = f"{DOMAINS[0]}.FAULT-DOMAIN-1"
    rounds = plan(asked, placement=Placement(REGION, zone), facts={**FACTS, PUBLIC_KEY: "ssh-ed25519 AAAA"})
    faults = [fault for pieces in rounds for piece in pieces for fault in faults_of(piece)]
    assert faults == []
    bodies = [body(piece) for pieces in rounds for piece in pieces]
    assert [one["definedTags"] for one in bodies] == [{"SCT": {"TestId": "1"}}] * len(bodies)
    assert {one["freeformTags"]["team"] for one in bodies} == {"storage"}
    nodes = [body(node) for node in of_kind(rounds, "node")]
    assert {node["sourceDetails"]["bootVolumeSizeInGBs"] for node in nodes} == {100}
    assert [node["createVnicDetails"]["nsgIds"] for node in nodes] == [["ocid1.networksecuritygroup.oc1.iad.a"]] * 3


def test_a_reservation_has_one_configuration_a_shape() -> None:
    """Groups of one shape and size share a configuration; all are in one reservation, which is no default one."""
    third = replace(LOADER, name="monitor", count=2, instance_type=SHAPE)
    (piece,) = of_kind(plan(wanted(DB, LOADER, third)), "reservation")
    configs = body(piece)["instanceReservationConfigs"]
    assert configs == [
        {"instanceShape": SHAPE, "reservedCount": 4, "instanceShapeConfig": {"ocpus": 4.0, "memoryInGBs": 64.0}},
        {"instanceShape": FIXED, "reservedCount": 1},
    ]
    assert body(piece)["isDefaultReservation"] is False
    assert piece.count == 5


def test_sizes_of_a_group_make_a_reservation_of_their_own() -> None:
    """The same shape with other OCPUs is another reservation: a later count of that shape would not say which."""
    small = replace(DB, name="small", count=1, cloud={"ocpus": 1.0, "memory_gb": 8.0})
    pieces = of_kind(plan(wanted(DB, small, LOADER)), "reservation")
    sizes = [[one.get("instanceShapeConfig", {}).get("ocpus") for one in configs_of(piece)] for piece in pieces]
    assert sizes == [[1.0], [4.0], [None]]


def test_a_fault_domain_is_in_reservation_and_launch() -> None:
    """A configuration with a fault domain serves only launches that name it, so both do."""
    rounds = plan(wanted(), placement=Placement(REGION, f"{DOMAINS[0]}.FAULT-DOMAIN-2"))
    (reservation,) = of_kind(rounds, "reservation")
    assert {one["faultDomain"] for one in body(reservation)["instanceReservationConfigs"]} == {"FAULT-DOMAIN-2"}
    assert {body(node)["faultDomain"] for node in of_kind(rounds, "node")} == {"FAULT-DOMAIN-2"}
    assert {body(node)["availabilityDomain"] for node in of_kind(rounds, "node")} == {DOMAINS[0]}


CLUSTERED = replace(DB, placement_group=True)


def test_a_cluster_placement_group_is_made_first() -> None:
    """Its reservation names it, so that comes after it, beside the network; both domains and nodes agree on it."""
    rounds = plan(wanted(CLUSTERED, LOADER))
    assert [sorted(piece.kind for piece in pieces) for pieces in rounds] == [
        ["network", "placement-group"],
        ["reservation", "security-list"],
        ["subnet"],
        ["node", "node", "node"],
    ]
    (group,) = of_kind(rounds, "placement-group")
    assert faults_of(group) == []
    assert body(group)["availabilityDomain"] == DOMAINS[0]
    assert body(group)["compartmentId"] == COMPARTMENT
    assert body(group)["freeformTags"]["pytest-capacity:piece"] == group.subject
    (reservation,) = of_kind(rounds, "reservation")
    assert faults_of(reservation) == []
    named = {one["instanceShape"]: one.get("clusterPlacementGroupId") for one in configs_of(reservation)}
    assert named == {SHAPE: "ocid1.placement-group.oc1.iad.a", FIXED: None}
    nodes = {node.group: body(node).get("clusterPlacementGroupId") for node in of_kind(rounds, "node")}
    assert nodes == {"db": "ocid1.placement-group.oc1.iad.a", "loader": None}


def configs_of(piece: Piece) -> list[dict[str, Any]]:
    configs: list[dict[str, Any]] = body(piece)["instanceReservationConfigs"]
    return configs


def test_one_shape_inside_and_outside_of_a_cluster_is_two_configurations() -> None:
    """Capacity inside of a cluster placement group serves only launches into it."""
    beside = replace(DB, name="beside", count=1)
    reservations = of_kind(plan(wanted(CLUSTERED, beside)), "reservation")
    configs = [config for reservation in reservations for config in configs_of(reservation)]
    inside = {one.get("clusterPlacementGroupId"): one["reservedCount"] for one in configs}
    assert inside == {"ocid1.placement-group.oc1.iad.a": 2, None: 1}


def test_each_attempt_has_a_cluster_of_its_own() -> None:
    """By name, too; all groups of an attempt that want one are in the same."""
    other = replace(LOADER, placement_group=True)
    asked = wanted(CLUSTERED, other)
    (first,) = of_kind(plan(asked), "placement-group")
    (second,) = of_kind(plan(asked, attempt=2), "placement-group")
    assert first.groups == ("db", "loader")
    assert body(first)["name"] != body(second)["name"]
    assert body(first)["name"].startswith("run-1-default-")


def test_a_cluster_placement_group_that_is_named_is_used() -> None:
    """None is made; reservation and nodes name the user's."""
    named = "ocid1.clusterplacementgroup.oc1.iad.mine"
    rounds = plan(wanted(CLUSTERED, settings=replace(SETTINGS, cluster_placement_group=named)))
    assert not of_kind(rounds, "placement-group")
    (reservation,) = of_kind(rounds, "reservation")
    assert [one["clusterPlacementGroupId"] for one in configs_of(reservation)] == [named]
    assert {body(node)["clusterPlacementGroupId"] for node in of_kind(rounds, "node")} == {named}


@pytest.mark.parametrize(
    ("reserve", "launch", "kinds"),
    [
        (True, False, [["placement-group"], ["reservation"]]),
        (False, False, []),
        (False, True, [["placement-group"], ["node"]]),
    ],
)
def test_a_cluster_without_nodes_or_reservation(reserve: bool, launch: bool, kinds: list[list[str]]) -> None:
    """It is made where something goes into it, and only there."""
    asked = wanted(replace(CLUSTERED, reserve=reserve), settings=replace(SETTINGS, subnets={REGION: SUBNET}))
    rounds = plan(asked, launch=launch)
    assert [sorted({piece.kind for piece in pieces}) for pieces in rounds] == kinds


def test_a_node_without_reservation_says_so() -> None:
    """The empty id keeps a launch off default reservations; a reserved one is aimed at ours."""
    free = {piece.group: body(piece) for piece in of_kind(plan(wanted(DB, replace(LOADER, reserve=False))), "node")}
    assert free["loader"]["capacityReservationId"] == ""
    assert free["db"]["capacityReservationId"] == "ocid1.reservation.oc1.iad.a"


def test_a_spot_node_is_preemptible_and_reserves_nothing() -> None:
    """It is terminated with its disk when it is taken back."""
    rounds = plan(wanted(replace(DB, market="spot")))
    assert not of_kind(rounds, "reservation")
    assert body(of_kind(rounds, "node")[0])["preemptibleInstanceConfig"] == {
        "preemptionAction": {"type": "TERMINATE", "preserveBootVolume": False}
    }


def test_options_of_the_agent_are_left_alone() -> None:
    """What Oracle has as a default of its agent and of shielded instances, we do not say."""
    (first, *_) = of_kind(plan(wanted()), "node")
    assert not {"agentConfig", "platformConfig", "launchOptions", "instanceOptions"} & body(first).keys()


def test_metadata_has_key_and_user_data() -> None:
    """The public half of the run's key, and the user's own user data in base64."""
    asked = wanted(replace(DB, user_data="#!/bin/sh\ntrue\n"))
    node = of_kind(plan(asked, facts={**FACTS, PUBLIC_KEY: "ssh-ed25519 AAAA"}), "node")[0]
    metadata = body(node)["metadata"]
    assert metadata["ssh_authorized_keys"] == "ssh-ed25519 AAAA"
    assert base64.b64decode(metadata["user_data"]) == b"#!/bin/sh\ntrue\n"


def test_each_node_is_a_call_with_a_token_of_its_own() -> None:
    """Two nodes of a group differ in subject, name and token, and the same order plans the same pieces."""
    asked = wanted()
    nodes = of_kind(plan(asked), "node")
    assert len({piece.token for piece in nodes}) == len({piece.subject for piece in nodes}) == 3
    assert len({body(piece)["displayName"] for piece in nodes}) == 3
    assert plan(asked) == plan(asked)
    assert all(len(piece.token) <= 64 for piece in nodes)


def test_compartment_of_the_request_or_the_root() -> None:
    """Every body names the compartment: that of the settings, else the tenancy."""
    assert {body(piece)["compartmentId"] for pieces in plan(wanted()) for piece in pieces} == {COMPARTMENT}
    bare = wanted(settings=replace(SETTINGS, compartment=None))
    assert {body(piece)["compartmentId"] for pieces in plan(bare) for piece in pieces} == {TENANCY}


def test_shares_have_a_reservation_each_and_one_network() -> None:
    """Spread over two domains, each has its reservation; nodes are numbered on; the network is the region's."""
    asked = wanted(replace(DB, count=3), colocate="region")
    shares = (Share(DOMAINS[0], {"db": 2}, FACTS), Share(DOMAINS[1], {"db": 1}, FACTS))
    rounds = plan(asked, placement=Placement(REGION, DOMAINS[0], DOMAINS[:2]), shares=shares)
    assert [piece.zone for piece in of_kind(rounds, "reservation")] == list(DOMAINS[:2])
    assert [piece.subject.rpartition("/")[2] for piece in of_kind(rounds, "node")] == ["0", "1", "2"]
    assert len(of_kind(rounds, "network")) == 1
    assert (
        len({need.subject for piece in of_kind(rounds, "node") for need in piece.needs if need.kind == "subnet"}) == 1
    )


def test_a_moved_group_has_a_reservation_of_its_own() -> None:
    """What stands for others is not made larger for a group that has moved to another type."""
    asked = wanted(DB, LOADER)
    moved = Topology((replace(DB, instance_type=FIXED), LOADER))
    pieces = of_kind(plan(asked, topology=moved), "reservation")
    assert sorted(piece.subject.split("/", 4)[4] for piece in pieces) == [f"{FIXED}/db", "all"]


def test_shapes_that_may_be_replaced_have_a_reservation_each() -> None:
    """A refusal does not say which configuration it was for, so the one that was refused has to stand alone."""
    pieces = of_kind(plan(wanted(replace(DB, alternatives=(OTHER,)), LOADER)), "reservation")
    assert sorted((piece.instance_type, piece.count) for piece in pieces) == [(SHAPE, 2), (FIXED, 1)]


def test_stamp_fits_the_limit_of_tags() -> None:
    """Eight free-form tags are ours, of ten that OCI takes."""
    (piece,) = of_kind(plan(wanted(DB, settings=replace(SETTINGS, tags={"a": "1", "b": "2"}))), "reservation")
    tags = body(piece)["freeformTags"]
    assert len(tags) == 10
    assert all(len(key) <= 100 and len(value) <= 256 for key, value in tags.items())
