"""Machines once they are made: describe, terminate, attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from pytest_capacity.emulator.aws import volumes
from pytest_capacity.emulator.aws.catalogue import ACCOUNT
from pytest_capacity.emulator.aws.context import Context, check_id, render_tags, when
from pytest_capacity.emulator.aws.listing import Reading, choose, page
from pytest_capacity.emulator.aws.things import Instance
from pytest_capacity.emulator.refusal import Refusal

ERROR: Final = "InvalidInstanceID"
CODES: Final = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}
#: Least page of DescribeInstances (EC2 API reference: MaxResults 5 to 1000).
LEAST_PAGE: Final = 5


def describe(ctx: Context) -> dict[str, Any]:
    """Answer DescribeInstances. A page may end in the middle of a launch; the launch then continues on the next."""
    ids = ctx.params.get("InstanceIds", [])
    if ids and "MaxResults" in ctx.params:
        words = "The parameter instancesSet cannot be used with the parameter maxResults"
        raise Refusal("InvalidParameterCombination", words)
    ctx.dry_run()
    found = listed(ctx, ids)
    chosen, token = page(choose(found, ctx.params.get("Filters", []), _readings(ctx)), ctx.params, LEAST_PAGE)
    launches = groupby(chosen, key=lambda one: one.launch_id)
    return {"Reservations": [_launch(ctx, list(ones)) for _, ones in launches], "NextToken": token}


def terminate(ctx: Context) -> dict[str, Any]:
    """Answer TerminateInstances: all of them, or none if one is unknown. Those already gone stay as they are."""
    ctx.require("InstanceIds")
    instances = all_of(ctx, ctx.params["InstanceIds"], seen=False)
    protected = [one.id for one in instances if one.details["DisableApiTermination"]]
    if protected:
        words = f"The instance '{protected[0]}' may not be terminated. Modify its 'disableApiTermination' instance"
        raise Refusal("OperationNotPermitted", f"{words} attribute and try again.")
    ctx.dry_run()
    changes = []
    for one in instances:
        before = one.state(ctx.now)
        ctx.world.leave(one)
        after = "terminated" if one.state(ctx.world.clock.now()) == "terminated" else "shutting-down"
        changes.append({"InstanceId": one.id, "CurrentState": state_of(after), "PreviousState": state_of(before)})
    return {"TerminatingInstances": changes}


def describe_attribute(ctx: Context) -> dict[str, Any]:
    """Answer DescribeInstanceAttribute, for the attributes that a launch sets."""
    one = the(ctx, ctx.params["InstanceId"])
    attribute = ctx.params["Attribute"]
    answers: Mapping[str, tuple[str, Any]] = {
        "instanceInitiatedShutdownBehavior": (
            "InstanceInitiatedShutdownBehavior",
            {"Value": one.details["ShutdownBehavior"]},
        ),
        "userData": ("UserData", {"Value": one.details["UserData"]} if one.details["UserData"] else {}),
        "instanceType": ("InstanceType", {"Value": one.type}),
        "disableApiTermination": ("DisableApiTermination", {"Value": one.details["DisableApiTermination"]}),
        "groupSet": ("Groups", one.details["SecurityGroups"]),
    }
    if attribute not in answers:
        known = ", ".join(answers)
        raise Refusal("InvalidParameterValue", f"The attribute {attribute!r} is unknown; the emulator has {known}")
    name, value = answers[attribute]
    return {"InstanceId": one.id, name: value}


def describe_status(ctx: Context) -> dict[str, Any]:
    """Answer DescribeInstanceStatus; machines that do not run only with IncludeAllInstances."""
    found = listed(ctx, ctx.params.get("InstanceIds", []))
    if not ctx.params.get("IncludeAllInstances"):
        found = [one for one in found if one.state(ctx.now) == "running"]
    chosen, token = page(choose(found, ctx.params.get("Filters", []), _readings(ctx)), ctx.params, LEAST_PAGE)
    return {"InstanceStatuses": [_status(ctx, one) for one in chosen], "NextToken": token}


def listed(ctx: Context, ids: Sequence[str]) -> list[Instance]:
    """Return the machines of this region that listings show: those of ``ids``, which must all be there, or all."""
    if ids:
        return all_of(ctx, ids, seen=True)
    return [one for one in ctx.instances.values() if one.visible(ctx.now)]


def the(ctx: Context, id_: str) -> Instance:
    """Return the one machine of this id that listings show; refuse as EC2 does if there is none."""
    (one,) = all_of(ctx, [id_], seen=True)
    return one


def all_of(ctx: Context, ids: Sequence[str], seen: bool) -> list[Instance]:
    """Return the machines of these ids; with ``seen`` only those that listings show. Refuse if one id is unknown."""
    for id_ in ids:
        check_id(id_, "i", ERROR)
    instances = ctx.instances
    missing = [
        id_ for id_ in dict.fromkeys(ids) if id_ not in instances or (seen and not instances[id_].visible(ctx.now))
    ]
    if missing:
        s, verb = ("", "does") if len(missing) == 1 else ("s", "do")
        words = f"The instance ID{s} '{', '.join(missing)}' {verb} not exist"
        raise Refusal(f"{ERROR}.NotFound", words)
    return [instances[id_] for id_ in dict.fromkeys(ids)]


def render_launch(ctx: Context, instances: Sequence[Instance]) -> dict[str, Any]:
    """Return the answer to a launch, in which every machine is still pending."""
    return _launch(ctx, instances, fresh=True)


def _launch(ctx: Context, instances: Sequence[Instance], fresh: bool = False) -> dict[str, Any]:
    return {
        "ReservationId": instances[0].launch_id,
        "OwnerId": ACCOUNT,
        "Instances": [render(ctx, one, fresh) for one in instances],
    }


def state_of(name: str) -> dict[str, Any]:
    """Return a state as EC2 writes it."""
    return {"Code": CODES[name], "Name": name}


def render(ctx: Context, one: Instance, fresh: bool = False) -> dict[str, Any]:
    """Return a machine as EC2 describes it."""
    state = one.state(ctx.now)
    details = one.details
    gone = state == "terminated"
    left = min(one.leaving_at, one.stopping_at) <= ctx.now
    public_ip = None if gone or state == "stopped" else one.public_ip or None
    private_ip = None if gone else one.private_ip
    code, words = one.reason()
    return {
        "InstanceId": one.id,
        "ImageId": details["ImageId"],
        "State": state_of("pending" if fresh and not gone else state),
        "PrivateDnsName": _dns("ip", private_ip, "ec2.internal"),
        "PublicDnsName": _dns("ec2", public_ip, "compute.amazonaws.com"),
        "StateTransitionReason": one.transition() if left else "",
        "StateReason": {"Code": code, "Message": words} if left and code else None,
        "KeyName": details["KeyName"],
        "AmiLaunchIndex": details["AmiLaunchIndex"],
        "InstanceType": one.type,
        "LaunchTime": when(one.made),
        "Placement": {
            "AvailabilityZone": one.zone,
            "AvailabilityZoneId": ctx.catalogue.zones_of(one.region)[one.zone],
            "GroupName": one.group_name,
            "Tenancy": one.tenancy,
            "HostId": details["HostId"],
            "Affinity": details["Affinity"],
        },
        "Monitoring": {"State": "disabled"},
        "Platform": "Windows" if one.platform.startswith("Windows") else None,
        "PlatformDetails": one.platform,
        "SubnetId": None if gone else details["SubnetId"],
        "VpcId": None if gone else details["VpcId"],
        "PrivateIpAddress": private_ip,
        "PublicIpAddress": public_ip,
        "Architecture": details["Architecture"],
        "RootDeviceName": details["RootDeviceName"],
        "BlockDeviceMappings": [] if gone else volumes.attachments(ctx, one),
        "RootDeviceType": "ebs",
        "VirtualizationType": "hvm",
        "Hypervisor": "xen",
        "EbsOptimized": details["EbsOptimized"],
        "ClientToken": one.token,
        "InstanceLifecycle": "spot" if one.market == "spot" else None,
        "SpotInstanceRequestId": one.spot_request_id or None,
        "SecurityGroups": [] if gone else details["SecurityGroups"],
        "Tags": render_tags(one) or None,
        "CapacityReservationId": one.reservation_id,
        "CapacityReservationSpecification": details["CapacityReservationSpecification"],
        "IamInstanceProfile": details["IamInstanceProfile"],
        "MetadataOptions": details["MetadataOptions"],
        "Ipv6Address": None if gone else next(iter(details["Ipv6"]), None),
        "NetworkInterfaces": [] if gone else [_interface(one)],
    }


def _interface(one: Instance) -> dict[str, Any]:
    """Return the network interface that a machine is made with, and that is deleted with it."""
    details = one.details
    return {
        "NetworkInterfaceId": details["InterfaceId"],
        "SubnetId": details["SubnetId"],
        "VpcId": details["VpcId"],
        "OwnerId": ACCOUNT,
        "Status": "in-use",
        "PrivateIpAddress": one.private_ip,
        "Groups": details["SecurityGroups"],
        "Ipv6Addresses": [{"Ipv6Address": address} for address in details["Ipv6"]],
        "Attachment": {"DeviceIndex": 0, "DeleteOnTermination": True, "Status": "attached"},
    }


def _dns(prefix: str, ip: str | None, domain: str) -> str:
    return f"{prefix}-{ip.replace('.', '-')}.{domain}" if ip else ""


def _status(ctx: Context, one: Instance) -> dict[str, Any]:
    state = one.state(ctx.now)
    health = "ok" if state == "running" else "not-applicable"
    return {
        "AvailabilityZone": one.zone,
        "InstanceId": one.id,
        "InstanceState": state_of(state),
        "InstanceStatus": {"Status": health, "Details": [{"Name": "reachability", "Status": "passed"}]},
        "SystemStatus": {"Status": health, "Details": [{"Name": "reachability", "Status": "passed"}]},
    }


def _readings(ctx: Context) -> Mapping[str, Reading]:
    def some(value: object) -> list[str]:
        return [] if value in (None, "") else [str(value)]

    def detail(name: str) -> Reading:
        return lambda one: some(one.details[name])

    return {
        "instance-id": lambda one: [one.id],
        "instance-state-name": lambda one: [one.state(ctx.now)],
        "instance-state-code": lambda one: [str(CODES[one.state(ctx.now)])],
        "instance-type": lambda one: [one.type],
        "instance-lifecycle": lambda one: ["spot"] if one.market == "spot" else [],
        "client-token": lambda one: some(one.token),
        "availability-zone": lambda one: [one.zone],
        "availability-zone-id": lambda one: [ctx.catalogue.zones_of(one.region)[one.zone]],
        "placement-group-name": lambda one: some(one.group_name),
        "capacity-reservation-id": lambda one: some(one.reservation_id),
        "spot-instance-request-id": lambda one: some(one.spot_request_id),
        "reservation-id": lambda one: [one.launch_id],
        "owner-id": lambda one: [ACCOUNT],
        "tenancy": lambda one: [one.tenancy],
        "state-reason-code": lambda one: some(one.reason()[0]),
        "platform-details": lambda one: [one.platform],
        "image-id": detail("ImageId"),
        "subnet-id": detail("SubnetId"),
        "vpc-id": detail("VpcId"),
        "key-name": detail("KeyName"),
        "private-ip-address": lambda one: some(one.private_ip),
        "ip-address": lambda one: some(one.public_ip),
        "instance.group-id": lambda one: [group["GroupId"] for group in one.details["SecurityGroups"]],
        "instance.group-name": lambda one: [group["GroupName"] for group in one.details["SecurityGroups"]],
    }
