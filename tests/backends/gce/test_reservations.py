"""The interface of scylla-cluster-tests, `CapacityReservation`, on an emulated GCE: a keeper of its own, no nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pytest_capacity import CapacityReservation
from pytest_capacity.errors import CapacityError, Exhausted
from tests.emulated import Emulator

PROJECT = "emulated-project"

OURS: Mapping[str, Any] = {
    "backend": "gce",
    "regions": ["us-central1"],
    "zones": ["a", "b"],
    "project": "tests",
    "groups": {
        "db": {"count": 2, "instance_type": "n2-standard-2"},
        "loader": {"count": 1, "instance_type": "e2-small"},
    },
    "gce": {"project": PROJECT},
}
SCT: Mapping[str, Any] = {
    "cluster_backend": "gce",
    "region_name": "us-central1",
    "availability_zone": "a,b",
    "n_db_nodes": 2,
    "instance_type_db": "n2-standard-2",
    "n_loaders": 1,
    "gce_instance_type_loader": "e2-small",
    "gce_use_capacity_reservation": True,
    "gce_reservation_type": "zonal",
    "gce_reservation_specific": True,
    "gce_project": PROJECT,
    "fallback_to_next_availability_zone": True,
    "colocate": "zone",
}


@pytest.fixture(autouse=True)
def token(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper's credentials."""
    monkeypatch.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN", emulator.secret)
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", f"{emulator.url}/compute/v1/")


@pytest.mark.parametrize("params", [OURS, SCT], ids=["ours", "scylla-cluster-tests"])
def test_reserve_get_id_cancel(emulator: Emulator, params: Mapping[str, Any]) -> None:
    """One reservation a shape in the first zone that has both, found by letter and by name, gone when cancelled."""
    emulator.weather(stock={"us-central1-a": {"e2-small": 0}})
    reservation = CapacityReservation()
    assert reservation.is_enabled(params)
    reservation.reserve(params)
    held = {one["name"]: one["zone"] for one in emulator.held()}
    names = {reservation.get_id("b", "n2-standard-2"), reservation.get_id("us-central1-b", "e2-small")}
    assert held == dict.fromkeys(names, "us-central1-b")
    with pytest.raises(CapacityError, match=r"no reservation for e2-small in a\. This run holds: .*us-central1-b"):
        reservation.get_id("a", "e2-small")
    reservation.cancel(params)
    assert emulator.held() == []
    assert not [call for call in emulator.calls() if call["operation"].startswith("instances.insert")]


def test_no_capacity_leaves_nothing(emulator: Emulator) -> None:
    """`Exhausted`, in the cloud's words."""
    emulator.weather(stock={zone: {"*": 0} for zone in ("us-central1-a", "us-central1-b")})
    with pytest.raises(Exhausted, match="ZONE_RESOURCE_POOL_EXHAUSTED"):
        CapacityReservation().reserve(OURS)
    assert emulator.held() == []


def test_another_run_is_cancelled_by_its_test_id(emulator: Emulator) -> None:
    """In all regions; what bears another one stays."""
    ours = CapacityReservation()
    ours.reserve({**OURS, "test_id": "ours"})
    CapacityReservation().cancel_all_regions("another", OURS)
    assert len(emulator.held()) == 2
    CapacityReservation().cancel_all_regions("ours", OURS)
    assert emulator.held() == []
    ours.cancel(OURS)
