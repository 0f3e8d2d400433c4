"""Capacity reservations of the emulated OCI, by the SDK's own client."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("oci", reason="the extra [oci] is not installed")

from oci.core import models

from tests.emulated import Emulator
from tests.emulator.oci.calls import (
    COMPARTMENT,
    DOMAIN,
    TENANCY,
    launch,
    refused,
    reserve,
    subnet,
)


def test_a_reservation_is_used_and_counts(compute: Any, network: Any, emulator: Emulator) -> None:
    """Its instances are listed and counted; it is full when it is; it cannot go under them; then it goes."""
    of, fixed = subnet(network), {"shape": "VM.Standard2.1", "shape_config": None}
    held = compute.create_compute_capacity_reservation(reserve(1)).data
    assert compute.get_compute_capacity_reservation(held.id).data.instance_reservation_configs[0].reserved_count == 1
    aimed = launch(of.id, capacity_reservation_id=held.id, **fixed)
    instance = compute.launch_instance(aimed).data
    assert compute.get_instance(instance.id).data.capacity_reservation_id == held.id
    words = refused("InternalError", 500, compute.launch_instance, aimed)
    assert "does not have sufficient capacity" in words
    (listed,) = compute.list_compute_capacity_reservations(COMPARTMENT).data
    assert (listed.reserved_instance_count, listed.used_instance_count) == (1, 1)
    inside = compute.list_compute_capacity_reservation_instances(held.id).data
    assert [one.id for one in inside] == [instance.id]
    refused("Conflict", 409, compute.delete_compute_capacity_reservation, held.id)
    compute.terminate_instance(instance.id)
    emulator.weather(stop_s=60)
    compute.delete_compute_capacity_reservation(held.id)
    assert compute.get_compute_capacity_reservation(held.id).data.lifecycle_state == "DELETING"
    emulator.weather(clock={"advance_s": 60})
    assert [one.lifecycle_state for one in compute.list_compute_capacity_reservations(COMPARTMENT).data] == ["DELETED"]
    assert emulator.held("capacity-reservation") == []


def test_a_reservation_serves_its_compartment(compute: Any, network: Any) -> None:
    """A launch in another one is refused, as for what is not there."""
    held = compute.create_compute_capacity_reservation(reserve(1)).data
    aimed = {"compartment_id": TENANCY, "capacity_reservation_id": held.id}
    details = launch(subnet(network).id, shape="VM.Standard2.1", shape_config=None, **aimed)
    refused("RelatedResourceNotAuthorizedOrNotFound", 400, compute.launch_instance, details)


def test_a_reservation_takes_stock_and_all_or_nothing(compute: Any, emulator: Emulator) -> None:
    """What it holds is gone for others; one of two configurations without room takes both along."""
    emulator.weather(stock={DOMAIN: {"VM.Standard2.1": 2, "VM.Standard2.2": 0}})
    both = reserve()
    both.instance_reservation_configs += [
        models.InstanceReservationConfigDetails(instance_shape="VM.Standard2.2", reserved_count=1)
    ]
    refused("InternalError", 500, compute.create_compute_capacity_reservation, both)
    assert emulator.held() == []
    compute.create_compute_capacity_reservation(reserve(2))
    refused("InternalError", 500, compute.create_compute_capacity_reservation, reserve(1))


def test_an_update_drops_what_it_leaves_out(compute: Any, network: Any, emulator: Emulator) -> None:
    """A configuration that is not named is deleted, unless an instance uses it; tags alone leave them."""
    both = reserve(1)
    small = models.InstanceReservationConfigDetails(instance_shape="VM.Standard2.2", reserved_count=1)
    both.instance_reservation_configs += [small]
    held = compute.create_compute_capacity_reservation(both).data
    update = models.UpdateComputeCapacityReservationDetails
    compute.update_compute_capacity_reservation(held.id, update(freeform_tags={"a": "b"}))
    tagged = compute.get_compute_capacity_reservation(held.id).data
    assert (len(tagged.instance_reservation_configs), tagged.freeform_tags) == (2, {"a": "b"})
    compute.update_compute_capacity_reservation(held.id, update(instance_reservation_configs=[small]))
    left = compute.get_compute_capacity_reservation(held.id).data
    assert [one.instance_shape for one in left.instance_reservation_configs] == ["VM.Standard2.2"]
    aimed = launch(subnet(network).id, capacity_reservation_id=held.id, shape="VM.Standard2.2", shape_config=None)
    compute.launch_instance(aimed)
    other = models.InstanceReservationConfigDetails(instance_shape="VM.Standard2.1", reserved_count=1)
    refused(
        "Conflict",
        409,
        compute.update_compute_capacity_reservation,
        held.id,
        update(instance_reservation_configs=[other]),
    )


def test_an_update_takes_a_while_and_may_fail(compute: Any, work: Any, emulator: Emulator) -> None:
    """It is updating with the old count, and refuses another update; one that fails leaves it as it was."""
    held = compute.create_compute_capacity_reservation(reserve(1)).data
    update = models.UpdateComputeCapacityReservationDetails
    more = update(instance_reservation_configs=reserve(3).instance_reservation_configs)
    emulator.weather(pending_s=100)
    request = compute.update_compute_capacity_reservation(held.id, more).headers["opc-work-request-id"]
    during = compute.get_compute_capacity_reservation(held.id).data
    assert (during.lifecycle_state, during.reserved_instance_count) == ("UPDATING", 1)
    refused("IncorrectState", 409, compute.update_compute_capacity_reservation, held.id, more)
    assert work.get_work_request(request).data.status == "IN_PROGRESS"
    emulator.weather(clock={"advance_s": 100})
    assert compute.get_compute_capacity_reservation(held.id).data.reserved_instance_count == 3
    late = {"operation": "UpdateComputeCapacityReservation", "error": "InternalError", "late": True}
    emulator.weather(faults=[{**late, "message": "Out of host capacity."}])
    more = update(instance_reservation_configs=reserve(4).instance_reservation_configs)
    request = compute.update_compute_capacity_reservation(held.id, more).headers["opc-work-request-id"]
    emulator.weather(clock={"advance_s": 100})
    after = compute.get_compute_capacity_reservation(held.id).data
    assert (after.lifecycle_state, after.reserved_instance_count) == ("ACTIVE", 3)
    assert work.get_work_request(request).data.status == "FAILED"
    assert [one.message for one in work.list_work_request_errors(request).data] == ["Out of host capacity."]


def test_a_fault_domain_must_be_that_of_the_configuration(compute: Any, network: Any) -> None:
    """A configuration without one serves launches without one, and no other."""
    fixed = {"shape": "VM.Standard2.1", "shape_config": None}
    held = compute.create_compute_capacity_reservation(reserve(1)).data
    aimed = launch(subnet(network).id, capacity_reservation_id=held.id, fault_domain="FAULT-DOMAIN-1", **fixed)
    refused("InvalidParameter", 400, compute.launch_instance, aimed)


def test_etags_are_held_against_if_match(compute: Any) -> None:
    """A delete of another version than there is is refused."""
    answer = compute.create_compute_capacity_reservation(reserve(1))
    refused("NoEtagMatch", 412, compute.delete_compute_capacity_reservation, answer.data.id, if_match="7")
    compute.delete_compute_capacity_reservation(answer.data.id, if_match=answer.headers["etag"])
