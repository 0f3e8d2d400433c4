"""EC2: which operation is answered by what."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from moto.core.request import Request
from moto.ec2.responses import EC2Response

from pytest_capacity.emulator.aws import (
    console,
    hosts,
    images,
    instances,
    key_pairs,
    launch,
    offerings,
    placement_groups,
    power,
    reservations,
    spot,
    tagging,
    volumes,
    wire,
    zones,
)
from pytest_capacity.emulator.aws.catalogue import Ec2Catalogue
from pytest_capacity.emulator.aws.context import Context, token_key
from pytest_capacity.emulator.aws.things import Instance, Reservation
from pytest_capacity.emulator.face import Answer, Asked
from pytest_capacity.emulator.http import HttpRequest, HttpResponse
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.world import World

OPERATIONS: Final[Mapping[str, Callable[[Context], dict[str, Any]]]] = {
    "AllocateHosts": hosts.allocate,
    "CancelCapacityReservation": reservations.cancel,
    "CancelSpotInstanceRequests": spot.cancel,
    "CreateCapacityReservation": reservations.create,
    "CreateKeyPair": key_pairs.create,
    "CreatePlacementGroup": placement_groups.create,
    "CreateTags": tagging.create,
    "DeleteKeyPair": key_pairs.delete,
    "DeletePlacementGroup": placement_groups.delete,
    "DeleteTags": tagging.delete,
    "DescribeAvailabilityZones": zones.describe,
    "DescribeCapacityReservations": reservations.describe,
    "DescribeHosts": hosts.describe,
    "DescribeImages": images.describe,
    "DescribeInstanceAttribute": instances.describe_attribute,
    "DescribeInstanceStatus": instances.describe_status,
    "DescribeInstanceTypeOfferings": offerings.describe,
    "DescribeInstances": instances.describe,
    "DescribeKeyPairs": key_pairs.describe,
    "DescribePlacementGroups": placement_groups.describe,
    "DescribeSpotInstanceRequests": spot.describe,
    "DescribeSpotPriceHistory": spot.prices,
    "DescribeTags": tagging.describe,
    "DescribeVolumes": volumes.describe,
    "DescribeVolumesModifications": volumes.describe_modifications,
    "GetCapacityReservationUsage": reservations.usage,
    "GetConsoleOutput": console.get,
    "ImportKeyPair": key_pairs.import_,
    "ModifyAvailabilityZoneGroup": zones.modify_group,
    "ModifyCapacityReservation": reservations.modify,
    "ModifyInstanceAttribute": power.modify_attribute,
    "ModifyInstanceCapacityReservationAttributes": power.modify_reservation,
    "ModifyVolume": volumes.modify,
    "ReleaseHosts": hosts.release,
    "RunInstances": launch.run,
    "StartInstances": power.start,
    "StopInstances": power.stop,
    "TerminateInstances": instances.terminate,
}

XML: Final = {"Content-Type": "text/xml;charset=UTF-8"}

#: What moto answers alone: networks, images and lists of what there is. Nothing that touches a machine.
MOTO: Final = re.compile(
    r"Describe(Regions|InstanceTypes|AccountAttributes)|"
    r"(Describe|Create|CreateDefault|Delete|Modify)(Vpcs?|VpcAttribute|Subnets?|SubnetAttribute|SecurityGroups?|"
    r"SecurityGroupRules|InternetGateways?|RouteTables?|Route)|"
    r"(Authorize|Revoke)SecurityGroup(Ingress|Egress)|AttachInternetGateway|AssociateRouteTable"
)


class Ec2:
    """The EC2 of all regions."""

    def __init__(self, world: World, catalogue: Ec2Catalogue) -> None:
        self._world = world
        self._catalogue = catalogue
        self._networks_changed = False
        world.on_reset.append(self._forget)

    def warm(self, region: str) -> None:
        """Load what the first call would otherwise wait for."""
        self._catalogue.warm(region)
        self._ask_moto("DescribeRegions", region, {"Action": "DescribeRegions"})

    def _forget(self) -> None:
        # Building moto's networks anew takes half a second; most tests never change them.
        if self._networks_changed:
            self._catalogue.forget()
            self._networks_changed = False

    def read(self, request: HttpRequest, region: str) -> Asked:
        """Return the call's parts."""
        form = request.form()
        operation = form.get("Action", "")
        asked = Asked(operation=operation, request=request, region=region)
        asked.writes = not operation.startswith(("Describe", "Get"))
        asked.token = form.get("ClientToken")
        asked.dry_run = form.get("DryRun", "").lower() == "true"
        try:
            self._check_region(region)
            asked.params = wire.parse(operation, form)
            ctx = Context(self._world, self._catalogue, region, operation, asked.params)
            asked.zone, asked.type = _where(ctx)
            asked.market = _market(ctx)
            asked.replay = _replay(ctx, asked.zone)
        except Refusal as refusal:
            asked.refusal = refusal
        return asked

    def _check_region(self, region: str) -> None:
        if region not in self._catalogue.regions():
            raise Refusal("AuthFailure", f"AWS was not able to validate the region {region!r}", 401)

    def do(self, asked: Asked) -> Answer:
        """Carry out the call."""
        handle = OPERATIONS.get(asked.operation)
        if handle is None:
            if not MOTO.fullmatch(asked.operation):
                words = f"{asked.operation}: the emulator does not know this operation of EC2."
                raise Refusal("UnsupportedOperation", words)
            return lambda: self._pass_on(asked)
        late = asked.strike.late()
        ctx = Context(self._world, self._catalogue, asked.region, asked.operation, asked.params, late)
        try:
            answer = handle(ctx)
        except tagging.NotOursError:
            return lambda: self._pass_on(asked)
        return lambda: HttpResponse(200, wire.render(asked.operation, answer, str(uuid.uuid4())), XML)

    def refuse(self, refusal: Refusal, asked: Asked) -> HttpResponse:
        """Return a refusal in EC2's form."""
        body = wire.render_refusal(refusal, str(uuid.uuid4()))
        return HttpResponse(refusal.http or 400, body, XML, refusal.code)

    def _pass_on(self, asked: Asked) -> HttpResponse:
        return self._ask_moto(asked.operation, asked.region, asked.request.form())

    def _ask_moto(self, operation: str, region: str, form: Mapping[str, str]) -> HttpResponse:
        if not operation.startswith("Describe"):
            self._networks_changed = True
        host = f"ec2.{region}.amazonaws.com"
        headers = {"Host": host, "Content-Type": "application/x-www-form-urlencoded"}
        form = {"Version": "2016-11-15", **form}
        request = Request.from_primitives("POST", f"http://{host}/", headers, urlencode(form))
        with self._catalogue.lock:
            self._catalogue.backend(region)
            status, _, body = EC2Response.dispatch(request)
        data = body if isinstance(body, bytes) else str(body).encode()
        code = re.search(rb"<Code>([^<]+)</Code>", data) if status >= 400 else None
        return HttpResponse(status, data, XML, code.group(1).decode() if code else None)


def _replay(ctx: Context, zone: str | None) -> bool:
    """Return whether the call's client token has been answered before."""
    if not ctx.params.get("ClientToken"):
        return False
    scope = [zone or ""] if ctx.operation == "CreateCapacityReservation" else []
    return token_key(ctx, scope) in ctx.world.tokens


def _market(ctx: Context) -> str | None:
    """Return the market of a call that requests capacity."""
    if ctx.operation == "RunInstances":
        return str(ctx.params.get("InstanceMarketOptions", {}).get("MarketType", "on-demand"))
    return "on-demand" if ctx.operation == "CreateCapacityReservation" else None


def _where(ctx: Context) -> tuple[str | None, str | None]:
    """Return the zone and type that a call is about, where it is about one."""
    params = ctx.params
    if ctx.operation == "RunInstances":
        return launch.zone_of(ctx), params.get("InstanceType")
    if ctx.operation == "CreateCapacityReservation":
        zones = {id_: name for name, id_ in ctx.catalogue.zones_of(ctx.region).items()}
        zone = params.get("AvailabilityZone") or zones.get(params.get("AvailabilityZoneId", ""))
        return zone, params.get("InstanceType")
    things: list[Instance | Reservation | None] = []
    if isinstance(params.get("CapacityReservationId"), str):
        things = [ctx.reservations.get(params["CapacityReservationId"])]
    elif params.get("InstanceIds"):
        things = [ctx.instances.get(id_) for id_ in params["InstanceIds"]]
    zones_of = {thing.zone for thing in things if thing is not None}
    types_of = {thing.type for thing in things if thing is not None}
    return (
        zones_of.pop() if len(zones_of) == 1 else None,
        types_of.pop() if len(types_of) == 1 else None,
    )
