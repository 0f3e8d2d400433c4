"""RunInstances: the request is checked, then a place is found, then the machines are made, all of them or none."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from pytest_capacity.emulator.aws import hosts, metadata, policy
from pytest_capacity.emulator.aws.catalogue import ACCOUNT, Image, Network, address
from pytest_capacity.emulator.aws.context import Context, once
from pytest_capacity.emulator.aws.instances import render_launch
from pytest_capacity.emulator.aws.key_pairs import by_name as key_by_name
from pytest_capacity.emulator.aws.partitions import partition
from pytest_capacity.emulator.aws.placement_groups import by_name
from pytest_capacity.emulator.aws.reservations import get as get_reservation
from pytest_capacity.emulator.aws.things import Instance, Reservation, ResourceGroup, SpotRequest
from pytest_capacity.emulator.aws.volumes import add_volumes
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import Market
from pytest_capacity.emulator.timer import shutdown_at


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A checked request."""

    type: str
    market: Market
    image: Image
    network: Network
    security_groups: list[tuple[str, str]]
    group_name: str
    tenancy: str
    public_ip: bool
    preference: str
    target: list[Reservation] | None
    tags: Mapping[str, Mapping[str, str]]
    public_key: str
    host: str
    metadata: Mapping[str, Any]

    @property
    def zone(self) -> str:
        """Return the zone, which is the subnet's."""
        return self.network.zone


def run(ctx: Context) -> dict[str, Any]:
    """Answer RunInstances."""
    least, most = ctx.params["MinCount"], ctx.params["MaxCount"]
    if least < 1 or most < least:
        words = f"Value ({least}) for parameter minCount is invalid. It lies between 1 and maxCount ({most})."
        raise Refusal("InvalidParameterValue", words)
    ids = once(ctx, [], lambda: _make(ctx, least, most))
    forgotten = [id_ for id_ in ids if id_ not in ctx.instances]
    if forgotten:
        words = "The client token belongs to instances that are terminated and no longer listed"
        raise Refusal("InvalidParameterValue", f"{words}: {', '.join(forgotten)}")
    return render_launch(ctx, [ctx.instances[id_] for id_ in ids])


def zone_of(ctx: Context) -> str | None:
    """Return the zone that a launch would go to, without a check of the rest: faults and the log of calls use it."""
    placement = ctx.params.get("Placement", {})
    zone = placement.get("AvailabilityZone")
    if zone is not None:
        return str(zone)
    try:
        subnet, _ = _interface(ctx)
        return _network(ctx, subnet).zone
    except Refusal:
        return None


def _make(ctx: Context, least: int, most: int) -> list[str]:
    launch = _read(ctx)
    policy.check(ctx, launch.tags)
    ctx.dry_run()
    seats = _seats(ctx, launch, least, most)
    world = ctx.world
    launch_id = f"r-0{world.hex(16)}"
    made = []
    for index, reservation in enumerate(seats):
        made.append(_one(ctx, launch, launch_id, index, reservation))
    for instance in made:
        world.add_machine(instance)
    return [instance.id for instance in made]


def _read(ctx: Context) -> Launch:
    params = ctx.params
    ctx.require("ImageId")
    type_ = params.get("InstanceType", "m1.small")
    if not ctx.catalogue.has_type(type_):
        raise Refusal("InvalidParameterValue", f"Invalid value '{type_}' for InstanceType.")
    _refuse_unknown(ctx)
    key = params.get("KeyName")
    public_key = key_by_name(ctx, key).public_key if key is not None else ""
    image = ctx.image(params["ImageId"])
    if image.architecture not in ctx.catalogue.architectures(type_):
        raise wrong_architecture(ctx.catalogue.architectures(type_)[-1], image.architecture)
    subnet, interface = _interface(ctx)
    network = _network(ctx, subnet)
    ctx.check_type(type_, network.zone)
    market = _market(ctx, type_)
    placement = params.get("Placement", {})
    tenancy = placement.get("Tenancy", "default")
    host = hosts.of_launch(ctx, type_, network.zone, placement)
    tags = ctx.tags_for("instance", "volume", "network-interface", "spot-instances-request")
    preference, target = reservation_wish(ctx, market, params.get("CapacityReservationSpecification", {}))
    return Launch(
        type=type_,
        market=market,
        image=image,
        network=network,
        security_groups=ctx.catalogue.security_groups(
            ctx.region,
            network.vpc,
            params.get("SecurityGroupIds") or interface.get("Groups") or [],
            params.get("SecurityGroups", []),
        ),
        group_name=_group(ctx, placement, type_),
        tenancy=tenancy,
        public_ip=interface.get("AssociatePublicIpAddress", network.public),
        preference=preference,
        target=target,
        tags=tags,
        host=host,
        metadata=metadata.options(ctx, tags["instance"]),
        # On Windows a key pair seals the administrator's password, and opens nothing.
        public_key="" if image.platform.startswith("Windows") else public_key,
    )


def wrong_architecture(of_type: str, of_image: str) -> Refusal:
    """Return the refusal of a type that cannot start the image."""
    return Refusal(
        "InvalidParameterValue",
        f"The architecture '{of_type}' of the specified instance type does not match the architecture '{of_image}' of "
        "the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again. You "
        "can use 'describe-instance-types' or 'describe-images' to discover the architecture of the instance type or "
        "AMI.",
    )


def _refuse_unknown(ctx: Context) -> None:
    params = ctx.params
    for name in ("LaunchTemplate", "LicenseSpecifications", "HibernationOptions", "EnclaveOptions"):
        if name in params:
            raise Refusal("UnsupportedOperation", f"{name}: the emulator does not know it; leave it out.")
    behaviour = params.get("InstanceInitiatedShutdownBehavior", "stop")
    if behaviour not in ("stop", "terminate"):
        words = f"Value ({behaviour}) for parameter InstanceInitiatedShutdownBehavior is invalid."
        raise Refusal("InvalidParameterValue", words)
    try:
        data = base64.b64decode(params.get("UserData", ""), validate=True)
    except (ValueError, binascii.Error):
        raise Refusal("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data") from None
    # EC2 user guide, "User data": at most 16 KB before it is encoded.
    if len(data) > 16384:
        raise Refusal("InvalidParameterValue", "User data is limited to 16384 bytes")


def _interface(ctx: Context) -> tuple[str | None, Mapping[str, Any]]:
    params = ctx.params
    interfaces = params.get("NetworkInterfaces", [])
    subnet = params.get("SubnetId")
    if not interfaces:
        return subnet, {}
    if subnet or params.get("SecurityGroupIds") or params.get("SecurityGroups"):
        words = "Network interfaces and an instance-level subnet ID or security groups may not be specified on the same"
        raise Refusal("InvalidParameterCombination", f"{words} request")
    if len(interfaces) > 1 or interfaces[0].get("DeviceIndex", 0) != 0 or "NetworkInterfaceId" in interfaces[0]:
        words = "NetworkInterfaces: the emulator knows one new interface at device index 0"
        raise Refusal("UnsupportedOperation", words)
    return interfaces[0].get("SubnetId"), interfaces[0]


def _network(ctx: Context, subnet: str | None) -> Network:
    placement = ctx.params.get("Placement", {})
    zone = placement.get("AvailabilityZone")
    if zone is not None or "AvailabilityZoneId" in placement:
        zone = ctx.zone(zone, placement.get("AvailabilityZoneId"))
    if subnet is None and zone is None:
        zone = _any_zone(ctx)
    network = ctx.catalogue.network(ctx.region, subnet, zone)
    if zone is not None and network.zone != zone:
        words = f"The subnet '{network.subnet}' is in the zone {network.zone}, but the request asks for {zone}."
        raise Refusal("InvalidParameterCombination", words)
    return network


def _any_zone(ctx: Context) -> str:
    """Return the zone that EC2 chooses: the target's zone, or the first that offers the type and has stock."""
    specification = ctx.params.get("CapacityReservationSpecification", {})
    id_ = specification.get("CapacityReservationTarget", {}).get("CapacityReservationId")
    if id_ in ctx.reservations:
        return ctx.reservations[id_].zone
    type_ = ctx.params.get("InstanceType", "m1.small")
    zones = [zone for zone in ctx.catalogue.zones_of(ctx.region) if ctx.offers(zone, type_)]
    market = ctx.params.get("InstanceMarketOptions", {}).get("MarketType", "on-demand")
    stocked = ctx.world.room().zones_with_stock(ctx.place(), zones, type_, market, ctx.params["MinCount"])
    return next(iter([*stocked, *zones, *ctx.catalogue.zones_of(ctx.region)]))


def _market(ctx: Context, type_: str) -> Market:
    options = ctx.params.get("InstanceMarketOptions", {})
    market = options.get("MarketType", "on-demand")
    if market not in ("on-demand", "spot"):
        raise Refusal("UnsupportedOperation", f"The emulator does not know the market type {market!r}.")
    if market not in ctx.catalogue.sold_as(type_):
        raise Refusal("UnsupportedOperation", f"The instance type {type_} is not sold as {market}.")
    spot = options.get("SpotOptions", {})
    if spot.get("SpotInstanceType", "one-time") != "one-time":
        raise Refusal("UnsupportedOperation", "The emulator does not know persistent Spot requests.")
    if "ValidUntil" in spot:
        raise Refusal("InvalidParameterCombination", "ValidUntil is only for persistent Spot requests.")
    return cast("Market", market)


def reservation_wish(
    ctx: Context, market: str, specification: Mapping[str, Any]
) -> tuple[str, list[Reservation] | None]:
    """Return the preference of a specification, and the reservations that it targets; None where it targets none."""
    preference = specification.get("CapacityReservationPreference")
    target = specification.get("CapacityReservationTarget")
    if preference not in (None, "open", "none", "capacity-reservations-only"):
        words = f"Value ({preference}) for parameter CapacityReservationPreference is invalid."
        raise Refusal("InvalidParameterValue", words)
    if target and preference in ("none", "open"):
        words = "CapacityReservationTarget cannot be specified together with CapacityReservationPreference"
        raise Refusal("InvalidParameterCombination", f"{words} '{preference}'.")
    if target and market == "spot":
        raise Refusal("InvalidParameterCombination", "Spot Instances cannot run in a Capacity Reservation.")
    if not target:
        return preference or "open", None
    id_, arn = target.get("CapacityReservationId"), target.get("CapacityReservationResourceGroupArn")
    if (id_ is None) == (arn is None):
        words = "CapacityReservationTarget names either a CapacityReservationId or a resource group, and only one"
        raise Refusal("InvalidParameterCombination", words)
    chosen = [get_reservation(ctx, id_)] if id_ is not None else _members(ctx, arn)
    return "targeted", chosen


def _members(ctx: Context, arn: str) -> list[Reservation]:
    pool = ctx.world.others.get(arn)
    if not isinstance(pool, ResourceGroup) or pool.region != ctx.region:
        raise Refusal("InvalidParameterValue", f"The resource group '{arn}' does not exist.")
    return [ctx.reservations[id_] for id_ in pool.members]


def _group(ctx: Context, placement: Mapping[str, Any], type_: str) -> str:
    name = placement.get("GroupName")
    if not name:
        return ""
    group = by_name(ctx, name)
    if not ctx.catalogue.joins(type_, group.strategy):
        words = f"{group.strategy.capitalize()} placement groups are not supported by the '{type_}' instance type. "
        words += "Specify a supported instance type or change the placement group strategy, and try again."
        raise Refusal("InvalidParameterCombination", words)
    return group.name


def _seats(ctx: Context, launch: Launch, least: int, most: int) -> list[Reservation | None]:
    """Return for each machine its reservation, or None. As many as there are, at most ``most``."""
    only = launch.target is not None or launch.preference == "capacity-reservations-only"
    reserved = _reserved_seats(ctx, launch)
    seats = ctx.world.room().seats(ctx.place(launch.zone), launch.type, launch.market, least, most, reserved, only)
    return cast("list[Reservation | None]", seats)


def _reserved_seats(ctx: Context, launch: Launch) -> Iterator[Reservation]:
    """Free seats in reservations that the launch is aimed at, or, by default, in ``open`` ones that match."""
    if launch.target is not None:
        candidates = launch.target
    elif launch.market == "spot" or launch.preference == "none":
        candidates = []
    else:
        candidates = [one for one in ctx.reservations.values() if one.match == "open"]
    for one in candidates:
        if _fits(ctx, one, launch):
            yield from [one] * (one.count - ctx.world.inside(one))


def _fits(ctx: Context, one: Reservation, launch: Launch) -> bool:
    """Return whether machines of the launch may sit there (EC2 user guide: type, platform, zone, tenancy; and, for one
    made in a cluster placement group, that group)."""
    arn = ctx.arn("placement-group", launch.group_name) if launch.group_name else ""
    return (
        one.state(ctx.now) == "active"
        and (one.region, one.zone, one.type) == (ctx.region, launch.zone, launch.type)
        and (one.platform, one.tenancy) == (launch.image.platform, launch.tenancy)
        and one.group_arn in ("", arn)
    )


def _one(ctx: Context, launch: Launch, launch_id: str, index: int, reservation: Reservation | None) -> Instance:
    params = ctx.params
    born = ctx.born("i")
    instance = Instance(
        **born,
        tags=dict(launch.tags["instance"]),
        zone=launch.zone,
        type=launch.type,
        market=launch.market,
        launch_id=launch_id,
        running_at=ctx.now + ctx.seconds("boot_s"),
        platform=launch.image.platform,
        tenancy=launch.tenancy,
        reservation_id=reservation.id if reservation is not None else None,
        group_name=launch.group_name,
        ends_by_shutdown=params.get("InstanceInitiatedShutdownBehavior") == "terminate",
        public_keys=(launch.public_key,) if launch.public_key else (),
        private_ip=params.get("PrivateIpAddress") or address(launch.network.cidr, born["number"]),
        # 198.18.0.0/15 is for benchmarks (RFC 2544): nothing answers there.
        public_ip=address("198.18.0.0/15", born["number"]) if launch.public_ip else "",
        domain="ec2.internal",
        error=ctx.late,
        ssh_delay_s=ctx.seconds("ssh_delay_s"),
        cloud_init_s=ctx.seconds("cloud_init_s"),
        user_data=base64.b64decode(params.get("UserData", "")),
        details={
            "ImageId": launch.image.id,
            "Architecture": launch.image.architecture,
            "RootDeviceName": launch.image.root_device,
            "SubnetId": launch.network.subnet,
            "VpcId": launch.network.vpc,
            "SecurityGroups": [{"GroupId": id_, "GroupName": name} for id_, name in launch.security_groups],
            "KeyName": params.get("KeyName"),
            "AmiLaunchIndex": index,
            "CapacityReservationSpecification": echo(params.get("CapacityReservationSpecification")),
            "UserData": params.get("UserData"),
            "ShutdownBehavior": params.get("InstanceInitiatedShutdownBehavior", "stop"),
            "DisableApiTermination": params.get("DisableApiTermination", False),
            "EbsOptimized": params.get("EbsOptimized", False),
            "IamInstanceProfile": _profile(ctx, params.get("IamInstanceProfile")),
            "HostId": launch.host or None,
            "Affinity": params.get("Placement", {}).get("Affinity", "default") if launch.host else None,
            "MetadataOptions": launch.metadata,
            "Ipv6": _ipv6(ctx, born["number"]),
            "InterfaceId": f"eni-0{ctx.world.hex(16)}",
        },
    )
    add_volumes(ctx, instance, launch.image.root_device, launch.tags["volume"])
    if instance.ends_by_shutdown:
        instance.shutdown_at = shutdown_at(instance.user_data, instance.running_at)
    if launch.market == "spot":
        _request_spot(ctx, launch, instance)
    return instance


def _profile(ctx: Context, given: Mapping[str, str] | None) -> dict[str, str] | None:
    """Return an instance profile as a machine shows it, by ARN, whichever way the launch names it."""
    if not given:
        return None
    arn = given.get("Arn") or f"arn:{partition(ctx.region)}:iam::{ACCOUNT}:instance-profile/{given.get('Name', '')}"
    return {"Arn": arn, "Id": "AIPAEMULATED00000000"}


def _ipv6(ctx: Context, number: int) -> list[str]:
    """Return the addresses that a launch requests; those of 2001:db8::/32 are for documentation (RFC 3849)."""
    interfaces: list[Mapping[str, Any]] = ctx.params.get("NetworkInterfaces", [])
    interface = interfaces[0] if interfaces else {}
    count = interface.get("Ipv6AddressCount", ctx.params.get("Ipv6AddressCount", 0))
    given = interface.get("Ipv6Addresses", ctx.params.get("Ipv6Addresses", []))
    return [one["Ipv6Address"] for one in given] or [f"2001:db8::{number:x}:{at:x}" for at in range(1, count + 1)]


def echo(specification: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a specification as a machine shows it."""
    if not specification:
        return {"CapacityReservationPreference": "open"}
    target: Literal["CapacityReservationTarget"] = "CapacityReservationTarget"
    return {
        "CapacityReservationPreference": specification.get("CapacityReservationPreference"),
        target: specification.get(target),
    }


def _request_spot(ctx: Context, launch: Launch, instance: Instance) -> None:
    request = SpotRequest(
        **{**ctx.born("sir"), "id": f"sir-{ctx.world.hex(8)}", "token": ""},
        tags=dict(launch.tags["spot-instances-request"]),
        zone=launch.zone,
        type=launch.type,
        instance_id=instance.id,
        details=ctx.params.get("InstanceMarketOptions", {}).get("SpotOptions", {}),
    )
    ctx.world.add(request)
    instance.spot_request_id = request.id
