"""The context of every EC2 operation, and the checks that several of them share."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_capacity.emulator.aws.catalogue import ACCOUNT, Ec2Catalogue, Image
from pytest_capacity.emulator.aws.partitions import partition
from pytest_capacity.emulator.aws.things import Instance, KeyPair, PlacementGroup, Reservation, SpotRequest
from pytest_capacity.emulator.aws.wire import timestamp
from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import Thing
from pytest_capacity.emulator.world import World

CLOUD: Final = "aws"
#: Longest client token (EC2 developer guide, "Ensuring idempotency": up to 64 ASCII characters).
LONGEST_TOKEN: Final = 64
#: Most tags of a thing (EC2 user guide, "Tag restrictions").
MOST_TAGS: Final = 50


@dataclass(frozen=True)
class Context:
    """One call: who decides, what there is, where, and with which parameters."""

    world: World
    catalogue: Ec2Catalogue
    region: str
    operation: str
    params: Mapping[str, Any]
    #: The scripted error that comes when what the call began ends.
    late: Refusal | None = None

    @property
    def now(self) -> float:
        """Return the World's time."""
        return self.world.clock.now()

    def born(self, prefix: str) -> dict[str, Any]:
        """Return the fields of each new thing: EC2's form of id (a prefix, 17 hexadecimal digits), region, times."""
        token = str(self.params.get("ClientToken", ""))
        return {
            **self.world.born(CLOUD),
            "id": f"{prefix}-0{self.world.hex(16)}",
            "region": self.region,
            "token": token,
        }

    def seconds(self, name: str) -> float:
        """Return a time of the weather."""
        return self.world.seconds(name, CLOUD)

    def place(self, zone: str = "") -> Place:
        """Return this region, or a zone of it."""
        return Place(CLOUD, self.region, zone)

    @property
    def instances(self) -> dict[str, Instance]:
        """Return the region's machines by id, gone ones that are still listed too."""
        machines = self.world.machines.values()
        return {one.id: one for one in machines if isinstance(one, Instance) and one.region == self.region}

    @property
    def reservations(self) -> dict[str, Reservation]:
        """Return the region's reservations by id, ended ones too."""
        found = self.world.reservations.values()
        return {one.id: one for one in found if isinstance(one, Reservation) and one.region == self.region}

    @property
    def groups(self) -> list[PlacementGroup]:
        """Return the region's placement groups."""
        return self.world.of(PlacementGroup, CLOUD, self.region)

    @property
    def key_pairs(self) -> list[KeyPair]:
        """Return the region's key pairs."""
        return self.world.of(KeyPair, CLOUD, self.region)

    @property
    def spot_requests(self) -> dict[str, SpotRequest]:
        """Return the region's spot requests by id."""
        return {one.id: one for one in self.world.of(SpotRequest, CLOUD, self.region)}

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of an emulated thing in this region."""
        return f"arn:{partition(self.region)}:ec2:{self.region}:{ACCOUNT}:{kind}/{name}"

    def dry_run(self) -> None:
        """Raise EC2's answer to a good dry run, where the call is one. To be called when all else is checked."""
        if self.params.get("DryRun"):
            raise Refusal("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")

    def require(self, *names: str) -> None:
        """Refuse a call that lacks a parameter."""
        for name in names:
            if self.params.get(name) in (None, "", []):
                raise Refusal("MissingParameter", f"The request must contain the parameter {name}")

    def zone(self, name: str | None, id_: str | None) -> str:
        """Return the zone that a call means, by name or id."""
        zones = self.catalogue.zones_of(self.region)
        if name is not None and id_ is not None and zones.get(name) != id_:
            words = "Only one of AvailabilityZone and AvailabilityZoneId may be specified, or both for the same zone"
            raise Refusal("InvalidParameterCombination", words)
        if name is None and id_ is not None:
            name = next((zone for zone, zone_id in zones.items() if zone_id == id_), id_)
        if name not in zones:
            known = ", ".join(zones)
            words = f"Invalid availability zone: [{name}]. The region {self.region} has: {known}"
            raise Refusal("InvalidParameterValue", words)
        return name

    def check_type(self, type_: str, zone: str) -> None:
        """Refuse a type that does not exist, or that the zone does not offer."""
        if not self.catalogue.has_type(type_):
            raise Refusal("InvalidParameterValue", f"Invalid value '{type_}' for InstanceType.")
        if not self.offers(zone, type_):
            others = [one for one in self.catalogue.zones_of(self.region) if self.offers(one, type_)]
            advice = (
                "Please retry your request by not specifying an Availability Zone or choosing " + ", ".join(others)
                if others
                else "No Availability Zone of this region supports it"
            )
            words = f"Your requested instance type ({type_}) is not supported in your requested Availability Zone"
            raise Refusal("Unsupported", f"{words} ({zone}). {advice}.")

    def image(self, id_: str) -> Image:
        """Return an image; refuse as EC2 does if the region has none of that id."""
        if self.has_image(id_):
            return self.catalogue.image(self.region, id_)
        raise Refusal("InvalidAMIID.NotFound", f"The image id '[{id_}]' does not exist")

    def has_image(self, id_: str) -> bool:
        """Return whether the weather leaves the image to the region."""
        return not self.world.lacks_image(self.place(), id_)

    def offers(self, zone: str, type_: str) -> bool:
        """Return whether a zone sells a type, by moto's table and the weather."""
        return self.catalogue.offered(zone, type_) and not self.world.lacks_type(self.place(zone), type_)

    def tags_for(self, *kinds: str) -> dict[str, dict[str, str]]:
        """Return the tags of a create call by resource type; refuse types that the call does not make."""
        tags: dict[str, dict[str, str]] = {kind: {} for kind in kinds}
        for specification in self.params.get("TagSpecifications", []):
            kind = specification.get("ResourceType")
            if kind not in tags:
                words = f"'{kind}' is not a valid taggable resource type for this operation."
                raise Refusal("InvalidParameterValue", words)
            if not specification.get("Tags"):
                raise Refusal("InvalidParameterValue", "Tag specification must have at least one tag")
            for key, value in read_tags(specification["Tags"]).items():
                if key in tags[kind]:
                    raise Refusal("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
                tags[kind][key] = value
            if len(tags[kind]) > MOST_TAGS:
                raise Refusal("TagLimitExceeded", f"The maximum number of Tags for a resource is {MOST_TAGS}")
        return tags


def read_tags(told: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return keys and values, within what EC2 allows."""
    tags: dict[str, str] = {}
    for one in told:
        key, value = one.get("Key", ""), one.get("Value", "")
        if not key:
            raise Refusal("InvalidParameterValue", "Tag key cannot be null or empty")
        if key.lower().startswith("aws:"):
            words = "Tag keys starting with 'aws:' are reserved for internal use"
            raise Refusal("InvalidParameterValue", words)
        if len(key) > 127:
            raise Refusal("InvalidParameterValue", "Tag key exceeds the maximum length of 127 characters")
        if len(value) > 255:
            raise Refusal("InvalidParameterValue", "Tag value exceeds the maximum length of 255 characters")
        if key in tags:
            raise Refusal("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        tags[key] = value
    return tags


def render_tags(thing: Thing) -> list[dict[str, str]]:
    """Return a thing's tags as EC2 lists them."""
    return [{"Key": key, "Value": value} for key, value in thing.tags.items()]


def fingerprint(params: Mapping[str, Any]) -> str:
    """Return what must be the same for a client token to mean the same call."""
    rest = {key: value for key, value in params.items() if key not in ("ClientToken", "DryRun")}
    return json.dumps(rest, sort_keys=True, default=str)


def once(ctx: Context, scope: Sequence[str], make: Callable[[], Sequence[str]]) -> Sequence[str]:
    """Make things once per client token; the same token with the same parameters gives the same ids again.

    Source: EC2 developer guide, "Ensuring idempotency in Amazon EC2 API requests". A refused call uses up no token.
    """
    token = ctx.params.get("ClientToken")
    if not token:
        return make()
    key = token_key(ctx, scope)
    meant = fingerprint(ctx.params)
    return ctx.world.once(key, meant, make)


def token_key(ctx: Context, scope: Sequence[str]) -> tuple[str, ...]:
    """Return the key under which the World stores what a client token made."""
    token = str(ctx.params.get("ClientToken", ""))
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise Refusal("InvalidParameterValue", "ClientToken is at most 64 ASCII characters")
    return (ctx.operation, ctx.region, *scope, token)


def check_id(id_: str, prefix: str, error: str) -> None:
    """Refuse an id that is none of this kind's."""
    if not re.fullmatch(rf"{prefix}-(?:[0-9a-f]{{8}}|[0-9a-f]{{17}})", id_):
        raise Refusal(
            f"{error}.Malformed",
            f'Invalid id: "{id_}" (expecting "{prefix}-...; the ID may only contain '
            'lowercase alphanumeric characters and a single dash")',
        )


def when(seconds: float | None) -> Any:
    """Return a time for the wire, or nothing."""
    return None if seconds is None else timestamp(seconds)
