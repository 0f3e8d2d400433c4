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
from oci.core import models

from tests.backends.oci.principals import emulators_key, issued, new_key
from tests.emulated import Emulator
from tests.emulator.oci.calls import (
    COMPARTMENT,
    DOMAIN,
    FLEX,
    IMAGE,
    OTHER,
    TENANCY,
    launch,
    refused,
    reserve,
    subnet,
)
from tests.emulator.oci.conftest import Connect

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
        answer = requests.get(url, headers=headers, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (401, "NotAuthenticated")


def test_a_changed_body_is_refused(emulator: Emulator, connect: Connect) -> None:
    """The digest is of the body that was signed, and the signature is over method, path and digest."""
    signer = connect(oci.core.ComputeClient).base_client.signer
    url = f"{emulator.url}/oci/us-ashburn-1/20160918/vcns"
    body = f'{{"compartmentId": "{COMPARTMENT}", "cidrBlock": "10.0.0.0/16"}}'
    signed = signer(requests.Request("POST", url, headers={"content-type": "application/json"}, data=body).prepare())
    other = requests.Request("POST", url, headers=dict(signed.headers), data=body.replace("10.0", "10.9")).prepare()
    with requests.Session() as session:
        assert session.send(other, timeout=60).status_code == 401
        moved = requests.Request("POST", url.replace("vcns", "subnets"), headers=dict(signed.headers), data=body)
        assert session.send(moved.prepare(), timeout=60).status_code == 401
        assert session.send(signed, timeout=60).status_code == 200
    assert len(emulator.held("vcn")) == 1


def test_a_signature_of_yesterday_is_refused(emulator: Emulator, connect: Connect) -> None:
    """Its date is covered, and may be five minutes off."""
    signer = connect(oci.core.ComputeClient).base_client.signer
    url = f"{emulator.url}/oci/us-ashburn-1/20160918/shapes?compartmentId={COMPARTMENT}"
    headers = {"date": "Sat, 28 Nov 2020 10:00:00 GMT"}
    with requests.Session() as session:
        old = signer(requests.Request("GET", url, headers=headers).prepare())
        assert session.send(old, timeout=60).status_code == 401
        assert session.send(signer(requests.Request("GET", url).prepare()), timeout=60).status_code == 200


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
    emulator.weather(boot_s=60, stop_s=60)
    answer = compute.launch_instance(launch(subnet(network).id, display_name="one"))
    instance, request = answer.data, answer.headers["opc-work-request-id"]
    assert instance.lifecycle_state == "PROVISIONING"
    assert work.get_work_request(request).data.status == "IN_PROGRESS"
    emulator.weather(clock={"advance_s": 60})
    assert compute.get_instance(instance.id).data.lifecycle_state == "RUNNING"
    assert work.get_work_request(request).data.status == "SUCCEEDED"
    (attachment,) = compute.list_vnic_attachments(COMPARTMENT, instance_id=instance.id).data
    assert network.get_vnic(attachment.vnic_id).data.private_ip == "10.1.0.2"
    compute.terminate_instance(instance.id, preserve_boot_volume=False)
    assert compute.get_instance(instance.id).data.lifecycle_state == "TERMINATING"
    emulator.weather(clock={"advance_s": 60})
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
    emulator.weather(faults=[{**late, "operation": "boot", "late": False, "message": "No image."}])
    request = compute.launch_instance(launch(of.id)).headers["opc-work-request-id"]
    assert work.get_work_request(request).data.status == "FAILED"
    assert [one.message for one in work.list_work_request_errors(request).data] == ["No image."]


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
    assert "preemptible" in refused("InvalidParameter", 400, compute.launch_instance, both)
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
