"""The emulated OCI by the SDK's own clients: what it gives, what it refuses, how it says so."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any, Final

import pytest

pytest.importorskip("oci", reason="the extra [oci] is not installed")

import oci.core
import oci.exceptions
import oci.identity
import requests
from oci.cluster_placement_groups import models as cluster_models
from oci.core import models

from tests.backends.oci.principals import emulators_key, issued, new_key
from tests.emulated import Emulator
from tests.emulator.oci.conftest import Connect

TENANCY: Final = "ocid1.tenancy.oc1..aaaaaaaaemulatedtenancy"
COMPARTMENT: Final = "ocid1.compartment.oc1..aaaaaaaaemulatedtests"
DOMAIN: Final = "Uocm:US-ASHBURN-AD-1"
OTHER: Final = "Uocm:US-ASHBURN-AD-2"
IMAGE: Final = "ocid1.image.oc1.iad.aaaaaaaaoraclelinux96202610200"
FLEX: Final = "VM.Standard.E4.Flex"


def vcn(network: Any) -> Any:
    return network.create_vcn(models.CreateVcnDetails(cidr_blocks=["10.1.0.0/16"], compartment_id=COMPARTMENT)).data


def subnet(network: Any, of: Any = None, cidr: str = "10.1.0.0/24", **more: Any) -> Any:
    of = of or vcn(network)
    details = models.CreateSubnetDetails(cidr_block=cidr, vcn_id=of.id, compartment_id=COMPARTMENT, **more)
    return network.create_subnet(details).data


def launch(subnet_id: str, **more: Any) -> models.LaunchInstanceDetails:
    given: dict[str, Any] = {
        "compartment_id": COMPARTMENT,
        "availability_domain": DOMAIN,
        "shape": FLEX,
        "shape_config": models.LaunchInstanceShapeConfigDetails(ocpus=2.0, memory_in_gbs=16.0),
        "source_details": models.InstanceSourceViaImageDetails(image_id=IMAGE),
        "create_vnic_details": models.CreateVnicDetails(subnet_id=subnet_id, assign_public_ip=False),
    }
    return models.LaunchInstanceDetails(**{**given, **more})


def reserve(
    count: int = 2, shape: str = "VM.Standard2.1", **more: Any
) -> models.CreateComputeCapacityReservationDetails:
    config = models.InstanceReservationConfigDetails(instance_shape=shape, reserved_count=count)
    given: dict[str, Any] = {
        "compartment_id": COMPARTMENT,
        "availability_domain": DOMAIN,
        "instance_reservation_configs": [config],
    }
    return models.CreateComputeCapacityReservationDetails(**{**given, **more})


def refused(code: str, status: int, call: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(oci.exceptions.ServiceError) as error:
        call(*arguments, **more)
    assert (error.value.code, error.value.status) == (code, status), error.value.message
    assert error.value.headers["opc-request-id"]
    return str(error.value.message)


# -- identity and what there is ------------------------------------------------------------------------------------


def test_identity(identity: Any, connect: Connect) -> None:
    """Tenancy, regions, domains of the region that is asked, fault domains, compartments by level and whole."""
    assert identity.get_tenancy(TENANCY).data.home_region_key == "IAD"
    assert "eu-frankfurt-1" in [one.region_name for one in identity.list_region_subscriptions(TENANCY).data]
    assert next(one.name for one in identity.list_availability_domains(TENANCY).data) == DOMAIN
    phoenix = connect(oci.identity.IdentityClient, "us-phoenix-1")
    assert next(one.name for one in phoenix.list_availability_domains(TENANCY).data) == "Uocm:PHX-AD-1"
    assert len(identity.list_fault_domains(TENANCY, DOMAIN).data) == 3
    assert [one.name for one in identity.list_compartments(TENANCY).data] == ["tests"]
    assert [one.name for one in identity.list_compartments(COMPARTMENT).data] == ["nightly"]
    assert len(identity.list_compartments(TENANCY, compartment_id_in_subtree=True).data) == 2


def test_shapes_and_images(compute: Any, emulator: Emulator) -> None:
    """Shapes of a domain, without those that the weather takes away; the newest image of a system first."""
    emulator.weather(offerings={DOMAIN: {"exclude": [FLEX]}})
    assert FLEX not in [one.shape for one in compute.list_shapes(COMPARTMENT, availability_domain=DOMAIN).data]
    assert FLEX in [one.shape for one in compute.list_shapes(COMPARTMENT, availability_domain=OTHER).data]
    wanted = {"operating_system": "Oracle Linux", "operating_system_version": "9"}
    found = compute.list_images(COMPARTMENT, shape=FLEX, **wanted).data
    assert next(one.id for one in found) == IMAGE
    oldest = compute.list_images(COMPARTMENT, shape=FLEX, sort_by="TIMECREATED", sort_order="ASC", **wanted).data
    assert [one.id for one in oldest] == [one.id for one in reversed(found)]
    arm = compute.list_images(COMPARTMENT, shape="VM.Standard.A1.Flex", **wanted).data
    assert ["aarch64" in one.display_name for one in arm] == [True]
    assert compute.get_image(IMAGE).data.operating_system == "Oracle Linux"


def test_an_unknown_path_is_hidden(emulator: Emulator, compute: Any) -> None:
    """What is not emulated is said so as OCI would, and by the log of calls."""
    refused("NotAuthorizedOrNotFound", 404, compute.list_dedicated_vm_hosts, COMPARTMENT)
    assert emulator.calls()[-1]["error"] == "NotAuthorizedOrNotFound"


# -- signatures ----------------------------------------------------------------------------------------------------


def test_a_request_without_signature_is_refused(emulator: Emulator) -> None:
    """The bare secret does not help either."""
    url = f"{emulator.url}/oci/us-ashburn-1/20160918/instances?compartmentId={COMPARTMENT}"
    for headers in ({}, {"Authorization": f"Bearer {emulator.secret}"}, {"Authorization": "Signature version=1"}):
        answer = requests.get(url, headers=headers, timeout=10)
        assert (answer.status_code, answer.json()["code"]) == (401, "NotAuthenticated")


def test_a_changed_body_is_refused(emulator: Emulator, connect: Connect) -> None:
    """The digest is of the body that was signed, and the signature is over method, path and digest."""
    signer = connect(oci.core.ComputeClient).base_client.signer
    url = f"{emulator.url}/oci/us-ashburn-1/20160918/vcns"
    body = f'{{"compartmentId": "{COMPARTMENT}", "cidrBlock": "10.0.0.0/16"}}'
    signed = signer(requests.Request("POST", url, headers={"content-type": "application/json"}, data=body).prepare())
    other = requests.Request("POST", url, headers=dict(signed.headers), data=body.replace("10.0", "10.9")).prepare()
    with requests.Session() as session:
        assert session.send(other, timeout=10).status_code == 401
        moved = requests.Request("POST", url.replace("vcns", "subnets"), headers=dict(signed.headers), data=body)
        assert session.send(moved.prepare(), timeout=10).status_code == 401
        assert session.send(signed, timeout=10).status_code == 200
    assert len(emulator.held("vcn")) == 1


def test_a_signature_of_yesterday_is_refused(emulator: Emulator, connect: Connect) -> None:
    """Its date is covered, and may be five minutes off."""
    signer = connect(oci.core.ComputeClient).base_client.signer
    url = f"{emulator.url}/oci/us-ashburn-1/20160918/shapes?compartmentId={COMPARTMENT}"
    headers = {"date": "Sat, 28 Nov 2020 10:00:00 GMT"}
    with requests.Session() as session:
        old = signer(requests.Request("GET", url, headers=headers).prepare())
        assert session.send(old, timeout=10).status_code == 401
        assert session.send(signer(requests.Request("GET", url).prepare()), timeout=10).status_code == 200


def test_a_session_token_signs_too(connect: Connect, emulator: Emulator) -> None:
    """The profile TOKEN has a security token in place of user and fingerprint."""
    told = emulator.ready["clouds"]["oci"]
    config = oci.config.from_file(told["config_file"], "TOKEN")
    key = oci.signer.load_private_key_from_file(config["key_file"])
    token = Path(config["security_token_file"]).read_text(encoding="ascii")
    signer = oci.auth.signers.SecurityTokenSigner(token, key)
    client = oci.core.ComputeClient(config, signer=signer, service_endpoint=told["endpoint"])
    assert client.list_instances(COMPARTMENT).data == []


TOKENS: Final[list[tuple[str, dict[str, Any], bool]]] = [
    ("of an instance", {}, True),
    ("of a resource", {"tenant": "", "res_tenant": TENANCY}, True),
    ("that has ended", {"end": -1}, False),
    ("of another tenancy", {"tenant": "ocid1.tenancy.oc1..aaaaaaaaanother"}, False),
    ("that Oracle has not signed", {"issuer": new_key()}, False),
    ("for another key", {"key": new_key()}, False),
    ("without a key", {"jwk": None}, False),
]


@pytest.mark.parametrize(("claims", "good"), [one[1:] for one in TOKENS], ids=[one[0] for one in TOKENS])
def test_which_tokens_are_good(emulator: Emulator, claims: dict[str, Any], good: bool) -> None:
    """Signed with Oracle's key, for this tenancy and the key that has signed the request, and not over yet."""
    told = emulator.ready["clouds"]["oci"]
    own, given = new_key(), dict(claims)
    issuer = given.pop("issuer", None) or emulators_key(told["config_file"])
    named = given.pop("key", own).public_key()
    end = time.time() + given.pop("end", 1) * 3600
    token = issued(issuer, named, end, **{"tenant": TENANCY, **given})
    signer = oci.auth.signers.SecurityTokenSigner(token, own)
    client = oci.core.ComputeClient({"region": "us-ashburn-1"}, signer=signer, service_endpoint=told["endpoint"])
    if good:
        assert client.list_instances(COMPARTMENT).data == []
    else:
        refused("NotAuthenticated", 401, client.list_instances, COMPARTMENT)


# -- instances -----------------------------------------------------------------------------------------------------


def test_the_life_of_an_instance(compute: Any, network: Any, work: Any, emulator: Emulator) -> None:
    """Provisioning with a work request, running with a card, terminating, and listed as terminated for a while."""
    emulator.weather(boot_s=0.3, stop_s=0.3)
    answer = compute.launch_instance(launch(subnet(network).id, display_name="one"))
    instance, request = answer.data, answer.headers["opc-work-request-id"]
    assert instance.lifecycle_state == "PROVISIONING"
    assert work.get_work_request(request).data.status == "IN_PROGRESS"
    emulator.weather(clock={"advance_s": 1})
    assert compute.get_instance(instance.id).data.lifecycle_state == "RUNNING"
    assert work.get_work_request(request).data.status == "SUCCEEDED"
    (attachment,) = compute.list_vnic_attachments(COMPARTMENT, instance_id=instance.id).data
    assert network.get_vnic(attachment.vnic_id).data.private_ip == "10.1.0.2"
    compute.terminate_instance(instance.id, preserve_boot_volume=False)
    assert compute.get_instance(instance.id).data.lifecycle_state == "TERMINATING"
    emulator.weather(clock={"advance_s": 1})
    assert [one.lifecycle_state for one in compute.list_instances(COMPARTMENT).data] == ["TERMINATED"]
    refused("NotAuthorizedOrNotFound", 404, compute.terminate_instance, instance.id)
    assert emulator.held("instance") == []


def test_a_kept_boot_volume_is_billed_on(compute: Any, network: Any, emulator: Emulator) -> None:
    """Who asks for it keeps it, and pays."""
    instance = compute.launch_instance(launch(subnet(network).id)).data
    compute.terminate_instance(instance.id, preserve_boot_volume=True)
    assert len(emulator.held("boot-volume")) == 1


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"shape": "VM.Standard9"}, "InvalidParameter", 400),
        ({"availability_domain": "Uocm:PHX-AD-1"}, "InvalidParameter", 400),
        ({"fault_domain": "FAULT-DOMAIN-9"}, "InvalidParameter", 400),
        ({"shape_config": None}, "MissingParameter", 400),
        ({"shape": "VM.Standard2.1"}, "InvalidParameter", 400),
        (
            {"source_details": models.InstanceSourceViaImageDetails(image_id=IMAGE + "x")},
            "NotAuthorizedOrNotFound",
            404,
        ),
        ({"shape": "VM.Standard.A1.Flex"}, "InvalidParameter", 400),
        ({"compartment_id": "ocid1.compartment.oc1..nowhere"}, "NotAuthorizedOrNotFound", 404),
        ({"metadata": {"user_data": "no base64!"}}, "InvalidParameter", 400),
        ({"capacity_reservation_id": "ocid1.capacityreservation.oc1.iad.no"}, "NotAuthorizedOrNotFound", 404),
        ({"freeform_tags": {str(number): "" for number in range(11)}}, "InvalidParameter", 400),
    ],
)
def test_a_launch_that_oci_refuses(
    compute: Any, network: Any, emulator: Emulator, changes: dict[str, Any], code: str, status: int
) -> None:
    """A launch that cannot be is refused with OCI's code, and nothing is made."""
    of = subnet(network)
    refused(code, status, compute.launch_instance, launch(of.id, **changes))
    assert emulator.held("instance") == []


def test_out_of_host_capacity(compute: Any, network: Any, emulator: Emulator) -> None:
    """Lack of capacity is an internal error, HTTP 500; the other domain has some; the report knows."""
    emulator.weather(stock={DOMAIN: {FLEX: 1}})
    of = subnet(network)
    compute.launch_instance(launch(of.id))
    words = refused("InternalError", 500, compute.launch_instance, launch(of.id))
    assert words == "Out of host capacity."
    compute.launch_instance(launch(of.id, availability_domain=OTHER))

    def report(domain: str) -> list[str]:
        wanted = [models.CreateCapacityReportShapeAvailabilityDetails(instance_shape=FLEX)]
        details = models.CreateComputeCapacityReportDetails(
            compartment_id=TENANCY, availability_domain=domain, shape_availabilities=wanted
        )
        return [
            one.availability_status for one in compute.create_compute_capacity_report(details).data.shape_availabilities
        ]

    assert (report(DOMAIN), report(OTHER)) == (["OUT_OF_HOST_CAPACITY"], ["AVAILABLE"])


def test_limits_and_throttles(compute: Any, network: Any, emulator: Emulator) -> None:
    """A limit of the region says so in its name; too many calls are 429."""
    of = subnet(network)
    emulator.weather(quota={"us-ashburn-1": {"vcpus": 0}})
    words = refused("LimitExceeded", 400, compute.launch_instance, launch(of.id))
    assert "standard-e4-core-regional-count" in words
    emulator.weather(quota={}, throttle={"us-ashburn-1": {"write": {"burst": 1, "per_second": 0.001}}})
    compute.launch_instance(launch(of.id))
    refused("TooManyRequests", 429, compute.launch_instance, launch(of.id))


def test_a_launch_that_fails_later(compute: Any, network: Any, work: Any, emulator: Emulator) -> None:
    """It is accepted; the reason stands in the errors of its work request, and the instance is terminated."""
    of = subnet(network)
    late = {"operation": "LaunchInstance", "error": "InternalError", "message": "Out of host capacity.", "late": True}
    emulator.weather(faults=[late])
    answer = compute.launch_instance(launch(of.id))
    assert compute.get_instance(answer.data.id).data.lifecycle_state == "TERMINATED"
    request = answer.headers["opc-work-request-id"]
    assert work.get_work_request(request).data.status == "FAILED"
    (error,) = work.list_work_request_errors(request).data
    assert (error.code, error.message) == ("InternalError", "Out of host capacity.")
    assert [one.id for one in work.list_work_requests(COMPARTMENT, resource_id=answer.data.id).data] == [request]


def test_a_retry_token_makes_one_thing(compute: Any, network: Any, emulator: Emulator) -> None:
    """The same token gives the same instance; with another request it is refused; after a refusal it is new."""
    of = subnet(network)
    first = compute.launch_instance(launch(of.id), opc_retry_token="t1").data
    assert compute.launch_instance(launch(of.id), opc_retry_token="t1").data.id == first.id
    refused(
        "InvalidatedRetryToken", 409, compute.launch_instance, launch(of.id, display_name="x"), opc_retry_token="t1"
    )
    emulator.weather(stock={OTHER: {"*": 0}})
    there = launch(of.id, availability_domain=OTHER)
    refused("InternalError", 500, compute.launch_instance, there, opc_retry_token="t2")
    emulator.weather(stock={})
    compute.launch_instance(there, opc_retry_token="t2")
    assert len(emulator.held("instance")) == 2


def test_preemptible_instances(compute: Any, network: Any, emulator: Emulator) -> None:
    """They cannot use a reservation, have a stock of their own, and are terminated when they are taken back."""
    of = subnet(network)
    preemptible = models.PreemptibleInstanceConfigDetails(
        preemption_action=models.TerminatePreemptionAction(preserve_boot_volume=False)
    )
    held = compute.create_compute_capacity_reservation(reserve()).data
    both = launch(of.id, preemptible_instance_config=preemptible, capacity_reservation_id=held.id)
    refused("InvalidParameter", 400, compute.launch_instance, both)
    instance = compute.launch_instance(launch(of.id, preemptible_instance_config=preemptible)).data
    emulator.weather(reclaim=[instance.id])
    assert compute.get_instance(instance.id).data.lifecycle_state == "TERMINATED"


def test_lists_are_paged_and_per_compartment(compute: Any, network: Any) -> None:
    """``opc-next-page`` leads through the list; another compartment has none of it."""
    of = subnet(network)
    made = {compute.launch_instance(launch(of.id)).data.id for _ in range(5)}
    answer = compute.list_instances(COMPARTMENT, limit=2)
    listed = [one.id for one in answer.data]
    while answer.has_next_page:
        answer = compute.list_instances(COMPARTMENT, limit=2, page=answer.next_page)
        listed += [one.id for one in answer.data]
    assert (set(listed), len(listed)) == (made, 5)
    assert compute.list_instances(TENANCY).data == []
    refused("InvalidParameter", 400, compute.list_instances, COMPARTMENT, limit=0)


def test_a_stopped_instance_can_take_another_shape(compute: Any, network: Any, emulator: Emulator) -> None:
    """By actions it stops and starts; an update changes it, and what that leaves out of its size is by default."""
    instance = compute.launch_instance(launch(subnet(network).id)).data
    emulator.weather(stop_s=1, boot_s=1)
    refused("IncorrectState", 409, compute.instance_action, instance.id, "START")
    assert compute.instance_action(instance.id, "SOFTSTOP").data.lifecycle_state == "STOPPING"
    refused("IncorrectState", 409, compute.instance_action, instance.id, "STOP")
    other = models.UpdateInstanceDetails(shape="VM.Standard3.Flex", freeform_tags={"a": "b"})
    refused("IncorrectState", 409, compute.update_instance, instance.id, other)
    emulator.weather(clock={"advance_s": 2})
    updated = compute.update_instance(instance.id, other).data
    assert (updated.shape, updated.freeform_tags, updated.lifecycle_state) == (
        "VM.Standard3.Flex",
        {"a": "b"},
        "STOPPED",
    )
    assert (updated.shape_config.ocpus, updated.shape_config.memory_in_gbs) == (4.0, 64.0)
    assert compute.instance_action(instance.id, "START").data.lifecycle_state == "STARTING"
    emulator.weather(clock={"advance_s": 2})
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
    emulator.weather(pending_s=1)
    refused("InvalidParameter", 400, volumes.update_boot_volume, volume, models.UpdateBootVolumeDetails(size_in_gbs=60))
    larger = models.UpdateBootVolumeDetails(size_in_gbs=100)
    refused("NoEtagMatch", 412, volumes.update_boot_volume, volume, larger, if_match="9")
    assert volumes.update_boot_volume(volume, larger).data.lifecycle_state == "PROVISIONING"
    refused("IncorrectState", 409, volumes.update_boot_volume, volume, larger)
    emulator.weather(clock={"advance_s": 2})
    grown = volumes.get_boot_volume(volume).data
    assert (grown.lifecycle_state, grown.size_in_gbs) == ("AVAILABLE", 100)
    small = models.InstanceSourceViaImageDetails(image_id=IMAGE, boot_volume_size_in_gbs=10)
    refused("InvalidParameter", 400, compute.launch_instance, launch(of.id, source_details=small))
    compute.terminate_instance(instance.id)
    refused("NotAuthorizedOrNotFound", 404, volumes.get_boot_volume, volume)


def test_user_data_must_be_in_base64(compute: Any, network: Any) -> None:
    """What is, is taken, and given back as it came."""
    text = base64.b64encode(b"#!/bin/sh\n").decode()
    instance = compute.launch_instance(launch(subnet(network).id, metadata={"user_data": text})).data
    assert compute.get_instance(instance.id).data.metadata["user_data"] == text


def test_console_history(compute: Any, network: Any) -> None:
    """It is captured, read, and removed."""
    instance = compute.launch_instance(launch(subnet(network).id)).data
    details = models.CaptureConsoleHistoryDetails(instance_id=instance.id)
    history = compute.capture_console_history(details).data
    assert compute.get_console_history(history.id).data.lifecycle_state == "SUCCEEDED"
    assert compute.get_console_history_content(history.id).data == b""
    compute.delete_console_history(history.id)
    refused("NotAuthorizedOrNotFound", 404, compute.get_console_history, history.id)


# -- reservations --------------------------------------------------------------------------------------------------


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
    compute.delete_compute_capacity_reservation(held.id)
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
    emulator.weather(pending_s=1)
    request = compute.update_compute_capacity_reservation(held.id, more).headers["opc-work-request-id"]
    during = compute.get_compute_capacity_reservation(held.id).data
    assert (during.lifecycle_state, during.reserved_instance_count) == ("UPDATING", 1)
    refused("IncorrectState", 409, compute.update_compute_capacity_reservation, held.id, more)
    assert work.get_work_request(request).data.status == "IN_PROGRESS"
    emulator.weather(clock={"advance_s": 2})
    assert compute.get_compute_capacity_reservation(held.id).data.reserved_instance_count == 3
    late = {"operation": "UpdateComputeCapacityReservation", "error": "InternalError", "late": True}
    emulator.weather(faults=[{**late, "message": "Out of host capacity."}])
    more = update(instance_reservation_configs=reserve(4).instance_reservation_configs)
    request = compute.update_compute_capacity_reservation(held.id, more).headers["opc-work-request-id"]
    emulator.weather(clock={"advance_s": 2})
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


# -- cluster placement groups ------------------------------------------------------------------------------------


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
    emulator.weather(pending_s=0.3)
    answer = clusters.create_cluster_placement_group(group(freeform_tags={"a": "b"}), opc_retry_token="t")
    made, request = answer.data, answer.headers["opc-work-request-id"]
    again = clusters.create_cluster_placement_group(group(freeform_tags={"a": "b"}), opc_retry_token="t").data
    assert (made.lifecycle_state, again.id) == ("CREATING", made.id)
    refused("IncorrectState", 409, clusters.delete_cluster_placement_group, made.id)
    assert clusters.get_work_request(request).data.status == "IN_PROGRESS"
    emulator.weather(clock={"advance_s": 1})
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
    clusters.deactivate_cluster_placement_group(here.id)
    refused("IncorrectState", 409, compute.launch_instance, launch(of.id, cluster_placement_group_id=here.id))
    nowhere = launch(of.id, cluster_placement_group_id=here.id + "x")
    refused("NotAuthorizedOrNotFound", 404, compute.launch_instance, nowhere)


# -- network -------------------------------------------------------------------------------------------------------


def test_a_network_is_built_and_taken_apart_in_order(compute: Any, network: Any, emulator: Emulator) -> None:
    """Each of its parts is refused while another uses it."""
    of = vcn(network)
    common = {"compartment_id": COMPARTMENT, "vcn_id": of.id}
    gateway = network.create_internet_gateway(models.CreateInternetGatewayDetails(is_enabled=True, **common)).data
    rule = models.RouteRule(destination="0.0.0.0/0", destination_type="CIDR_BLOCK", network_entity_id=gateway.id)
    routes = network.create_route_table(models.CreateRouteTableDetails(route_rules=[rule], **common)).data
    security = network.create_security_list(
        models.CreateSecurityListDetails(egress_security_rules=[], ingress_security_rules=[], **common)
    ).data
    inner = subnet(network, of, route_table_id=routes.id, security_list_ids=[security.id])
    instance = compute.launch_instance(launch(inner.id)).data
    for delete, id_ in (
        (network.delete_subnet, inner.id),
        (network.delete_route_table, routes.id),
        (network.delete_security_list, security.id),
        (network.delete_internet_gateway, gateway.id),
        (network.delete_vcn, of.id),
    ):
        refused("Conflict", 409, delete, id_)
    compute.terminate_instance(instance.id)
    network.delete_subnet(inner.id)
    network.delete_security_list(security.id)
    network.delete_route_table(routes.id)
    network.delete_internet_gateway(gateway.id)
    network.delete_vcn(of.id)
    assert emulator.held() == []
    refused("NotAuthorizedOrNotFound", 404, network.get_vcn, of.id)


def test_a_subnet_lies_in_its_network(network: Any) -> None:
    """A block outside of the VCN's is refused, and one that is none."""
    of = vcn(network)
    with pytest.raises(oci.exceptions.ServiceError, match="not within"):
        subnet(network, of, "192.168.0.0/24")
    with pytest.raises(oci.exceptions.ServiceError, match="cidrBlock"):
        subnet(network, of, "10.1.0.0/99")


def test_a_closed_subnet_gives_no_public_address(compute: Any, network: Any) -> None:
    """Who asks for one there is refused."""
    of = subnet(network, prohibit_public_ip_on_vnic=True)
    card = models.CreateVnicDetails(subnet_id=of.id, assign_public_ip=True)
    refused("InvalidParameter", 400, compute.launch_instance, launch(of.id, create_vnic_details=card))


def test_a_full_subnet(compute: Any, network: Any) -> None:
    """A subnet of four addresses has one to give, beside its router."""
    of = subnet(network, cidr="10.1.0.0/30")
    compute.launch_instance(launch(of.id))
    refused("LimitExceeded", 400, compute.launch_instance, launch(of.id))


def test_regions_are_apart(connect: Connect, network: Any) -> None:
    """What is in one region is not there for the endpoint of another."""
    of = vcn(network)
    phoenix = connect(oci.core.VirtualNetworkClient, "us-phoenix-1")
    refused("NotAuthorizedOrNotFound", 404, phoenix.get_vcn, of.id)
    assert phoenix.list_vcns(COMPARTMENT).data == []
    nowhere = connect(oci.core.VirtualNetworkClient, "us-nowhere-1")
    refused("NotAuthorizedOrNotFound", 404, nowhere.list_vcns, COMPARTMENT)
