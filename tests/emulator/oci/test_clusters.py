"""Cluster placement groups of the emulated OCI, by the SDK's own client."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("oci", reason="the extra [oci] is not installed")

from oci.cluster_placement_groups import models as cluster_models
from oci.core import models

from tests.emulated import Emulator
from tests.emulator.oci.calls import (
    COMPARTMENT,
    DOMAIN,
    OTHER,
    launch,
    refused,
    reserve,
    subnet,
)


def group(**more: Any) -> cluster_models.CreateClusterPlacementGroupDetails:
    given: dict[str, Any] = {
        "name": "close",
        "description": "of a test",
        "cluster_placement_group_type": "STANDARD",
        "availability_domain": DOMAIN,
        "compartment_id": COMPARTMENT,
    }
    return cluster_models.CreateClusterPlacementGroupDetails(**{**given, **more})


def test_the_life_of_a_cluster_placement_group(clusters: Any, emulator: Emulator) -> None:
    """Creating with a work request of its service, active, changed, deactivated, deleted, and listed as deleted."""
    emulator.weather(pending_s=60)
    answer = clusters.create_cluster_placement_group(group(freeform_tags={"a": "b"}), opc_retry_token="t")
    made, request = answer.data, answer.headers["opc-work-request-id"]
    again = clusters.create_cluster_placement_group(group(freeform_tags={"a": "b"}), opc_retry_token="t").data
    assert (made.lifecycle_state, again.id) == ("CREATING", made.id)
    refused("IncorrectState", 409, clusters.delete_cluster_placement_group, made.id)
    assert clusters.get_work_request(request).data.status == "IN_PROGRESS"
    emulator.weather(clock={"advance_s": 60})
    assert clusters.get_work_request(request).data.status == "SUCCEEDED"
    got = clusters.get_cluster_placement_group(made.id)
    assert (got.data.lifecycle_state, got.data.description) == ("ACTIVE", "of a test")
    update = cluster_models.UpdateClusterPlacementGroupDetails(freeform_tags={"a": "c"}, description="changed")
    refused("NoEtagMatch", 412, clusters.update_cluster_placement_group, made.id, update, if_match="9")
    clusters.update_cluster_placement_group(made.id, update, if_match=got.headers["etag"])
    changed = clusters.get_cluster_placement_group(made.id).data
    assert (changed.freeform_tags, changed.description) == ({"a": "c"}, "changed")
    clusters.deactivate_cluster_placement_group(made.id)
    assert clusters.get_cluster_placement_group(made.id).data.lifecycle_state == "INACTIVE"
    clusters.activate_cluster_placement_group(made.id)
    assert [one.name for one in clusters.list_cluster_placement_groups(compartment_id=COMPARTMENT).data.items] == [
        "close"
    ]
    clusters.delete_cluster_placement_group(made.id)
    listed = clusters.list_cluster_placement_groups(compartment_id=COMPARTMENT, lifecycle_state="DELETED").data.items
    assert [one.id for one in listed] == [made.id]
    refused("NotAuthorizedOrNotFound", 404, clusters.delete_cluster_placement_group, made.id)
    assert emulator.held() == []


def test_a_cluster_placement_group_that_fails(clusters: Any, work: Any, emulator: Emulator) -> None:
    """The reason stands in the errors of its service's work request, which the core services do not have."""
    late = {"operation": "CreateClusterPlacementGroup", "error": "InvalidParameter", "message": "No.", "late": True}
    emulator.weather(faults=[late])
    answer = clusters.create_cluster_placement_group(group())
    request = answer.headers["opc-work-request-id"]
    failed = clusters.get_cluster_placement_group(answer.data.id).data
    assert (failed.lifecycle_state, failed.lifecycle_details) == ("FAILED", "No.")
    listed = clusters.list_work_requests(compartment_id=COMPARTMENT, resource_id=answer.data.id).data.items
    assert [(one.id, one.status) for one in listed] == [(request, "FAILED")]
    (error,) = clusters.list_work_request_errors(request).data.items
    assert (error.code, error.message) == ("InvalidParameter", "No.")
    assert work.list_work_requests(COMPARTMENT).data == []
    refused("NotAuthorizedOrNotFound", 404, work.get_work_request, request)


def test_capacity_in_a_cluster_serves_only_that_cluster(compute: Any, network: Any, clusters: Any) -> None:
    """A launch into another group, or into none, finds no configuration; a group goes when nothing is in it."""
    of, fixed = subnet(network), {"shape": "VM.Standard2.1", "shape_config": None}
    mine, other = (clusters.create_cluster_placement_group(group(name=name)).data for name in ("mine", "other"))
    config = models.InstanceReservationConfigDetails(
        instance_shape="VM.Standard2.1", reserved_count=1, cluster_placement_group_id=mine.id
    )
    held = compute.create_compute_capacity_reservation(reserve(instance_reservation_configs=[config])).data
    assert held.instance_reservation_configs[0].cluster_placement_group_id == mine.id
    for cluster in (None, other.id):
        aimed = launch(of.id, capacity_reservation_id=held.id, cluster_placement_group_id=cluster, **fixed)
        refused("InvalidParameter", 400, compute.launch_instance, aimed)
    aimed = launch(of.id, capacity_reservation_id=held.id, cluster_placement_group_id=mine.id, **fixed)
    instance = compute.launch_instance(aimed).data
    assert compute.get_instance(instance.id).data.cluster_placement_group_id == mine.id
    refused("Conflict", 409, clusters.delete_cluster_placement_group, mine.id)
    compute.terminate_instance(instance.id)
    refused("Conflict", 409, clusters.delete_cluster_placement_group, mine.id)
    compute.delete_compute_capacity_reservation(held.id)
    clusters.delete_cluster_placement_group(mine.id)


def test_a_cluster_placement_group_that_takes_no_instance(compute: Any, network: Any, clusters: Any) -> None:
    """One of another domain, one that is deactivated, and one that is not there."""
    of = subnet(network)
    there = clusters.create_cluster_placement_group(group(availability_domain=OTHER)).data
    refused("InvalidParameter", 400, compute.launch_instance, launch(of.id, cluster_placement_group_id=there.id))
    here = clusters.create_cluster_placement_group(group()).data
    listed = clusters.list_cluster_placement_groups(compartment_id=COMPARTMENT, ad=OTHER).data.items
    assert [one.id for one in listed] == [there.id]
    clusters.deactivate_cluster_placement_group(here.id)
    refused("IncorrectState", 409, compute.launch_instance, launch(of.id, cluster_placement_group_id=here.id))
    nowhere = launch(of.id, cluster_placement_group_id=here.id + "x")
    refused("NotAuthorizedOrNotFound", 404, compute.launch_instance, nowhere)
