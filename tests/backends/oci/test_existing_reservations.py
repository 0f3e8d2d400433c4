"""Reservations that the user named: which group they serve where, why others are not used, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends.oci.backend import OciBackend
from pytest_capacity.backends.oci.session import COMPUTE
from pytest_capacity.errors import Refused
from pytest_capacity.model import Fallback, NodeGroup, Offer, Request, Topology
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
from tests.backends.oci.test_backend import opened
from tests.emulated import Emulator
from tests.engine.runs import Bench, within

SIZE = {"ocpus": 4.0, "memoryInGBs": 64.0}
CLUSTER = "ocid1.clusterplacementgroup.oc1.iad.mine"


def existing(emulator: Emulator, *configs: dict[str, Any], domain: str = DOMAINS[0]) -> str:
    """A reservation that is the user's; its OCID."""
    backend = opened(request(emulator))
    body = {"compartmentId": COMPARTMENT, "availabilityDomain": domain, "instanceReservationConfigs": list(configs)}
    path = "/computeCapacityReservations"
    made = backend._cloud.call(COMPUTE, REGION, "CreateComputeCapacityReservation", "POST", path, body=body)
    return str(made.data["id"])


def config(shape: str = SHAPE, count: int = 2, **more: Any) -> dict[str, Any]:
    size = {"instanceShapeConfig": SIZE} if shape.endswith(".Flex") else {}
    return {"instanceShape": shape, "reservedCount": count, **size, **more}


def asked_for(emulator: Emulator, id_: str, *groups: NodeGroup, **changes: Any) -> tuple[OciBackend, Request]:
    asked = request(emulator, *groups, use_reservations=(id_,), **changes)
    return opened(asked), asked


def offered(backend: OciBackend, asked: Request) -> list[Offer]:
    return list(backend.offers(REGION, asked.topologies["default"]))


def test_it_serves_where_it_is(emulator: Emulator) -> None:
    """The offer of its domain says which group it serves as which shape, the others why it is not used there."""
    id_ = existing(emulator, config(), config(FIXED, 1), domain=DOMAINS[1])
    first, second, third = offered(*asked_for(emulator, id_, DB, LOADER))
    assert second.serves == {id_: (("db", SHAPE), ("loader", FIXED))}
    assert (second.preferred, second.unused) == (True, {})
    for other in (first, third):
        assert (other.serves, other.unused, other.preferred) == ({}, {id_: f"it is in {DOMAINS[1]}"}, False)


@pytest.mark.parametrize(
    ("configs", "group", "words"),
    [
        ([config(count=1)], DB, "1 of 1 are free, and db needs 2"),
        ([config(faultDomain="FAULT-DOMAIN-3")], DB, "it is for FAULT-DOMAIN-3, and the nodes are in any fault domain"),
    ],
)
def test_one_that_has_no_room_says_so(
    emulator: Emulator, configs: list[dict[str, Any]], group: NodeGroup, words: str
) -> None:
    """It may serve another time, so it is told and not refused."""
    id_ = existing(emulator, *configs)
    assert offered(*asked_for(emulator, id_, group))[0].unused == {id_: words}


def test_one_for_spot_serves_when_it_is_on_demand(emulator: Emulator) -> None:
    """Spot uses none; where it may become on-demand, the reservation is there for that."""
    id_ = existing(emulator, config())
    (first, *_) = offered(*asked_for(emulator, id_, replace(DB, market="spot")))
    assert first.serves == {id_: (("db", SHAPE),)}


@pytest.mark.parametrize(
    ("configs", "group", "changes", "words"),
    [
        ([config(FIXED)], DB, {}, f"db is {SHAPE}"),
        ([config(instanceShapeConfig={"ocpus": 2.0, "memoryInGBs": 64.0})], DB, {}, "db has 4 OCPUs and 64 GB, and it"),
        ([config()], replace(DB, reserve=False), {}, "db has `reserve: false`"),
        ([config()], replace(DB, placement_group=True), {}, "db has a cluster placement group of its own"),
        ([config()], DB, {"zones": ("AD-2",)}, f"it is in {DOMAINS[0]}, and `zones` are AD-2"),
        (
            [config()],
            replace(DB, market="spot"),
            {"fallback": Fallback(spot_to_on_demand=False)},
            "db is spot, which uses no reservation",
        ),
        (
            [config()],
            replace(DB, placement_group=True),
            {"settings": replace(SETTINGS, cluster_placement_group=CLUSTER)},
            f"it is in no cluster placement group, and db in {CLUSTER}",
        ),
        ([], DB, {}, "it has no configuration"),
        (
            [config()],
            DB,
            {"settings": replace(SETTINGS, compartment=None)},
            f"it is in compartment {COMPARTMENT}, and the nodes are in {TENANCY}",
        ),
    ],
)
def test_one_that_nothing_can_use_is_refused(
    emulator: Emulator, configs: list[dict[str, Any]], group: NodeGroup, changes: dict[str, Any], words: str
) -> None:
    """Another one would be paid for beside it: nothing is created, and the refusal says what does not fit."""
    id_ = existing(emulator, *configs)
    before = len(emulator.held())
    with pytest.raises(Refused, match="which no node of this run in us-ashburn-1 can use") as refused:
        offered(*asked_for(emulator, id_, group, **changes))
    assert words in str(refused.value)
    assert id_ in str(refused.value)
    assert len(emulator.held()) == before


def test_one_that_is_deleted_is_refused(emulator: Emulator) -> None:
    """Oracle lists it for a while."""
    id_ = existing(emulator, config())
    opened(request(emulator))._cloud.call(
        COMPUTE, REGION, "DeleteComputeCapacityReservation", "DELETE", f"/computeCapacityReservations/{id_}"
    )
    with pytest.raises(Refused, match="it is DELETED"):
        offered(*asked_for(emulator, id_, DB))


def test_one_of_another_topology_is_not_spoken_of(emulator: Emulator) -> None:
    """It serves a group of the other one, so it is neither refused nor told to be unused."""
    id_ = existing(emulator, config(FIXED))
    topologies = {"default": Topology((DB,)), "other": Topology((replace(LOADER, count=2),), "other")}
    backend, asked = asked_for(emulator, id_, topologies=topologies)
    assert {offer.zone: dict(offer.unused) for offer in offered(backend, asked)} == {domain: {} for domain in DOMAINS}
    (first, *_) = backend.offers(REGION, asked.topologies["other"])
    assert first.serves == {id_: (("loader", FIXED),)}


def test_an_alternative_may_use_it(emulator: Emulator) -> None:
    """A reservation of the second shape serves the group once it has fallen back to that."""
    id_ = existing(emulator, config(OTHER))
    (first, *_) = offered(*asked_for(emulator, id_, replace(DB, alternatives=(OTHER,))))
    assert first.serves == {id_: (("db", OTHER),)}


def test_a_run_that_does_not_use_it_tells(bench: Bench, emulator: Emulator) -> None:
    """In the summary, with why."""
    id_ = existing(emulator, config(count=1))
    engine = bench.engine(request(emulator, DB, use_reservations=(id_,)))
    engine.provision("default")
    assert [line for line in engine.run_state.changes if id_ in line] == [
        f"use_reservations: {id_} is not used for 'default' in {DOMAINS[0]}: 1 of 1 are free, and db needs 2"
    ]
    assert engine.release(within(120)).clean
