"""Clients that are not ours: Google's two libraries for Python, and Apache libcloud."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulated import Emulator

PROJECT = "emulated-project"
ZONE = "us-central1-a"


@pytest.fixture(autouse=True)
def loopback_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Nothing but this machine is called: whatever else a client asks for fails, and the test with it."""
    others: list[Any] = []
    connect = socket.socket.connect

    def connected(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost", "::1"):
            others.append(address)
            raise OSError(f"a test asked for {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connected)
    yield others
    assert not others


def test_google_cloud_compute(emulator: Emulator) -> None:
    """The client library: a reservation and a machine in it, by its own types; operations by a client of their own.

    Not by ``.result()`` of an extended operation: that asks compute.googleapis.com, whatever endpoint was given.
    """
    from google.api_core.client_options import ClientOptions
    from google.api_core.exceptions import BadRequest, NotFound
    from google.cloud import compute_v1
    from google.oauth2.credentials import Credentials

    more: Any = {
        "credentials": Credentials(emulator.secret),
        "transport": "rest",
        "client_options": ClientOptions(api_endpoint=emulator.url),
    }
    reservations, instances = compute_v1.ReservationsClient(**more), compute_v1.InstancesClient(**more)
    operations = compute_v1.ZoneOperationsClient(**more)
    at: Any = {"project": PROJECT, "zone": ZONE}

    def done(operation: Any) -> Any:
        ended = operations.wait(operation=operation.name, **at)
        assert ended.status == compute_v1.Operation.Status.DONE
        return ended

    properties = compute_v1.AllocationSpecificSKUAllocationReservedInstanceProperties(machine_type="n2-standard-2")
    specific = compute_v1.AllocationSpecificSKUReservation(count=2, instance_properties=properties)
    reservation = compute_v1.Reservation(name="held", specific_reservation=specific, specific_reservation_required=True)
    done(reservations.insert_unary(reservation_resource=reservation, **at))
    affinity = compute_v1.ReservationAffinity(
        consume_reservation_type="SPECIFIC_RESERVATION",
        key="compute.googleapis.com/reservation-name",
        values=["held"],
    )
    image = "projects/debian-cloud/global/images/family/debian-12"
    disk = compute_v1.AttachedDisk(
        boot=True, auto_delete=True, initialize_params=compute_v1.AttachedDiskInitializeParams(source_image=image)
    )
    machine = compute_v1.Instance(
        name="one",
        machine_type=f"zones/{ZONE}/machineTypes/n2-standard-2",
        disks=[disk],
        network_interfaces=[compute_v1.NetworkInterface(network="global/networks/default")],
        reservation_affinity=affinity,
    )
    done(instances.insert_unary(instance_resource=machine, **at))
    found = instances.get(instance="one", **at)
    assert found.status == "RUNNING"
    assert found.resource_status.reservation_consumption_info.consumed_reservation.endswith("/reservations/held")
    listed = {scope: len(page.reservations) for scope, page in reservations.aggregated_list(project=PROJECT)}
    assert listed[f"zones/{ZONE}"] == 1
    with pytest.raises(BadRequest, match="already being used by"):
        reservations.delete_unary(reservation="held", **at)
    done(instances.delete_unary(instance="one", **at))
    done(reservations.delete_unary(reservation="held", **at))
    with pytest.raises(NotFound):
        reservations.get(reservation="held", **at)
    assert emulator.held() == []


def test_a_failed_operation_of_google_cloud_compute(emulator: Emulator) -> None:
    """What a zone does not have is told by the operation, in both of the places that the library reads."""
    from google.api_core.client_options import ClientOptions
    from google.cloud import compute_v1
    from google.oauth2.credentials import Credentials

    emulator.weather(stock={ZONE: {"*": 0}})
    more: Any = {
        "credentials": Credentials(emulator.secret),
        "transport": "rest",
        "client_options": ClientOptions(api_endpoint=emulator.url),
    }
    properties = compute_v1.AllocationSpecificSKUAllocationReservedInstanceProperties(machine_type="n2-standard-2")
    specific = compute_v1.AllocationSpecificSKUReservation(count=2, instance_properties=properties)
    reservation = compute_v1.Reservation(name="held", specific_reservation=specific)
    at: Any = {"project": PROJECT, "zone": ZONE}
    begun = compute_v1.ReservationsClient(**more).insert_unary(reservation_resource=reservation, **at)
    ended = compute_v1.ZoneOperationsClient(**more).wait(operation=begun.name, **at)
    assert (ended.http_error_status_code, ended.http_error_message) == (503, "SERVICE UNAVAILABLE")
    (error,) = ended.error.errors
    assert error.code == "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
    assert "us-central1-b" in error.error_details[0].error_info.metadatas["zonesAvailable"]


def test_google_api_python_client(emulator: Emulator) -> None:
    """The client that is made of the discovery document: lists with filters, and pages."""
    from google.oauth2.credentials import Credentials
    from googleapiclient.discovery import build

    compute = build(
        "compute",
        "v1",
        credentials=Credentials(emulator.secret),
        static_discovery=True,
        client_options={"api_endpoint": f"{emulator.url}/compute/v1/"},
    )
    names, token = [], None
    while True:
        answer = compute.zones().list(project=PROJECT, maxResults=10, pageToken=token).execute()
        names += [zone["name"] for zone in answer["items"]]
        token = answer.get("nextPageToken")
        if not token:
            break
    assert len(names) == len(set(names)) > 20
    filter_ = '(name="n2-standard-2") OR (name eq "e2-s.*l")'
    types = compute.machineTypes().list(project=PROJECT, zone=ZONE, filter=filter_).execute()
    assert [one["name"] for one in types["items"]] == ["e2-small", "n2-standard-2"]
    compute.close()


def test_libcloud(emulator: Emulator) -> None:
    """Apache libcloud's driver: zones, sizes, images, a node made and destroyed."""
    from libcloud.common.google import GoogleBaseConnection
    from libcloud.compute.drivers.gce import GCEConnection, GCENodeDriver

    class Connection(GCEConnection):  # type: ignore[misc]
        host = "127.0.0.1"
        secure = 0

        def pre_connect_hook(self, params: Any, headers: Any) -> tuple[Any, Any]:
            return params, {**headers, "Authorization": f"Bearer {emulator.secret}"}

        def __init__(self, *args: Any, **more: Any) -> None:
            super(GoogleBaseConnection, self).__init__(
                args[0], args[1], secure=False, host="127.0.0.1", port=int(emulator.url.rpartition(":")[2])
            )
            self.request_path = f"/compute/v1/projects/{PROJECT}"
            self.gce_params = None

    class Driver(GCENodeDriver):  # type: ignore[misc]
        connectionCls = Connection  # noqa: N815 - libcloud's name

        def _ex_connection_class_kwargs(self) -> dict[str, Any]:
            return {}

    driver = Driver("user", "key", project=PROJECT, datacenter=ZONE)
    assert ZONE in {zone.name for zone in driver.ex_list_zones()}
    size = driver.ex_get_size("n2-standard-2")
    image = driver.ex_get_image_from_family("debian-12", ex_project_list=["debian-cloud"])
    node = driver.create_node("one", size, image, location=ZONE, external_ip=None)
    assert [one.name for one in driver.list_nodes()] == ["one"]
    assert driver.destroy_node(node)
    assert emulator.held("instance") == []
