"""What is asked of a region before anything is made there: reads only, all side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from pytest_capacity.backends.aws.errors import diagnose_error
from pytest_capacity.backends.aws.session import PAGE, Cloud
from pytest_capacity.backends.aws.settings import GroupSettings, Lookup
from pytest_capacity.model import Request

Answer = TypeVar("Answer")

#: Diagnoses that end the round instead of leaving a question open: a call elsewhere would be answered alike.
_FATAL: Final = frozenset({"auth", "account-blocked", "invalid"})


class Read(Struct, frozen=True):
    """What one region said. None: it could not be read, for the reason under the same name in ``unread``."""

    zones: list[dict[str, Any]] | None
    offerings: dict[str, set[str]] | None
    #: By id.
    images: dict[str, dict[str, Any]] | None
    reservations: list[dict[str, Any]] | None
    subnets: list[dict[str, Any]] | None
    security_groups: list[dict[str, Any]] | None
    #: The key pairs of the user that the region does not have.
    lacking_pairs: set[str] | None
    #: What each lookup of an image found, the newest first.
    found: Mapping[Lookup, list[dict[str, Any]] | None]
    unread: Mapping[str, str]
    #: Types of the region that are spelled like one that no zone has.
    similar: frozenset[str] = frozenset()


#: What one region has said, by the question.
Known = dict[str | Lookup, Any]


def read_region(cloud: Cloud, request: Request, region: str, groups: Sequence[GroupSettings], known: Known) -> Read:
    """Ask ``region`` for all that decides whether it can take ``groups``; nothing that they do not need.

    Raises the SDK's error for refused credentials, for an unknown image, when asking again may help (what was answered
    stands in ``known`` then, and is not asked again: reads that are throttled would only throttle each other), and when
    not one zone is known by name.
    """
    questions = _questions(request, region, groups)
    left = {name: question for name, question in questions.items() if name not in known}
    with ThreadPoolExecutor(max(1, len(left)), thread_name_prefix="offers") as pool:
        asked = {name: pool.submit(ask, cloud, region, *about) for name, (ask, *about) in left.items()}
    answers: Known = dict(known)
    unread: dict[str, str] = {}
    troubles: list[ClientError | BotoCoreError] = []
    for name, future in asked.items():
        try:
            answers[name] = _open(cloud, future, name if isinstance(name, str) else "images", unread)
        except (ClientError, BotoCoreError) as error:
            troubles.append(error)
    if troubles:
        known.update((name, answer) for name, answer in answers.items() if answer is not None)
        raise troubles[0]
    if answers["zones"] is None and answers["offerings"] is None:
        asked["zones"].result()  # not one zone is known by name, so the reason is the answer
    nowhere = _nowhere(groups, answers["offerings"])
    found = {name: answer for name, answer in answers.items() if isinstance(name, Lookup)}
    by_name = {name: answer for name, answer in answers.items() if isinstance(name, str)}
    return Read(**by_name, found=found, unread=unread, similar=_similar(cloud, region, nowhere))


def _nowhere(groups: Sequence[GroupSettings], offerings: Mapping[str, set[str]] | None) -> set[str]:
    """Return the types that no zone of the region has; none where that could not be read."""
    if offerings is None:
        return set()
    return {type_ for group in groups for type_ in group.types}.difference(*offerings.values())


def _similar(cloud: Cloud, region: str, nowhere: Collection[str]) -> frozenset[str]:
    """Return the region's types of the same families, and of the same sizes. No call where each type is somewhere."""
    parts = [one.partition(".") for one in nowhere]
    patterns = {f"{family}.*" for family, _, _ in parts} | {f"*.{size}" for _, _, size in parts if size}
    if not patterns:
        return frozenset()
    try:
        offered = _offerings(cloud, region, sorted(patterns), "region")
    except (ClientError, BotoCoreError):
        return frozenset()  # Only a hint.
    return frozenset().union(*offered.values())


def _questions(request: Request, region: str, groups: Sequence[GroupSettings]) -> dict[str | Lookup, tuple[Any, ...]]:
    """Return what is to be asked: a function for each, and what it is given beside cloud and region."""
    images = {group.image(region) for group in groups}
    names = _security_group_names(groups, region)
    lookups = [image for image in images if isinstance(image, Lookup)]
    return {
        "zones": (_zones,),
        "offerings": (_offerings, sorted({type_ for group in groups for type_ in group.types})),
        "images": (_images, sorted(image for image in images if isinstance(image, str))),
        "reservations": (_reservations, [one for one in request.use_reservations if one.startswith("cr-")]),
        "subnets": (
            _subnets,
            bool(names) or any(one.aws.subnet_name for one in groups),
            any(not one.aws.subnets and not one.aws.subnet_name for one in groups),
        ),
        "security_groups": (_security_groups, names),
        "lacking_pairs": (_lacking_pairs, _foreign_pairs(request, region, groups)),
        **{lookup: (_find_images, lookup) for lookup in lookups},
    }


def _security_group_names(groups: Sequence[GroupSettings], region: str) -> list[str]:
    """Return the security groups that are given by name."""
    given = {one for group in groups for one in group.security_groups(region)}
    return sorted(one for one in given if not one.startswith("sg-"))


def _foreign_pairs(request: Request, region: str, groups: Sequence[GroupSettings]) -> list[str]:
    """Return the user's key pairs, where the region is not the first: they are one region's."""
    if region == request.regions[0]:
        return []
    return sorted({group.aws.key_name for group in groups if group.aws.key_name})


def _open(cloud: Cloud, future: Future[Answer], name: str, unread: dict[str, str]) -> Answer | None:
    """Return what a read gave; None when the cloud does not let us look. Raises what may be cured by asking again."""
    try:
        return future.result()
    except (ClientError, BotoCoreError) as error:
        read = diagnose_error(error, cloud.errors)
        if read.kind in _FATAL or read.step in ("back-off", "ask-again"):
            raise
        unread[name] = f"{read.code}: {read.words}"
        return None


def _zones(cloud: Cloud, region: str) -> list[dict[str, Any]]:
    answer = cloud.ec2(
        region, "describe_availability_zones", Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}]
    )
    zones: list[dict[str, Any]] = answer["AvailabilityZones"]
    return [zone for zone in zones if zone.get("ZoneType", "availability-zone") == "availability-zone"]


def _offerings(
    cloud: Cloud, region: str, types: Sequence[str], location: str = "availability-zone"
) -> dict[str, set[str]]:
    """Return the types among ``types`` that each zone has; every zone that EC2 names for at least one of them."""
    offered: dict[str, set[str]] = {}
    for offering in cloud.pages(
        region,
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType=location,
        Filters=[{"Name": "instance-type", "Values": list(types)}],
        MaxResults=PAGE,
    ):
        offered.setdefault(offering["Location"], set()).add(offering["InstanceType"])
    return offered


def _images(cloud: Cloud, region: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    if not ids:
        return {}
    answer = cloud.ec2(region, "describe_images", ImageIds=list(ids))
    return {image["ImageId"]: image for image in answer["Images"]}


def _find_images(cloud: Cloud, region: str, lookup: Lookup) -> list[dict[str, Any]]:
    if lookup.ssm:
        answer = cloud.call("ssm", region, "get_parameter", Name=lookup.ssm)
        found = cloud.ec2(region, "describe_images", ImageIds=[answer["Parameter"]["Value"]])["Images"]
        return list(found)
    more = [{"Name": "state", "Values": ["available"]}]
    if lookup.architecture:
        more.append({"Name": "architecture", "Values": [lookup.architecture]})
    # An account sees its own tags and no other's, so a name goes before a tag.
    for key in ("name", "tag:Name") if lookup.or_tag else ("name",):
        filters = [{"Name": key, "Values": [lookup.name]}, *more]
        found = cloud.ec2(region, "describe_images", Owners=list(lookup.owners), Filters=filters)["Images"]
        if found:
            break
    return sorted(found, key=lambda image: (image.get("CreationDate", ""), image["ImageId"]), reverse=True)


def _reservations(cloud: Cloud, region: str, listed: Sequence[str]) -> list[dict[str, Any]]:
    if not listed:
        return []
    # Not by CapacityReservationIds: EC2 refuses the whole read when one of them lives in another region.
    found = cloud.pages(region, "describe_capacity_reservations", "CapacityReservations", MaxResults=PAGE)
    return [reservation for reservation in found if reservation["CapacityReservationId"] in listed]


def _subnets(cloud: Cloud, region: str, all_: bool, default: bool) -> list[dict[str, Any]]:
    """Return all of them, the default ones alone, or none."""
    if all_:
        # An account has few, and where security groups are given by name, their VPC is that of the subnet.
        return list(cloud.pages(region, "describe_subnets", "Subnets", MaxResults=PAGE))
    only = [{"Name": "default-for-az", "Values": ["true"]}]
    return list(cloud.pages(region, "describe_subnets", "Subnets", Filters=only, MaxResults=PAGE)) if default else []


def _security_groups(cloud: Cloud, region: str, names: Sequence[str]) -> list[dict[str, Any]]:
    if not names:
        return []
    named = [{"Name": "group-name", "Values": list(names)}]
    return list(cloud.pages(region, "describe_security_groups", "SecurityGroups", Filters=named, MaxResults=PAGE))


def _lacking_pairs(cloud: Cloud, region: str, names: Sequence[str]) -> set[str]:
    if not names:
        return set()
    named = [{"Name": "key-name", "Values": list(names)}]
    found = cloud.ec2(region, "describe_key_pairs", Filters=named)["KeyPairs"]
    return set(names) - {pair["KeyName"] for pair in found}


def tag_matches(thing: Mapping[str, Any], pattern: str) -> bool:
    """Return whether its tag ``Name`` is like ``pattern``, with the ``*`` and ``?`` of EC2's filters."""
    name = next((tag["Value"] for tag in thing.get("Tags", ()) if tag["Key"] == "Name"), None)
    return name is not None and fnmatchcase(name, pattern.replace("[", "[[]"))
