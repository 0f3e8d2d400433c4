"""EC2's front door: which operation is whose, and the order in which a call is checked, struck, done and written."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from moto.core.request import Request
from moto.ec2.responses import EC2Response

from pytest_capacity.emulator.ec2 import (
    console,
    images,
    instances,
    key_pairs,
    launch,
    offerings,
    placement_groups,
    reservations,
    spot,
    tagging,
    wire,
)
from pytest_capacity.emulator.ec2.catalogue import Ec2Catalogue
from pytest_capacity.emulator.ec2.context import Context, token_key
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import Instance, Reservation
from pytest_capacity.emulator.wire import Answer, Asked
from pytest_capacity.emulator.world import World

OPERATIONS: Final[Mapping[str, Callable[[Context], dict[str, Any]]]] = {
    "CancelCapacityReservation": reservations.cancel,
    "CancelSpotInstanceRequests": spot.cancel,
    "CreateCapacityReservation": reservations.create,
    "CreateKeyPair": key_pairs.create,
    "CreatePlacementGroup": placement_groups.create,
    "CreateTags": tagging.create,
    "DeleteKeyPair": key_pairs.delete,
    "DeletePlacementGroup": placement_groups.delete,
    "DeleteTags": tagging.delete,
    "DescribeCapacityReservations": reservations.describe,
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
    "GetConsoleOutput": console.get,
    "ImportKeyPair": key_pairs.import_,
    "ModifyCapacityReservation": reservations.modify,
    "ModifyInstanceAttribute": instances.modify_attribute,
    "RunInstances": launch.run,
    "TerminateInstances": instances.terminate,
}

#: What moto answers alone: networks, images and lists of what there is. Nothing that touches a machine.
MOTO: Final = re.compile(
    r"Describe(Regions|AvailabilityZones|InstanceTypes|AccountAttributes)|"
    r"(Describe|Create|CreateDefault|Delete|Modify)(Vpcs?|VpcAttribute|Subnets?|SubnetAttribute|SecurityGroups?|"
    r"SecurityGroupRules|InternetGateways?|RouteTables?|Route)|"
    r"(Authorize|Revoke)SecurityGroup(Ingress|Egress)|AttachInternetGateway|AssociateRouteTable"
)


class Ec2:
    """The EC2 of all regions."""

    name: Final = "aws"

    def __init__(self, world: World, catalogue: Ec2Catalogue) -> None:
        self._world = world
        self._catalogue = catalogue
        self._networks_changed = False
        world.on_reset.append(self._forget)

    def warm(self, region: str) -> None:
        """Load what the first call would otherwise wait for."""
        self._catalogue.warm(region)
        operation = "DescribeAvailabilityZones"
        self._ask_moto(Asked(operation=operation, region=region, form={"Action": operation, "Version": "2016-11-15"}))

    def _forget(self) -> None:
        # Building moto's networks anew takes half a second; most tests never change them.
        if self._networks_changed:
            self._catalogue.forget()
            self._networks_changed = False

    def ask(self, region: str, path: str, body: bytes) -> Asked:
        """Read a call, and see what the weather has for it."""
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        operation = form.get("Action", "")
        with self._world.lock:
            self._world.settle()
            try:
                return self._ask(region, operation, form)
            except Refusal as refusal:
                return Asked(operation=operation, region=region, form=form, refusal=refusal)

    def _ask(self, region: str, operation: str, form: Mapping[str, str]) -> Asked:
        if region not in self._catalogue.regions():
            raise Refusal("AuthFailure", f"AWS was not able to validate the region {region!r}", 401)
        params = wire.parse(operation, form)
        ctx = Context(self._world, self._catalogue, region, operation, params)
        zone, type_ = _where(ctx)
        market = _market(ctx)
        strike = self._world.faults.strike(operation, region, zone, type_, market, replay=_replay(ctx, zone))
        return Asked(
            operation=operation,
            region=region,
            form=form,
            params=params,
            zone=zone,
            type=type_,
            market=market,
            strike=strike,
        )

    def do(self, asked: Asked) -> Answer:
        """Let the call happen, as a whole or not at all."""
        request_id = str(uuid.uuid4())
        handle = OPERATIONS.get(asked.operation)
        try:
            with self._world.lock:
                self._world.settle()
                self._admit(asked)
                if handle is not None:
                    ctx = Context(self._world, self._catalogue, asked.region, asked.operation, asked.params)
                    answer = handle(ctx)
            if handle is None:
                return self._ask_moto(asked)
            return Answer(200, wire.render(asked.operation, answer, request_id))
        except tagging.NotOursError:
            return self._ask_moto(asked, known=True)
        except Refusal as refusal:
            return Answer(refusal.http, wire.render_refusal(refusal, request_id), refusal.code)

    def _admit(self, asked: Asked) -> None:
        if asked.refusal is not None:
            raise asked.refusal
        kind = "read" if asked.operation.startswith(("Describe", "Get")) else "write"
        if not self._world.buckets.take(asked.region, kind, self._world.clock.now()):
            raise Refusal("RequestLimitExceeded", "Request limit exceeded.")
        scripted = asked.strike.refusal()
        if scripted is not None:
            raise scripted

    def _ask_moto(self, asked: Asked, known: bool = False) -> Answer:
        if not known and not MOTO.fullmatch(asked.operation):
            words = f"{asked.operation}: the emulator does not know this operation of EC2."
            raise Refusal("UnsupportedOperation", words)
        if not asked.operation.startswith("Describe"):
            self._networks_changed = True
        host = f"ec2.{asked.region}.amazonaws.com"
        headers = {"Host": host, "Content-Type": "application/x-www-form-urlencoded"}
        request = Request.from_primitives("POST", f"http://{host}/", headers, urlencode(asked.form))
        with self._catalogue.lock:
            self._catalogue.backend(asked.region)
            status, _, body = EC2Response.dispatch(request)
        data = body if isinstance(body, bytes) else str(body).encode()
        code = re.search(rb"<Code>([^<]+)</Code>", data) if status >= 400 else None
        return Answer(status, data, code.group(1).decode() if code else None)


def _replay(ctx: Context, zone: str | None) -> bool:
    """Whether the call's client token has been answered before."""
    if not ctx.params.get("ClientToken"):
        return False
    scope = [zone or ""] if ctx.operation == "CreateCapacityReservation" else []
    return token_key(ctx, scope) in ctx.world.tokens


def _market(ctx: Context) -> str | None:
    """The market that a call asks in, where it asks for capacity."""
    if ctx.operation == "RunInstances":
        return str(ctx.params.get("InstanceMarketOptions", {}).get("MarketType", "on-demand"))
    return "on-demand" if ctx.operation == "CreateCapacityReservation" else None


def _where(ctx: Context) -> tuple[str | None, str | None]:
    """The zone and type that a call is about, where it is about one."""
    params = ctx.params
    if ctx.operation == "RunInstances":
        return launch.zone_of(ctx), params.get("InstanceType")
    if ctx.operation == "CreateCapacityReservation":
        zones = {id_: name for name, id_ in ctx.catalogue.zones_of(ctx.region).items()}
        zone = params.get("AvailabilityZone") or zones.get(params.get("AvailabilityZoneId", ""))
        return zone, params.get("InstanceType")
    things: list[Instance | Reservation | None] = []
    if isinstance(params.get("CapacityReservationId"), str):
        things = [ctx.world.reservations.get(params["CapacityReservationId"])]
    elif params.get("InstanceIds"):
        things = [ctx.world.instances.get(id_) for id_ in params["InstanceIds"]]
    zones_of = {thing.zone for thing in things if thing is not None}
    types_of = {thing.type for thing in things if thing is not None}
    return (
        zones_of.pop() if len(zones_of) == 1 else None,
        types_of.pop() if len(types_of) == 1 else None,
    )
