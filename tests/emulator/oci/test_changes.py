"""Instances and boot volumes of the emulated OCI that change while they stand, by the SDK's own clients."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("oci", reason="the extra [oci] is not installed")

from oci.core import models

from tests.emulated import Emulator
from tests.emulator.oci.calls import (
    COMPARTMENT,
    DOMAIN,
    FLEX,
    IMAGE,
    launch,
    refused,
    reserve,
    subnet,
)


def test_a_stopped_instance_can_take_another_shape(compute: Any, network: Any, emulator: Emulator) -> None:
    """By actions it stops and starts; an update changes it, and what that leaves out of its size is by default."""
    instance = compute.launch_instance(launch(subnet(network).id)).data
    emulator.weather(stop_s=100, boot_s=100)
    refused("IncorrectState", 409, compute.instance_action, instance.id, "START")
    assert compute.instance_action(instance.id, "SOFTSTOP").data.lifecycle_state == "STOPPING"
    refused("IncorrectState", 409, compute.instance_action, instance.id, "STOP")
    other = models.UpdateInstanceDetails(shape="VM.Standard3.Flex", freeform_tags={"a": "b"})
    refused("IncorrectState", 409, compute.update_instance, instance.id, other)
    emulator.weather(clock={"advance_s": 100})
    updated = compute.update_instance(instance.id, other).data
    assert (updated.shape, updated.freeform_tags, updated.lifecycle_state) == (
        "VM.Standard3.Flex",
        {"a": "b"},
        "STOPPED",
    )
    assert (updated.shape_config.ocpus, updated.shape_config.memory_in_gbs) == (4.0, 64.0)
    assert compute.instance_action(instance.id, "START").data.lifecycle_state == "STARTING"
    emulator.weather(clock={"advance_s": 100})
    assert compute.get_instance(instance.id).data.lifecycle_state == "RUNNING"
    refused("InvalidParameter", 400, compute.instance_action, instance.id, "RESET")


@pytest.mark.parametrize(
    "shape", ["VM.DenseIO.E4.Flex", "BM.Standard.E4.128", "VM.Standard.A1.Flex", "VM.Standard9.Flex"]
)
def test_a_shape_that_an_instance_cannot_take(compute: Any, network: Any, shape: str) -> None:
    """Neither one with local disks, nor bare metal, nor one that its image cannot boot, nor one that is none."""
    instance = compute.launch_instance(launch(subnet(network).id)).data
    wanted = models.UpdateInstanceDetails(shape=shape)
    refused("InvalidParameter", 400, compute.update_instance, instance.id, wanted)
    assert compute.get_instance(instance.id).data.shape == FLEX


def test_a_running_instance_is_restarted_for_its_shape_unless_that_is_to_be_avoided(
    compute: Any, network: Any, emulator: Emulator
) -> None:
    """``AVOID_DOWNTIME`` refuses; without it there has to be room for the new shape."""
    instance = compute.launch_instance(launch(subnet(network).id)).data
    careful = models.UpdateInstanceDetails(shape="VM.Standard3.Flex", update_operation_constraint="AVOID_DOWNTIME")
    refused("IncorrectState", 409, compute.update_instance, instance.id, careful)
    emulator.weather(stock={DOMAIN: {"VM.Standard3.Flex": 0}})
    plain = models.UpdateInstanceDetails(shape="VM.Standard3.Flex")
    refused("InternalError", 500, compute.update_instance, instance.id, plain)
    emulator.weather(stock={})
    assert compute.update_instance(instance.id, plain).data.shape == "VM.Standard3.Flex"


def test_shape_and_reservation_change_by_one_update(compute: Any, network: Any) -> None:
    """The shape alone is refused: its reservation has none of that; with the reservation of the new one it is taken."""
    of, fixed = subnet(network), {"shape": "VM.Standard2.1", "shape_config": None}
    first = compute.create_compute_capacity_reservation(reserve(1)).data
    second = compute.create_compute_capacity_reservation(reserve(1, "VM.Standard2.2")).data
    instance = compute.launch_instance(launch(of.id, capacity_reservation_id=first.id, **fixed)).data
    compute.instance_action(instance.id, "STOP")
    alone = models.UpdateInstanceDetails(shape="VM.Standard2.2")
    words = refused("InvalidParameter", 400, compute.update_instance, instance.id, alone)
    assert words == "The reservation does not have sufficient capacity for the new shape."
    both = models.UpdateInstanceDetails(shape="VM.Standard2.2", capacity_reservation_id=second.id)
    assert compute.update_instance(instance.id, both).data.capacity_reservation_id == second.id
    compute.instance_action(instance.id, "START")
    assert [one.id for one in compute.list_compute_capacity_reservation_instances(second.id).data] == [instance.id]
    assert compute.list_compute_capacity_reservation_instances(first.id).data == []
    compute.delete_compute_capacity_reservation(first.id)
    out = models.UpdateInstanceDetails(capacity_reservation_id="")
    assert compute.update_instance(instance.id, out).data.capacity_reservation_id is None
    compute.delete_compute_capacity_reservation(second.id)


def test_shapes_that_an_image_boots(compute: Any) -> None:
    """The list is filtered by an image, as it is by a domain."""
    shapes = {one.shape for one in compute.list_shapes(COMPARTMENT, image_id=IMAGE).data}
    assert FLEX in shapes
    assert "VM.Standard.A1.Flex" not in shapes
    refused("NotAuthorizedOrNotFound", 404, compute.list_shapes, COMPARTMENT, image_id=IMAGE + "x")


def test_a_boot_volume_grows(compute: Any, network: Any, volumes: Any, emulator: Emulator) -> None:
    """It is found by its instance, grows only, and has the new size when it is available again."""
    of = subnet(network)
    source = models.InstanceSourceViaImageDetails(image_id=IMAGE, boot_volume_size_in_gbs=60)
    instance = compute.launch_instance(launch(of.id, source_details=source)).data
    compute.launch_instance(launch(of.id))
    found = compute.list_boot_volume_attachments(DOMAIN, COMPARTMENT, instance_id=instance.id).data
    (volume,) = [one.boot_volume_id for one in found]
    assert len(compute.list_boot_volume_attachments(DOMAIN, COMPARTMENT).data) == 2
    assert volumes.get_boot_volume(volume).data.size_in_gbs == 60
    emulator.weather(pending_s=100)
    refused("InvalidParameter", 400, volumes.update_boot_volume, volume, models.UpdateBootVolumeDetails(size_in_gbs=60))
    larger = models.UpdateBootVolumeDetails(size_in_gbs=100)
    refused("NoEtagMatch", 412, volumes.update_boot_volume, volume, larger, if_match="9")
    assert volumes.update_boot_volume(volume, larger).data.lifecycle_state == "PROVISIONING"
    refused("IncorrectState", 409, volumes.update_boot_volume, volume, larger)
    emulator.weather(clock={"advance_s": 100})
    grown = volumes.get_boot_volume(volume).data
    assert (grown.lifecycle_state, grown.size_in_gbs) == ("AVAILABLE", 100)
    small = models.InstanceSourceViaImageDetails(image_id=IMAGE, boot_volume_size_in_gbs=10)
    refused("InvalidParameter", 400, compute.launch_instance, launch(of.id, source_details=small))
    compute.terminate_instance(instance.id)
    refused("NotAuthorizedOrNotFound", 404, volumes.get_boot_volume, volume)
