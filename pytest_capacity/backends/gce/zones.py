"""Which zones of a region can take a topology. What could not be read decides nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from msgspec import Struct, field

from pytest_capacity.backends.base import by_reservation
from pytest_capacity.backends.diagnosis import Table
from pytest_capacity.backends.gce.errors import diagnose_error
from pytest_capacity.backends.gce.existing_reservations import (
    Listed,
    check_reservations,
    read_reservations,
    use_in_zone,
)
from pytest_capacity.backends.gce.listing import any_of, read_list, together
from pytest_capacity.backends.gce.session import ApiError, Session
from pytest_capacity.backends.gce.settings import GroupSettings, network_link, settings_of
from pytest_capacity.backends.gce.values import last, region_of, without_host
from pytest_capacity.backends.groups import use_fact
from pytest_capacity.errors import Refused
from pytest_capacity.model import Offer, Request, Topology

#: HTTP 404.
NOT_FOUND: Final = 404


class Once:
    """Answers that are asked for once, by whatever they are of: most are the project's, and hold for every region."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[Hashable, Future[Any]] = {}

    def get(self, key: Hashable, read: Callable[[], Any]) -> Any:
        """Return what ``read`` returned for ``key``, in any thread; raise what it raised, and forget it."""
        with self._lock:
            future = self._asked.get(key)
            mine = future is None
            if future is None:
                future = self._asked[key] = Future()
        if mine:
            try:
                future.set_result(read())
            except Exception as error:  # noqa: BLE001 - whichever it is, every thread that waits gets it
                with self._lock:
                    del self._asked[key]
                future.set_exception(error)
        return future.result()


class Read(Struct, frozen=True):
    """What is known of a project and a region; None: it may not be read."""

    #: Zones of the region by name, as listed.
    zones: Mapping[str, Mapping[str, Any]] | None
    #: Machine types by zone and name.
    types: Mapping[str, Mapping[str, Mapping[str, Any]]] | None
    #: Names of accelerator types by zone.
    accelerators: Mapping[str, set[str]] | None
    #: By the link that the configuration has.
    images: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    reservations: Sequence[Listed] | None = None
    #: Subnets that the region does not have.
    no_subnets: frozenset[str] = frozenset()


def read_offers(
    session: Session, once: Once, table: Table, request: Request, region: str, topology: Topology
) -> list[Offer]:
    """Return the zones of ``region`` by name, each with what it can do for ``topology``. One round of reads.

    Raises what the API says where credentials are refused or asking again may help, and `Refused` for an image, a
    network or a listed reservation that is not there, or does not fit the machines.
    """
    groups = [settings_of(request, group) for group in topology.groups]
    read = _read(session, once, table, request, region, groups)
    _check_images(groups, read)
    if read.reservations is not None:
        check_reservations(request, read.reservations)
    names = sorted(read.zones) if read.zones is not None else _zones_of_types(read, region)
    return [_offer(request, region, groups, read, name) for name in names]


def _read(
    session: Session, once: Once, table: Table, request: Request, region: str, groups: Sequence[GroupSettings]
) -> Read:
    every = _every_group(request)
    types = types_of(request, groups)
    boards = tuple(sorted({board for group in (*every, *groups) for board in group.gce.accelerators}))
    images = sorted({group.image for group in groups})
    networks = sorted({network_link(group.gce.network) for group in groups})
    subnets = sorted({group.subnet(region) for group in groups} - {""})

    def may(key: Hashable, read: Callable[[], Any]) -> Callable[[], Any]:
        return partial(_if_allowed, once, table, key, read)

    tasks: list[Callable[[], Any]] = [
        may("zones", lambda: _zones(session)),
        may(("types", types), lambda: read_types(session, types)),
        may(("boards", boards), lambda: _by_zone(session, "acceleratorTypes", boards)) if boards else lambda: None,
        may("reservations", lambda: read_reservations(session, request.use_reservations))
        if request.use_reservations
        else lambda: None,
        *(may(("image", image), partial(_image, session, image)) for image in images),
        *(may(("network", network), partial(_network, session, network)) for network in networks),
        *(may(("subnet", subnet), partial(_has_subnet, session, region, subnet)) for subnet in subnets),
    ]
    zones, found_types, found_boards, reservations, *rest = together(tasks)
    of_images, of_subnets = rest[: len(images)], rest[len(images) + len(networks) :]
    return Read(
        zones=None if zones is None else zones.get(region, {}),
        types=found_types,
        accelerators=None if found_boards is None else {zone: set(names) for zone, names in found_boards.items()},
        images=dict(zip(images, of_images, strict=True)),
        reservations=reservations,
        no_subnets=frozenset(one for one, is_there in zip(subnets, of_subnets, strict=True) if is_there is False),
    )


def _every_group(request: Request) -> list[GroupSettings]:
    return [settings_of(request, group) for topology in request.topologies.values() for group in topology.groups]


def types_of(request: Request, more: Sequence[GroupSettings] = ()) -> tuple[str, ...]:
    """Return every machine type that the run may use, or that ``more`` may, by name."""
    return tuple(sorted({type_ for group in (*_every_group(request), *more) for type_ in group.types}))


def read_types(session: Session, types: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the machine types of these names, by zone and name."""
    return _by_zone(session, "machineTypes", types)


def _if_allowed(once: Once, table: Table, key: Hashable, read: Callable[[], Any]) -> Any:
    """Return what ``read`` returns; None where these credentials may not read it."""
    try:
        return once.get(key, read)
    except ApiError as error:
        if diagnose_error(error, table).kind != "denied":
            raise
        return None


def _zones(session: Session) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the zones by region and name."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for page in session.pages("zones.list"):
        for zone in page.get("items") or ():
            found.setdefault(last(zone.get("region")), {})[zone["name"]] = zone
    return found


def _by_zone(session: Session, collection: str, names: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return things of these names, by zone and name: one list of the whole project."""
    filter_ = any_of(f'name="{name}"' for name in names)
    listing = read_list(session, f"{collection}.aggregatedList", collection, filter_)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for thing in listing.items:
        found.setdefault(last(thing.get("zone")), {})[thing["name"]] = thing
    return found


def _image(session: Session, link: str) -> dict[str, Any]:
    """Return the image of a link. Raise `Refused` where there is none."""
    head, _, name = link.rpartition("/")
    own = last(head.removesuffix("/global/images").removesuffix("/global/images/family"))
    path = {"project": own} if link.startswith("projects/") else {}
    try:
        if head.endswith("/family"):
            return session.call("images.getFromFamily", {"family": name, **path})
        return session.call("images.get", {"image": name, **path})
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        raise Refused(
            f"image {link}: Compute Engine has no such image{' family' if head.endswith('/family') else ''} "
            f"({error}). Nothing was created. Correct gce.image, or the group's"
        ) from error


def _network(session: Session, link: str) -> bool:
    head, _, name = link.rpartition("/")
    path = {"project": head.split("/")[1]} if link.startswith("projects/") else {}
    try:
        session.call("networks.get", {"network": name, **path})
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        raise Refused(
            f"network {link}: the project has no such network ({error}). Nothing was created. Set gce.network, or "
            "gce.subnets for a network of another mode"
        ) from error
    return True


def _has_subnet(session: Session, region: str, link: str) -> bool:
    parts = without_host(link).split("/")
    path = {"project": parts[1]} if parts[0] == "projects" else {}
    given = parts[parts.index("regions") + 1] if "regions" in parts else region
    if given != region:
        return False
    try:
        session.call("subnetworks.get", {"region": region, "subnetwork": parts[-1], **path})
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        return False
    return True


def _zones_of_types(read: Read, region: str) -> list[str]:
    return sorted(zone for zone in read.types or {} if region_of(zone) == region)


def _check_images(groups: Sequence[GroupSettings], read: Read) -> None:
    """Refuse images that their machines cannot boot, or that do not fit on their disks."""
    for group in groups:
        image = read.images.get(group.image)
        if image is None:
            continue
        least = int(image.get("diskSizeGb") or 0)
        if group.gce.disk_gb is not None and group.gce.disk_gb < least:
            raise Refused(
                f"group {group.name!r}: disk_gb is {group.gce.disk_gb}, and image {image['name']} needs {least} GB. "
                "Nothing was created. Give it a larger disk"
            )
        for type_ in group.types:
            is_of = {
                str(found[type_].get("architecture", "")) for found in (read.types or {}).values() if type_ in found
            } - {"", "ARCHITECTURE_UNSPECIFIED"}
            built = image.get("architecture") or ""
            if is_of and built and built not in is_of:
                raise Refused(
                    f"group {group.name!r}: image {image['name']} is for {built}, and {type_} is {', '.join(is_of)}. "
                    "Nothing was created. Name another image, or another instance type"
                )


def _offer(request: Request, region: str, groups: Sequence[GroupSettings], read: Read, name: str) -> Offer:
    zone = (read.zones or {}).get(name, {})
    use = use_in_zone(request, groups, read.reservations, name)
    facts = {use_fact(*user): affinity for user, affinity in use.affinities.items()}
    for group in groups:
        if image := read.images.get(group.image):
            # The image, and not its family: all nodes of a run start from the same one.
            facts[f"image/{group.name}"] = without_host(str(image["selfLink"]))
    lacks = _lacks(groups, read, name)
    why = _why_not(groups, region, read, name, zone, lacks)
    first = {(group.name, group.group.instance_type) for group in groups if group.market == "on-demand"}
    return Offer(
        region=region,
        zone=name,
        aliases=(name.rpartition("-")[2],),
        ok=not why,
        why=why,
        lacks=tuple(sorted(lacks)),
        preferred=not why and any(user in first for user in use.served),
        serves=by_reservation(use.served),
        unused=use.unused,
        facts=facts,
    )


def _lacks(groups: Sequence[GroupSettings], read: Read, name: str) -> set[str]:
    """Return the types that the zone does not have; none where that could not be read."""
    if read.types is None:
        return set()
    return {type_ for group in groups for type_ in group.types} - set(read.types.get(name, ()))


def _why_not(
    groups: Sequence[GroupSettings], region: str, read: Read, name: str, zone: Mapping[str, Any], lacks: set[str]
) -> str:
    """Return why the zone cannot take the groups, for the user; empty where nothing is known against it."""
    if zone.get("status", "UP") != "UP":
        return f"the zone is {zone['status']}"
    if (zone.get("deprecated") or {}).get("state") in ("OBSOLETE", "DELETED"):
        return f"the zone is {zone['deprecated']['state']}"
    platforms = {group.gce.min_cpu_platform for group in groups if group.gce.min_cpu_platform}
    if missing := platforms - set(zone.get("availableCpuPlatforms") or platforms):
        return f"has no CPU platform {', '.join(sorted(missing))}"
    lacking = {type_ for group in groups if set(group.types) <= lacks for type_ in group.types}
    if lacking:
        return f"does not offer {', '.join(sorted(lacking))}"
    if read.accelerators is not None:
        boards = {board for group in groups for board in group.gce.accelerators}
        if missing := boards - read.accelerators.get(name, set()):
            return f"has no {', '.join(sorted(missing))}"
    for group in groups:
        if group.subnet(region) in read.no_subnets:
            return f"{region} has no subnet {last(group.subnet(region))}"
    return ""
