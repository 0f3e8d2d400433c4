"""Calls of the tests of the emulated Compute Engine, and bodies for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ZONE = "us-central1-a"
AT = f"zones/{ZONE}"
Call = Callable[..., Any]


def reservation(name: str = "held", count: int = 2, **more: Any) -> dict[str, Any]:
    """The body of one."""
    specific = {"count": str(count), "instanceProperties": {"machineType": "n2-standard-2"}}
    return {"name": name, "specificReservationRequired": True, "specificReservation": specific, **more}


def machine(name: str = "one", **more: Any) -> dict[str, Any]:
    """The body of one."""
    image = {"sourceImage": "projects/debian-cloud/global/images/family/debian-12"}
    disk = {"boot": True, "autoDelete": True, "initializeParams": image}
    return {
        "name": name,
        "machineType": f"{AT}/machineTypes/n2-standard-2",
        "disks": [disk],
        "networkInterfaces": [{"network": "global/networks/default"}],
        **more,
    }


def aimed_at(name: str) -> dict[str, Any]:
    """The affinity of a machine."""
    return {"reservationAffinity": {"consumeReservationType": "SPECIFIC_RESERVATION", "key": "x", "values": [name]}}


def ended(call: Call, operation: Any) -> Any:
    """The operation when it is over."""
    told = call("POST", f"{AT}/operations/{operation['name']}/wait")
    assert told["status"] == "DONE"
    return told
