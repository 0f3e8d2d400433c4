"""Which zones of a region can take a topology. What could not be read decides nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pytest_capacity.backends.aws.existing_reservations import Listed, check_usable, use_in_zone
from pytest_capacity.backends.aws.images import check_architectures, image_facts, why_no_image
from pytest_capacity.backends.aws.network import network_facts, why_no_network
from pytest_capacity.backends.aws.reads import Known, Read, read_region
from pytest_capacity.backends.aws.session import Cloud
from pytest_capacity.backends.aws.settings import CLUSTER, GroupSettings, settings_of
from pytest_capacity.backends.base import by_reservation
from pytest_capacity.backends.groups import use_fact
from pytest_capacity.backends.not_offered import not_offered
from pytest_capacity.model import Offer, Request, Topology


def read_offers(
    cloud: Cloud, request: Request, listed: Listed, region: str, topology: Topology, known: Known
) -> Sequence[Offer]:
    """Return the zones of ``region`` by name, each with what it can do for ``topology``; ``known`` as in `read_region`.

    Raises the SDK's error when credentials or images are refused, or when asking again may help, and
    `Refused` when a listed reservation is nowhere or of no use to the run, and when an image is of another architecture
    than its machines.
    """
    groups = [settings_of(request, group) for group in topology.groups]
    read = read_region(cloud, request, region, groups, known)
    listed.check(region, read)
    check_architectures(groups, region, read)
    offers = [_offer(request, region, groups, read, name, zone) for name, zone in sorted(_zone_names(read).items())]
    check_usable(request, topology, region, read, offers)
    return offers


def _zone_names(read: Read) -> dict[str, dict[str, Any]]:
    if read.zones is not None:
        return {zone["ZoneName"]: zone for zone in read.zones}
    return {name: {} for name in read.offerings or ()}


def _offer(
    request: Request, region: str, groups: Sequence[GroupSettings], read: Read, name: str, zone: Mapping[str, Any]
) -> Offer:
    use = use_in_zone(request, groups, read, region, name)
    facts = {"zone_id": zone.get("ZoneId", "")} | {use_fact(*user): id_ for user, id_ in use.used.items()}
    if use.cluster:
        facts[CLUSTER] = use.cluster
    for group in groups:
        facts |= {key: value for key, value in image_facts(group, region, read).items() if value}
        facts |= {key: value for key, value in network_facts(group, region, name, read).items() if value}
    lacks = _lacks(groups, read, name)
    why = _why_not(groups, region, read, name, zone, lacks)
    first = {(group.name, group.group.instance_type) for group in groups if group.market == "on-demand"}
    return Offer(
        region=region,
        zone=name,
        ok=not why,
        aliases=tuple(filter(None, (name.removeprefix(region), zone.get("ZoneId")))),
        why=why,
        lacks=tuple(sorted(lacks)),
        preferred=not why and any(id_.startswith("cr-") for user, id_ in use.used.items() if user in first),
        serves=by_reservation(use.used),
        unused=use.unused,
        facts=facts,
    )


def _lacks(groups: Sequence[GroupSettings], read: Read, name: str) -> set[str]:
    """Return the types that the zone does not have; none where that could not be read."""
    if read.offerings is None:
        return set()
    return {type_ for group in groups for type_ in group.types} - read.offerings.get(name, set())


def _why_not(
    groups: Sequence[GroupSettings], region: str, read: Read, name: str, zone: Mapping[str, Any], lacks: Collection[str]
) -> str:
    """Return why the zone cannot take the groups, for the user; empty if it can as far as we could see."""
    state = zone.get("State", "available")
    if state != "available":
        return f"the zone is {state}"
    lacking = {type_ for group in groups if set(group.types) <= set(lacks) for type_ in group.types}
    if lacking:
        return not_offered(lacking, read.similar)
    reasons = (why_no_image(group, region, read) or why_no_network(group, region, name, read) for group in groups)
    return next(filter(None, reasons), "")
