"""Our stamp on a thing in a cloud: whose it is, and until when. On most clouds it is tags of the create call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends.times import format_time, parse_time
from pytest_capacity.model import Held, Order

PREFIX: Final = "pytest-capacity:"
RUN: Final = PREFIX + "run"
PROJECT: Final = PREFIX + "project"
TOPOLOGY: Final = PREFIX + "topology"
GROUP: Final = PREFIX + "group"
DEADLINE: Final = PREFIX + "deadline"
PIECE: Final = PREFIX + "piece"
#: The name of a node, as the tests know it.
NODE: Final = PREFIX + "node"


class Stamp(Struct, frozen=True):
    """What a thing says of its owner; whole only if ``missing`` is empty."""

    run: str = ""
    project: str = ""
    topology: str = ""
    piece: str = ""
    group: str | None = None
    deadline: float | None = None
    node: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The parts that are not there or cannot be read."""
        parts = {"run": self.run, "project": self.project, "piece": self.piece, "deadline": self.deadline}
        return tuple(key for key, value in parts.items() if not value)


def stamp_tags(
    order: Order, subject: str, value: Callable[[str], str], cloud: str, group: str | None = None
) -> dict[str, str]:
    """Return the tags of one piece: ours, and the three that the older tools of the field look for.

    ``value`` makes of a text what can stand in a tag of this cloud.
    """
    tags = {
        RUN: order.run,
        PROJECT: value(order.project),
        TOPOLOGY: value(order.topology.name),
        DEADLINE: format_time(order.lease_end),
        PIECE: subject,
        "TestId": order.run,
        "CapacityReservation": "true",
        "Backend": cloud,
    }
    return tags if group is None else {**tags, GROUP: value(group)}


def read_tags(tags: Mapping[str, str]) -> Stamp:
    """Return the stamp among a thing's tags."""
    return Stamp(
        run=tags.get(RUN, ""),
        project=tags.get(PROJECT, ""),
        topology=tags.get(TOPOLOGY, ""),
        piece=tags.get(PIECE, ""),
        group=tags.get(GROUP),
        deadline=parse_time(tags.get(DEADLINE, "")),
        node=tags.get(NODE, ""),
    )


def owned(held: Held, stamp: Stamp, run: str, project: str) -> Held | None:
    """Return ``held`` if it bears ``run``, else None; without a subject if it does not bear the whole stamp.

    ``project`` is as it stands in the stamp. What has no subject is reported and never released.
    """
    if stamp.run != run:
        return None
    faults = [f"no {part}" for part in stamp.missing]
    if stamp.project and stamp.project != project:
        faults.append(f"project {stamp.project!r}")
    return disowned(held, faults) if faults else held


def refuse_unstamped(helds: Sequence[Held], where: str = "tags") -> None:
    """Raise ``ValueError`` for what has no subject: it is not released. ``where`` the stamp stands in this cloud."""
    if foreign := [held.id for held in helds if not held.subject]:
        raise ValueError(
            f"asked to release {', '.join(foreign)}, which do not bear our whole stamp; they were left alone: "
            f"look at their {where}, and remove them by hand if they are yours"
        )


def disowned(held: Held, faults: Sequence[str]) -> Held:
    """Return ``held`` without a subject, and with what its stamp lacks."""
    return replace(held, subject="", problem=f"bears this run's id but not our whole stamp ({', '.join(faults)})")
