"""What bears our stamp in an account, of any run, as the allocation view shows it (`pytest_capacity.usage`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pytest_capacity.backends.stamp import Stamp
from pytest_capacity.model import Held, Subject
from pytest_capacity.usage import CloudResource, CloudUse, ResourceKind

NODE: Final = "node"
RESERVATION: Final = "reservation"


def use_of(held: Held, run: str, project: str = "") -> CloudResource:
    """Return a node or a reservation that bears the stamp of ``run``, with its one use."""
    node, facts = held.kind == NODE, held.facts
    use = CloudUse(
        reservation=(facts.get("reservation_id") or None) if node else held.id,
        lease=facts.get("lease_id") or run,
        run=run,
        project=project,
        topology=Subject.parse(held.subject).topology,
        group=held.group,
        name=facts.get("name", "") if node else "",
        instance_type=facts.get("instance_type", ""),
        market=facts.get("market", "") if node else "",
        state=held.state,
        until=held.deadline,
    )
    kind: ResourceKind = "node" if node else "reservation"
    return CloudResource(id=held.id, kind=kind, region=held.region, zone=held.zone, uses=(use,))


def stamped_use(held: Held, stamp: Stamp, regions: Collection[str]) -> CloudResource | None:
    """Return what a listed thing is used for; None where no run of ours has it, it is gone, or it is elsewhere.

    A lost part of the stamp hides nothing here: what is shown is not released.
    """
    if not stamp.run or held.state == "gone" or held.region not in regions:
        return None
    return use_of(held, stamp.run, stamp.project)
