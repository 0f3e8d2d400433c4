"""Who uses what of a subscription: the machines and reservations of every run, by our stamp."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azure.core.exceptions import AzureError
from msgspec.structs import replace

from pytest_capacity.backends.azure import reading
from pytest_capacity.backends.azure.errors import diagnose_error
from pytest_capacity.backends.azure.ids import COMPUTE_VERSION, GROUPS, MACHINES, canonical, tags_of
from pytest_capacity.backends.azure.listing import allocated, members_of, side_by_side
from pytest_capacity.backends.azure.plan import NODE, RESERVATION
from pytest_capacity.backends.azure.session import Arm, ArmError
from pytest_capacity.backends.azure.stamp import read_stamp
from pytest_capacity.backends.uses import stamped_use
from pytest_capacity.model import Unread
from pytest_capacity.usage import CloudResource


def read_uses(arm: Arm, regions: Sequence[str]) -> Iterator[CloudResource | Unread]:
    """Yield what bears our stamp in ``regions``: machines and reservation groups, then what is in each group.

    Two rounds. A group of the user's own may have members of ours, so the groups of ``regions`` are looked into.
    """
    machines, groups = side_by_side(
        lambda type_: _tried(arm, lambda: list(arm.pages(f"{type_}/read", _all(arm, type_), COMPUTE_VERSION))),
        [MACHINES, GROUPS],
    )
    if isinstance(machines, str):
        yield Unread("", NODE, machines)
        machines = []
    if isinstance(groups, str):
        yield Unread("", RESERVATION, groups)
        groups = []
    inside = side_by_side(
        lambda group: _tried(arm, lambda: _contents(arm, group)), [one for one in groups if _region(one) in regions]
    )
    seats: dict[str, str] = {}
    for found in inside:
        if isinstance(found, str):
            yield Unread("", RESERVATION, found)
            continue
        members, used = found
        seats |= used
        for answer in members:
            yield from _stamped(RESERVATION, answer, regions)
    for answer in machines:
        yield from _stamped(NODE, answer, regions, seats)


def _all(arm: Arm, type_: str) -> str:
    return arm.path(f"/providers/{type_}")


def _tried(arm: Arm, read: Any) -> Any:
    """Return what a read gives, or the words of what went wrong."""
    try:
        return read()
    except (ArmError, AzureError) as error:
        found = diagnose_error(error, arm.errors)
        return f"{found.code}: {found.words}"


def _region(answer: Mapping[str, Any]) -> str:
    return str(answer.get("location", "")).replace(" ", "").lower()


def _contents(arm: Arm, group: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the members of a group, each with its location, and by machine the member that it is in."""
    identity = canonical(str(group["id"]))
    members = [{**one, "location": one.get("location") or group.get("location")} for one in members_of(arm, identity)]
    ours = any(read_stamp(tags_of(one)).run for one in members)
    return members, allocated(arm, identity) if ours else {}


def _stamped(
    kind: str, answer: Mapping[str, Any], regions: Sequence[str], seats: Mapping[str, str] | None = None
) -> Iterator[CloudResource]:
    held = reading.held_of(kind, answer)
    if seats and held.id in seats:
        held = replace(held, facts={**held.facts, "reservation_id": seats[held.id]})
    found = stamped_use(held, read_stamp(tags_of(answer)), regions)
    if found is not None:
        yield found
