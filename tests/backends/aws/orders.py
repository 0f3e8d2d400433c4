"""Requests and orders for the tests of this folder."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.backends.groups import plain
from pytest_capacity.model import NodeGroup, Offer, Order, Placement, Request, Topology

RUN: Final = "run-1"
PROJECT: Final = "backend-tests"
REGION: Final = "us-east-1"
ZONE: Final = "us-east-1a"
IMAGE: Final = "ami-12c6146b"

#: The clock of the tests that only plan: 2033-05-18T03:33:20Z.
NOW: Final = 2_000_000_000.0


def group(name: str, instance_type: str, count: int = 1, **more: Any) -> NodeGroup:
    """A reserved on-demand group, unless ``more`` says otherwise."""
    return NodeGroup(**{"name": name, "count": count, "instance_type": instance_type, "reserve": True, **more})


def request(*groups: NodeGroup, aws: AwsSettings | None = None, **more: Any) -> Request:
    """A checked request for ``groups`` in one region."""
    given: dict[str, Any] = {
        "backend": "aws",
        "run": RUN,
        "project": PROJECT,
        "topologies": {"default": Topology(groups)},
        "regions": (REGION,),
        "duration_s": 5400.0,
        "timeout_s": 600.0,
        "endpoint": "http://127.0.0.1:1",
        "emulated": True,
        "settings": plain(aws or AwsSettings(image={REGION: IMAGE})),
    }
    return Request(**{**given, **more})


def order(wanted: Request, offer: Offer | None = None, *, attempt: int = 1, now: float = NOW, **more: Any) -> Order:
    """The order that an engine would make of ``wanted`` in the zone of ``offer``."""
    made = Order(
        run=wanted.run,
        project=wanted.project,
        topology=wanted.topologies["default"],
        placement=Placement(REGION, offer.zone if offer else ZONE),
        attempt=attempt,
        lease_end=now + 1800,
        hard_end=now + wanted.duration_s,
        facts=offer.facts if offer else {},
    )
    return replace(made, **more)
