"""Dedicated hosts: allocated, listed, released, and the launches that go to them.

A host takes machines of one type. Mac types run on nothing else (EC2 user guide, "Amazon EC2 Mac instances").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_capacity.emulator import things
from pytest_capacity.emulator.aws.catalogue import ACCOUNT
from pytest_capacity.emulator.aws.context import Context, check_id, render_tags, when
from pytest_capacity.emulator.aws.listing import Reading, choose, page
from pytest_capacity.emulator.aws.things import Instance
from pytest_capacity.emulator.refusal import Refusal

ERROR: Final = "InvalidHostID"

#: Machines of a type that is no whole machine, on one host. EC2's figure is another for each type.
SEATS: Final = 8


@dataclass(kw_only=True)
class Host(things.Other):
    """A dedicated host."""

    kind: str = "dedicated-host"
    type: str
    #: Whether launches that name no host may be placed on it.
    auto: bool

    @property
    def seats(self) -> int:
        """Return how many machines it takes."""
        return 1 if self.type.endswith(".metal") else SEATS


def allocate(ctx: Context) -> dict[str, Any]:
    """Answer AllocateHosts, by type; families are not supported here."""
    params = ctx.params
    if "InstanceType" not in params:
        raise Refusal("UnsupportedOperation", "AllocateHosts: the emulator wants InstanceType; it knows no families.")
    zone = ctx.zone(params.get("AvailabilityZone"), params.get("AvailabilityZoneId"))
    type_, count = params["InstanceType"], params.get("Quantity", 1)
    if not ctx.catalogue.has_type(type_):
        raise Refusal("InvalidHostConfiguration", f"The instance type '{type_}' is not supported.")
    ctx.check_type(type_, zone)
    ctx.dry_run()
    if not ctx.world.room().zones_with_stock(ctx.place(), [zone], type_, "on-demand", count):
        words = "There is not enough capacity to fulfill your Dedicated Host request"
        raise Refusal("InsufficientHostCapacity", words, 500)
    tags = ctx.tags_for("dedicated-host")["dedicated-host"]
    hosts = [
        Host(
            **ctx.born("h"),
            zone=zone,
            tags=dict(tags),
            type=type_,
            auto=params.get("AutoPlacement", "on") == "on",
            hourly=ctx.catalogue.price(type_, "on-demand"),
        )
        for _ in range(count)
    ]
    for host in hosts:
        ctx.world.add(host)
    return {"HostIds": [host.id for host in hosts]}


def describe(ctx: Context) -> dict[str, Any]:
    """Answer DescribeHosts."""
    ctx.dry_run()
    ids = ctx.params.get("HostIds", [])
    found = [_known(ctx, id_) for id_ in ids] if ids else _all(ctx)
    params = {**ctx.params, "Filters": ctx.params.get("Filter", ctx.params.get("Filters", []))}
    chosen, token = page(choose(found, params["Filters"], _READINGS), params)
    return {"Hosts": [_render(ctx, one) for one in chosen], "NextToken": token}


def release(ctx: Context) -> dict[str, Any]:
    """Answer ReleaseHosts: each by itself."""
    done, failed = [], []
    ctx.dry_run()
    for id_ in ctx.params["HostIds"]:
        try:
            host = _known(ctx, id_)
        except Refusal as refusal:
            failed.append({"ResourceId": id_, "Error": {"Code": f"Client.{refusal.code}", "Message": refusal.message}})
            continue
        if _on(ctx, host):
            words = f"Dedicated host '{id_}' cannot be released as it is occupied."
            failed.append({"ResourceId": id_, "Error": {"Code": "Client.InvalidHost.Occupied", "Message": words}})
            continue
        ctx.world.remove(host)
        done.append(id_)
    return {"Successful": done, "Unsuccessful": failed}


def of_launch(ctx: Context, type_: str, zone: str, placement: Mapping[str, Any]) -> str:
    """Return the host that a launch goes to, "" for none. Refuses what EC2 refuses."""
    tenancy, id_ = placement.get("Tenancy", "default"), placement.get("HostId")
    if tenancy != "host":
        if id_ or "Affinity" in placement:
            what = "hostId" if id_ else "affinity"
            words = f"The parameter {what} cannot be used without specifying a tenancy of 'host'"
            raise Refusal("InvalidParameterCombination", words)
        if type_.startswith("mac"):
            words = "The requested configuration is currently not supported. Please check the documentation for "
            raise Refusal("Unsupported", f"{words}supported configurations.")
        return ""
    if placement.get("GroupName"):
        words = "You cannot launch an instance with a tenancy of 'host' into a placement group. Either remove the "
        words += "placement group from the request, or specify a different tenancy."
        raise Refusal("InvalidParameterCombination", words)
    return _chosen(ctx, type_, zone, id_, ctx.params["MinCount"]).id


def _chosen(ctx: Context, type_: str, zone: str, id_: str | None, count: int) -> Host:
    if id_ is not None:
        host = _known(ctx, id_)
        if (host.type, host.zone) != (type_, zone):
            words = f"The instance type or zone of the launch does not fit the dedicated host '{id_}'."
            raise Refusal("UnsupportedInstanceTypeOnHost", words)
        if _free(ctx, host) < count:
            words = f"There is not enough capacity on the Dedicated Host '{id_}' to launch or start the instance."
            raise Refusal("InsufficientCapacityOnHost", words)
        return host
    fitting = [one for one in _all(ctx) if one.auto and (one.type, one.zone) == (type_, zone)]
    room = next((one for one in fitting if _free(ctx, one) >= count), None)
    if room is None:
        words = "There are no valid Dedicated Hosts available on which you can launch an instance."
        raise Refusal("UnavailableHostRequirements", words)
    return room


def _all(ctx: Context) -> list[Host]:
    return ctx.world.of(Host, "aws", ctx.region)


def _known(ctx: Context, id_: str) -> Host:
    check_id(id_, "h", ERROR)
    for host in _all(ctx):
        if host.id == id_:
            return host
    raise Refusal(f"{ERROR}.NotFound", f"The host ID '{id_}' does not exist")


def _on(ctx: Context, host: Host) -> list[Instance]:
    return [one for one in ctx.instances.values() if one.live(ctx.now) and one.details.get("HostId") == host.id]


def _free(ctx: Context, host: Host) -> int:
    return host.seats - len(_on(ctx, host))


def _render(ctx: Context, host: Host) -> dict[str, Any]:
    return {
        "HostId": host.id,
        "AvailabilityZone": host.zone,
        "AutoPlacement": "on" if host.auto else "off",
        "State": "available",
        "OwnerId": ACCOUNT,
        "AllocationTime": when(host.made),
        "HostProperties": {"InstanceType": host.type},
        "AvailableCapacity": {
            "AvailableInstanceCapacity": [
                {"InstanceType": host.type, "AvailableCapacity": _free(ctx, host), "TotalCapacity": host.seats}
            ]
        },
        "Instances": [{"InstanceId": one.id, "InstanceType": one.type} for one in _on(ctx, host)],
        "Tags": render_tags(host) or None,
    }


_READINGS: Final[Mapping[str, Reading]] = {
    "availability-zone": lambda host: [host.zone],
    "auto-placement": lambda host: ["on" if host.auto else "off"],
    "instance-type": lambda host: [host.type],
    "state": lambda _host: ["available"],
}
