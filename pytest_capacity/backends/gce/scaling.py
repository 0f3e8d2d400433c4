"""Changes of what stands: deadlines, reservations, machines that are stopped and started, disks; what cannot be done.

Each change is one call where the API has one. Its operation is kept in the facts of what it changes, so that `refresh`
sees how it ends: a reservation for which a zone has no more capacity is told by that alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.gce import config, reading, types
from pytest_capacity.backends.gce.existing_reservations import affinity_of
from pytest_capacity.backends.gce.listing import any_of, listed_by, read_list
from pytest_capacity.backends.gce.plan import DISK, NODE, RESERVATION, reservation_affinity
from pytest_capacity.backends.gce.session import Session
from pytest_capacity.backends.gce.settings import GroupSettings, section_of, settings_of
from pytest_capacity.backends.gce.stamp import DEADLINE
from pytest_capacity.backends.gce.values import last
from pytest_capacity.model import Change, Held, NodeChange, NodeGroup, Obstacle, Request

#: GB of the largest disk that a machine can start from (Compute Engine documentation, "Persistent Disk").
MOST_DISK_GB: Final = 65536


class Changer:
    """Carries out `Change`s, for `pytest_capacity.backends.gce.backend.GceBackend`."""

    def __init__(self, session: Session, request: Request) -> None:
        self._session = session
        self._request = request

    def change(self, held: Held, to: Change) -> Held:
        """Set what ``to`` names. Raise ``ValueError`` for anything that cannot be set, before any call."""
        if held.kind == RESERVATION and to.count is not None:
            if to == Change(count=to.count, instance_type=to.instance_type):
                return self._resize(held, to.count)
        elif held.kind == NODE:
            if to.deadline is not None and to == Change(deadline=to.deadline):
                return self._set_deadline(held, to.deadline)
            if to.running is not None and to == Change(running=to.running):
                return self._start(held) if to.running else self._stop(held)
            if to.disk_gb is not None and to == Change(disk_gb=to.disk_gb):
                return self._grow_disk(held, to.disk_gb)
            type_, reservation = to.instance_type, to.reservation_id
            aimed = Change(instance_type=type_, reservation_id=reservation)
            if type_ is not None and reservation is not None and to == aimed:
                return self._retype(held, type_, reservation)
        raise ValueError(f"{held.kind} {held.id}: Compute Engine cannot change {to}")

    def disks(self, nodes: Sequence[Held]) -> list[int]:
        """Return the size of the disk that each node starts from, in GB; it has the node's name. One list."""
        if not nodes:
            return []
        helds = [replace(node, kind=DISK) for node in nodes]
        listing = listed_by(self._session, self._request.run, DISK, helds)()
        sizes = {(last(one.get("zone")), one["name"]): int(one.get("sizeGb") or 0) for one in listing.items}
        return [sizes.get((node.zone, node.id), 0) for node in nodes]

    def obstacles(self, change: NodeChange, group: NodeGroup) -> list[Obstacle]:
        """Return what of ``change`` Compute Engine cannot do with the group. One list at most."""
        found = []
        if change.disk_gb is not None and change.disk_gb > MOST_DISK_GB:
            found.append(Obstacle("unsupported", f"a disk has at most {MOST_DISK_GB} GB"))
        if change.instance_type is not None:
            found += self._obstacles_of_type(change.instance_type, change.mode == "in_place", group)
        return found

    def _obstacles_of_type(self, wanted: str, in_place: bool, group: NodeGroup) -> Iterator[Obstacle]:
        known = self._types_of(wanted, group.instance_type)
        if wanted not in known:
            yield Obstacle("unknown-type", f"Compute Engine has no machine type {wanted}")
            return
        settings = settings_of(self._request, group)
        for words in _unfit(settings, wanted):
            yield Obstacle("unsupported", words)
        if not in_place:
            return
        before = known.get(group.instance_type, {})
        if _architecture(known[wanted]) != _architecture(before):
            words = f"{wanted} is {_architecture(known[wanted])}, and {group.instance_type} is {_architecture(before)}"
            yield Obstacle("architecture", words)
        if settings.gce.local_ssds or before.get("bundledLocalSsds"):
            words = f"its nodes have local SSDs ({group.instance_type}), whose data is lost when they are stopped"
            yield Obstacle("local-disks", words)
        if bool(before.get("bundledLocalSsds")) != bool(known[wanted].get("bundledLocalSsds")):
            words = f"of {group.instance_type} and {wanted} one has local SSDs built in, and the other has none"
            yield Obstacle("unsupported", words)

    def _types_of(self, *names: str) -> dict[str, Mapping[str, Any]]:
        filter_ = any_of(f'name="{name}"' for name in sorted(set(names)))
        listing = read_list(self._session, "machineTypes.aggregatedList", "machineTypes", filter_)
        return {one["name"]: one for one in listing.items}

    def _call(self, method: str, held: Held, name: str, body: Mapping[str, Any] | None = None, **query: str) -> Any:
        """Return the operation of a changing call. It is a new one each time: all of them set absolute values."""
        path = {"zone": held.zone, name: held.id}
        return self._session.call(method, path, query={**query, "requestId": str(uuid.uuid4())}, body=body)

    def _resize(self, held: Held, count: int) -> Held:
        body = {"specificSkuCount": str(count)}
        return _under_way(held, self._call("reservations.resize", held, "reservation", body))

    def _set_deadline(self, held: Held, deadline: float) -> Held:
        """Labels are set all together, so the machine is read first."""
        now = self._read(held)
        body = {
            "labels": {**(now.get("labels") or {}), DEADLINE: str(int(deadline))},
            "labelFingerprint": now.get("labelFingerprint", ""),
        }
        self._call("instances.setLabels", held, "instance", body)
        return replace(held, deadline=float(int(deadline)))

    def _stop(self, held: Held) -> Held:
        # The flag has to be there where a machine has local SSDs; whether their data may go has been settled before.
        self._call("instances.stop", held, "instance", discardLocalSsd="true")
        return held

    def _start(self, held: Held) -> Held:
        return _under_way(held, self._call("instances.start", held, "instance"))

    def _retype(self, held: Held, instance_type: str, reservation: str) -> Held:
        """Set the type, then which reservation is consumed: two calls, each left out where it is so already.

        While the first one's operation runs the second may be refused for now; then both are asked for again.
        """
        now = self._read(held)
        if last(now.get("machineType")) != instance_type:
            body = {"machineType": f"zones/{held.zone}/machineTypes/{instance_type}"}
            self._call("instances.setMachineType", held, "instance", body)
            now = self._read(held)
        affinity = self._affinity(reservation)
        if (now.get("reservationAffinity") or {}) != affinity:
            self._call("instances.update", held, "instance", {**now, "reservationAffinity": affinity})
        return replace(held, facts={**held.facts, "instance_type": instance_type})

    def _affinity(self, reservation: str) -> dict[str, Any]:
        if not reservation:
            return {"consumeReservationType": "NO_RESERVATION"}
        named = affinity_of(self._request, self._session.project, reservation)
        if section_of(self._request).reservation == "automatic" and not named:
            return {"consumeReservationType": "ANY_RESERVATION"}
        return reservation_affinity(named or reservation)

    def _grow_disk(self, held: Held, size: int) -> Held:
        (now,) = self.disks([held])
        if now < size:
            self._call("disks.resize", held, "disk", {"sizeGb": str(size)})
        return held

    def _read(self, held: Held) -> dict[str, Any]:
        return self._session.call("instances.get", {"zone": held.zone, "instance": held.id})


def _under_way(held: Held, operation: Mapping[str, Any]) -> Held:
    """Return ``held`` as it is until its operation has ended."""
    facts = {reading.OPERATION: str(operation.get("name", "")), reading.OPERATION_AT: held.zone}
    return replace(held, state="creating", problem="", problem_code="", parts=(), facts={**held.facts, **facts})


def _architecture(type_: Mapping[str, Any]) -> str:
    return str(type_.get("architecture") or "X86_64")


def _unfit(group: GroupSettings, instance_type: str) -> Iterator[str]:
    """Yield what the group has that machines of the type cannot have."""
    if group.gce.local_ssds and not types.takes_local_ssds(instance_type):
        yield f"local_ssds is {group.gce.local_ssds}, and {instance_type} takes none"
    if group.gce.accelerators and not types.takes_accelerators(instance_type):
        yield f"{instance_type} takes no accelerators"
    if group.group.placement_group and types.series(instance_type) in config.NOT_COMPACT:
        yield f"{instance_type} cannot be placed compactly"
