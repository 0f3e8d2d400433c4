"""Instances: listed, changed, stopped, started and removed."""

from __future__ import annotations

from typing import Any

from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.gce.catalogue import BUNDLED_SSDS, PROJECT
from pytest_capacity.emulator.gce.context import CLOUD, Context, thing_path
from pytest_capacity.emulator.gce.launch import Wish, end_of
from pytest_capacity.emulator.gce.reservations import check_type
from pytest_capacity.emulator.gce.things import Disk, GceOperation, GceReservation, Instance
from pytest_capacity.emulator.gce.wire import fingerprint, last, link, missing, number_id, time_text
from pytest_capacity.emulator.refusal import Refusal, StaleVersion


def find(context: Context, zone: str, name: str) -> Instance:
    """Return an instance of a zone. Raise `Refusal`."""
    for one in context.world.of(Instance, CLOUD):
        if (one.zone, one.name) == (zone, name):
            return one
    raise missing(f"projects/{PROJECT}/zones/{zone}/instances/{name}")


def listed(context: Context) -> list[tuple[str, dict[str, Any]]]:
    """Return all instances with their scopes."""
    found = context.world.of(Instance, CLOUD)
    return [(f"zones/{one.zone}", told(context, one)) for one in found if one.visible(context.now)]


def told(context: Context, one: Instance) -> dict[str, Any]:
    """Return an instance as the API shows it."""
    body, zone = one.body, f"zones/{one.zone}"
    answer: dict[str, Any] = {
        "kind": "compute#instance",
        "id": number_id(one.number),
        "creationTimestamp": time_text(one.made),
        "name": one.name,
        "description": body.get("description", ""),
        "tags": {**(body.get("tags") or {}), "fingerprint": fingerprint(body.get("tags"))},
        "machineType": link(f"{zone}/machineTypes/{one.type}"),
        "status": one.state(context.now),
        "zone": link(zone),
        "canIpForward": False,
        "networkInterfaces": [_interface(one)],
        "disks": _disks(context, one),
        "metadata": {"kind": "compute#metadata", **one.metadata, "fingerprint": fingerprint(one.metadata)},
        "serviceAccounts": list(body.get("serviceAccounts") or ()),
        "selfLink": link(f"{zone}/instances/{one.name}"),
        "scheduling": _scheduling(one),
        "cpuPlatform": body.get("minCpuPlatform") or "Intel Cascade Lake",
        "labels": dict(one.tags),
        "labelFingerprint": _label_fingerprint(one),
        "startRestricted": False,
        "deletionProtection": False,
        "fingerprint": fingerprint(one.version),
        "reservationAffinity": _affinity(one),
    }
    if one.running_at <= context.now:
        answer["lastStartTimestamp"] = time_text(one.running_at)
    for key in ("minCpuPlatform", "shieldedInstanceConfig"):
        if key in body:
            answer[key] = body[key]
    if body.get("guestAccelerators"):
        answer["guestAccelerators"] = [
            {**board, "acceleratorType": link(f"{zone}/acceleratorTypes/{last(board.get('acceleratorType'))}")}
            for board in body["guestAccelerators"]
        ]
    if body.get("resourcePolicies"):
        answer["resourcePolicies"] = [
            link(f"regions/{one.region}/resourcePolicies/{last(policy)}") for policy in body["resourcePolicies"]
        ]
    reservation = context.world.get(one.reservation_id or "")
    if isinstance(reservation, GceReservation) and one.occupies(context.now):
        consumed = link(f"{zone}/reservations/{reservation.name}")
        answer["resourceStatus"] = {"reservationConsumptionInfo": {"consumedReservation": consumed}}
    return answer


def _interface(one: Instance) -> dict[str, Any]:
    given = (one.body.get("networkInterfaces") or [{}])[0]
    interface: dict[str, Any] = {
        "kind": "compute#networkInterface",
        "network": link("global/networks/default"),
        "subnetwork": link(f"regions/{one.region}/subnetworks/default"),
        "networkIP": one.private_ip,
        "name": "nic0",
        "fingerprint": fingerprint(given),
        "stackType": "IPV4_ONLY",
    }
    if one.public_ip:
        interface["accessConfigs"] = [
            {
                "kind": "compute#accessConfig",
                "type": "ONE_TO_ONE_NAT",
                "name": "External NAT",
                "natIP": one.public_ip,
                "networkTier": "PREMIUM",
            }
        ]
    return interface


def _disks(context: Context, one: Instance) -> list[dict[str, Any]]:
    disks = [disk for disk in context.world.of(Disk, CLOUD, one.region) if disk.machine is one]
    return [
        {
            "kind": "compute#attachedDisk",
            "type": "PERSISTENT",
            "mode": "READ_WRITE",
            "source": link(f"zones/{one.zone}/disks/{disk.name}"),
            "deviceName": f"persistent-disk-{index}",
            "index": index,
            "boot": index == 0,
            "autoDelete": disk.auto_delete,
            "interface": "SCSI",
            "diskSizeGb": str(disk.body.get("sizeGb", 10)),
        }
        for index, disk in enumerate(disks)
    ]


def _scheduling(one: Instance) -> dict[str, Any]:
    given = dict(one.body.get("scheduling") or {})
    spot = one.market == "spot"
    return {
        "onHostMaintenance": "TERMINATE" if spot else "MIGRATE",
        "automaticRestart": not spot,
        "preemptible": spot,
        "provisioningModel": "SPOT" if spot else "STANDARD",
        **given,
    }


def _label_fingerprint(one: Instance) -> str:
    return fingerprint((one.labels_changed, sorted(one.tags.items())))


def set_labels(context: Context, asked: Asked) -> GceOperation:
    """Replace the labels, if the fingerprint is theirs."""
    one = find(context, asked.zone or "", asked.params["name"])
    body = asked.params["body"]
    if body.get("labelFingerprint") != _label_fingerprint(one):
        raise StaleVersion("instance", one.name, str(body.get("labelFingerprint")), _label_fingerprint(one))
    one.tags = {str(key): str(value) for key, value in (body.get("labels") or {}).items()}
    one.labels_changed += 1
    one.version += 1
    return context.begin(asked, "setLabels", f"zones/{one.zone}/instances/{one.name}", one.number)


def set_metadata(context: Context, asked: Asked) -> GceOperation:
    """Replace the metadata, if the fingerprint is theirs."""
    one = find(context, asked.zone or "", asked.params["name"])
    body = dict(asked.params["body"])
    if body.pop("fingerprint", None) != fingerprint(one.metadata):
        raise StaleVersion("instance", one.name, "", fingerprint(one.metadata))
    body.pop("kind", None)
    one.metadata = body
    one.version += 1
    return context.begin(asked, "setMetadata", f"zones/{one.zone}/instances/{one.name}", one.number)


def set_machine_type(context: Context, asked: Asked) -> GceOperation:
    """Give a stopped machine another type."""
    one = _ready(context, asked)
    type_ = last(asked.params["body"].get("machineType"))
    check_type(context, context.place(asked), type_)
    _check_stopped(context, one)

    def retype() -> None:
        # It may have been deleted meanwhile.
        if one.stage(context.now) == "stopped":
            context.world.change_type(one, type_)

    return context.begin(asked, "setMachineType", thing_path(one, "instances"), one.number, then=retype)


def update(context: Context, asked: Asked) -> GceOperation:
    """Let a stopped machine consume another reservation; that is all that is emulated of it."""
    one = _ready(context, asked)
    body = asked.params["body"]
    if body.get("fingerprint") != fingerprint(one.version):
        raise StaleVersion("instance", one.name, str(body.get("fingerprint")), fingerprint(one.version))
    affinity = body.get("reservationAffinity") or {}
    if affinity != _affinity(one):
        _check_stopped(context, one)

    def aim() -> None:
        one.body = {**one.body, "reservationAffinity": affinity}
        one.version += 1

    return context.begin(asked, "update", thing_path(one, "instances"), one.number, then=aim)


def _affinity(one: Instance) -> Any:
    return one.body.get("reservationAffinity") or {"consumeReservationType": "ANY_RESERVATION"}


def _ready(context: Context, asked: Asked) -> Instance:
    """Return the machine of a call. Raise `Refusal` while another operation changes it."""
    one = find(context, asked.zone or "", asked.params["name"])
    path = thing_path(one, "instances")
    if any(operation.target == path and not operation.ended for operation in context.world.operations.values()):
        raise Refusal("resourceNotReady", f"The resource 'projects/{PROJECT}/{path}' is not ready")
    return one


def _check_stopped(context: Context, one: Instance) -> None:
    if one.stage(context.now) != "stopped":
        raise Refusal("invalid", f"Instance {one.name} must be stopped (TERMINATED); it is {one.state(context.now)}.")


def delete(context: Context, asked: Asked) -> GceOperation:
    """Remove one; it stops first."""
    one = find(context, asked.zone or "", asked.params["name"])
    path = f"zones/{one.zone}/instances/{one.name}"
    late = asked.strike.late()
    if late is None:
        context.world.leave(one)
    return context.begin(asked, "delete", path, one.number, error=late)


def stop(context: Context, asked: Asked) -> GceOperation:
    """Stop one. The call must state what becomes of its local SSDs."""
    one = _ready(context, asked)
    local = one.type in BUNDLED_SSDS or any(disk.get("type") == "SCRATCH" for disk in one.body.get("disks") or ())
    if local and asked.request.first("discardLocalSsd") not in ("true", "false"):
        raise Refusal("invalid", "VM has a Local SSD attached but an undefined value for `discard-local-ssd`.")
    context.world.stop(one)
    return context.begin(asked, "stop", thing_path(one, "instances"), one.number)


def start(context: Context, asked: Asked) -> GceOperation:
    """Start a stopped one again, in the reservation that it names. A lack of room for it is reported later."""
    one = _ready(context, asked)
    path = thing_path(one, "instances")
    if one.stage(context.now) in ("starting", "running"):
        return context.begin(asked, "start", path, one.number)
    _check_stopped(context, one)
    late = asked.strike.late()
    if late is None:
        try:
            (seat,) = Wish(context.place(asked), one.type, one.market, one.body).seats(context, 1, 1)
            context.world.start(one, seat)
        except Refusal as refusal:
            late = refusal
        else:
            scheduling = one.body.get("scheduling") or {}
            one.shutdown_at = end_of(context, scheduling)
    return context.begin(asked, "start", path, one.number, error=late)


def serial_port(context: Context, asked: Asked) -> dict[str, Any]:
    """Return what a machine wrote to its first serial port."""
    one = find(context, asked.zone or "", asked.params["name"])
    text = one.node.console() if one.node is not None else ""
    path = f"zones/{one.zone}/instances/{one.name}/serialPort"
    return {
        "kind": "compute#serialPortOutput",
        "selfLink": link(path),
        "contents": text,
        "start": "0",
        "next": str(len(text.encode())),
    }
