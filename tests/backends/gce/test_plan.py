"""What an order comes to, without a call."""

from __future__ import annotations

import uuid
from itertools import chain
from typing import Any

from msgspec.structs import replace

from pytest_capacity.backends.gce.backend import GceBackend
from pytest_capacity.backends.gce.plan import create_call, request_id
from pytest_capacity.backends.gce.routes import ROUTES
from pytest_capacity.backends.gce.stamp import label_value, name_part, read_stamp
from pytest_capacity.backends.gce.types import family
from pytest_capacity.backends.pieces import PUBLIC_KEY
from pytest_capacity.backends.stamp import Stamp
from pytest_capacity.model import NodeGroup, Order, Piece, Placement, Request, Ssh, Topology
from tests.backends.gce.lab import DB, LOADER, REGION, ZONES
from tests.emulator.gce.discovery import describe, wrong_value

NOW = 2_000_000_000.0
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f run"


def request(*groups: NodeGroup, **more: Any) -> Request:
    """A checked request in one region."""
    given: dict[str, Any] = {
        "backend": "gce",
        "run": "run-1",
        "project": "a project: Ä",
        "topologies": {"default": Topology(groups)},
        "regions": (REGION,),
        "duration_s": 5400.0,
        "timeout_s": 600.0,
    }
    return Request(**{**given, **more})


def order(wanted: Request, **more: Any) -> Order:
    """The order that an engine would make of it in zone a."""
    made = Order(
        run=wanted.run,
        project=wanted.project,
        topology=wanted.topologies["default"],
        placement=Placement(REGION, ZONES[0]),
        attempt=1,
        lease_end=NOW + 1800,
        hard_end=NOW + wanted.duration_s,
        nonce="n",
    )
    return replace(made, **more)


def pieces(wanted: Request, **more: Any) -> list[Piece]:
    """The pieces of the order, one round after another."""
    return list(chain(*GceBackend(wanted).plan(order(wanted, **more))))


def test_the_same_order_gives_the_same_calls() -> None:
    """In names, bodies and requestIds: a call whose answer was lost is made again without a difference."""
    wanted = request(DB, LOADER)
    first, second = pieces(wanted), pieces(wanted)
    assert [create_call(piece) for piece in first] == [create_call(piece) for piece in second]
    assert [request_id(piece.token) for piece in first] == [request_id(piece.token) for piece in second]


def test_another_attempt_has_other_names_and_ids() -> None:
    """A name that an earlier attempt used may still be on its way out."""
    wanted = request(DB, LOADER)
    first, second = pieces(wanted), pieces(wanted, attempt=2, series=1)
    assert [piece.subject for piece in first] == [piece.subject for piece in second]
    names = [{create_call(piece)[2].get("name") for piece in some} - {None} for some in (first, second)]
    assert not names[0] & names[1]
    assert not {piece.token for piece in first} & {piece.token for piece in second}


def test_a_request_id_is_a_uuid() -> None:
    """As the API wants it, and not the zero one."""
    assert uuid.UUID(request_id("pc-token")).int
    assert request_id("pc-token") != request_id("pc-other")


def test_every_body_is_as_described() -> None:
    """With all that can be asked for, against Google's description of each body."""
    own = {
        "local_ssds": 1,
        "accelerators": {"nvidia-tesla-t4": 2},
        "min_cpu_platform": "Intel Skylake",
        "network_tags": ["ssh"],
        "labels": {"a": "b"},
        "metadata": {"serial-port-enable": "TRUE"},
        "public_ip": True,
        "service_account": "default",
        "disk_gb": 20,
        "disk_type": "pd-ssd",
        "shielded_vm": True,
        "subnets": "mine",
    }
    spot = replace(DB, name="spot", market="spot")
    groups = [replace(DB, cloud=own, placement_group=True), replace(LOADER, cloud=own), spot]
    wanted = request(*groups, settings={"share_with": ["other-project"]}, ssh=Ssh())
    found = pieces(wanted, facts={PUBLIC_KEY: KEY})
    assert {create_call(piece)[0] for piece in found} == {
        "resourcePolicies.insert",
        "reservations.insert",
        "instances.insert",
        "instances.bulkInsert",
    }
    for piece in found:
        made = replace(piece, inputs={need.key: "a-name" for need in piece.needs})
        method, path, body = create_call(made)
        assert not list(wrong_value(body, describe(method)["request"], method))
        assert set(path) == {"region"} if method.startswith("resource") else {"zone"}


def test_every_route_is_as_described() -> None:
    """Verb and path of each method that we call."""
    for name, route in ROUTES.items():
        method = describe(name)
        described = method["path"].replace("{zoneOperation}", "{operation}")
        assert (route.verb, route.path) == (method["httpMethod"], described), name


def test_types_of_one_quota_are_a_family() -> None:
    """By the metric that their vCPUs count against."""
    metrics = {type_: family(type_) for type_ in ("n1-standard-4", "e2-small", "custom-4-8192", "n2-highmem-8")}
    assert metrics == {
        "n1-standard-4": "CPUS",
        "e2-small": "CPUS",
        "custom-4-8192": "CPUS",
        "n2-highmem-8": "N2_CPUS",
    }


def test_groups_of_one_shape_share_a_reservation() -> None:
    """For the nodes of both; its owner is neither."""
    (reservation, *_) = pieces(request(DB, replace(DB, name="more", count=3)))
    assert (reservation.count, reservation.spec["specificReservation"]["count"]) == (5, "5")
    assert (reservation.group, reservation.groups) == (None, ("db", "more"))


def test_the_key_stands_in_the_metadata() -> None:
    """For the user that logs in; keys of the project do not count, nor does OS Login."""
    wanted = request(replace(LOADER, cloud={"metadata": {"ssh-keys": "admin:ssh-rsa AAA"}}), ssh=Ssh(user="tester"))
    machine = pieces(wanted, facts={PUBLIC_KEY: KEY})[-1].spec
    items = {item["key"]: item["value"] for item in machine["metadata"]["items"]}
    assert items == {
        "ssh-keys": f"admin:ssh-rsa AAA\ntester:{KEY}",
        "block-project-ssh-keys": "TRUE",
        "enable-oslogin": "FALSE",
    }


def test_user_data_goes_where_it_is_read() -> None:
    """A script to the guest environment, which every image has; what only cloud-init knows to cloud-init."""
    for text, key in (("#!/bin/sh\n", "startup-script"), ("#cloud-config\n", "user-data")):
        machine = pieces(request(replace(LOADER, user_data=text)))[-1].spec
        assert machine["metadata"]["items"] == [{"key": key, "value": text}]


def test_user_data_of_windows_loses_its_tags() -> None:
    """The guest agent of Windows reads bare scripts, one key for each language."""
    text = "<powershell>\nWrite-Host 1\n</powershell>\n<script>\necho 2\n</script>\n"
    machine = pieces(request(replace(LOADER, user_data=text)))[-1].spec
    items = {item["key"]: item["value"] for item in machine["metadata"]["items"]}
    assert items == {"windows-startup-script-ps1": "Write-Host 1\n", "windows-startup-script-cmd": "echo 2\n"}


def test_a_stamp_is_read_back() -> None:
    """Whole, with characters that no label could hold; the deadline is the label's, which can be changed."""
    machine = pieces(request(LOADER))[-1].spec
    read = read_stamp(machine)
    assert read == Stamp("run-1", "a project: Ä", "default", pieces(request(LOADER))[-1].subject, "loader", NOW + 1800)
    later = read_stamp({**machine, "labels": {**machine["labels"], "pytest-capacity-deadline": "2000009999"}})
    assert later.deadline == 2_000_009_999
    assert read_stamp({"description": "somebody's"}) == Stamp()
    assert read_stamp({"description": '{"pytest-capacity": []}'}).missing == ("run", "project", "piece", "deadline")


def test_texts_become_labels_and_names() -> None:
    """Two that would look alike stay two."""
    assert label_value("run-1") == "run-1"
    assert label_value("Run-1") != label_value("run-1")
    assert label_value("x" * 80) != label_value("x" * 81)
    assert len(label_value("Ä" * 200)) <= 63
    assert name_part("My Group!", 20) == "my-group"
