"""Our stamp on things of Compute Engine, given in the call that creates them.

All of it stands in the description, as JSON: reservations and placement policies take no labels, and a label holds 63
characters of a few kinds. Machines and their disks bear labels besides, by which lists are filtered; the run is part of
the name of everything, by which the others are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.stamp import Stamp
from pytest_capacity.backends.times import format_time, parse_time
from pytest_capacity.model import Order

KEY: Final = "pytest-capacity"
RUN: Final = KEY + "-run"
PROJECT: Final = KEY + "-project"
TOPOLOGY: Final = KEY + "-topology"
GROUP: Final = KEY + "-group"
#: Seconds since the epoch: the one part of the stamp that can be changed, and only on a machine.
DEADLINE: Final = KEY + "-deadline"

#: The beginning of the names of all that any run makes but machines and their disks.
ANY_RUN: Final = "pc-"

#: Characters in a label's value and in a name (API reference; names are RFC 1035's).
LIMIT: Final = 63

_NOT_IN_LABELS: Final = re.compile(r"[^a-z0-9_-]")
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")


def description(order: Order, subject: str, group: str | None, deadline: float) -> str:
    """Return the stamp as it stands in a description."""
    parts = {
        "run": order.run,
        "project": order.project,
        "topology": order.topology.name,
        "piece": subject,
        "deadline": format_time(deadline),
        **({"group": group} if group is not None else {}),
    }
    return json.dumps({KEY: parts}, separators=(",", ":"))


def labels(order: Order, group: str | None, own: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of one piece: the user's own, ours, and ``testid``, which scylla-cluster-tests looks for."""
    ours = {
        RUN: label_value(order.run),
        PROJECT: label_value(order.project),
        TOPOLOGY: label_value(order.topology.name),
        DEADLINE: str(int(order.lease_end)),
        "testid": label_value(order.run),
    }
    return {**own, **ours, **({GROUP: label_value(group)} if group is not None else {})}


def read_stamp(thing: Mapping[str, Any]) -> Stamp:
    """Return the stamp of a thing as the API lists it; an empty one where its description is not ours."""
    try:
        parts = json.loads(thing.get("description") or "")[KEY]
        stamp = Stamp(
            run=str(parts["run"]),
            project=str(parts.get("project", "")),
            topology=str(parts.get("topology", "")),
            piece=str(parts.get("piece", "")),
            group=parts.get("group"),
            deadline=parse_time(parts.get("deadline", "")),
        )
    except (ValueError, TypeError, KeyError):
        return Stamp()
    changed = str((thing.get("labels") or {}).get(DEADLINE, ""))
    if not changed.isdigit():
        return stamp
    return replace(stamp, deadline=float(changed))


def label_value(text: str) -> str:
    """Return ``text`` as it can stand in a label; what had to be changed keeps a hash of the whole."""
    plain = _NOT_IN_LABELS.sub("_", text.lower())
    return plain if plain == text and len(text) <= LIMIT else f"{plain[: LIMIT - 9]}-{digest(text, 8)}"


def name_part(text: str, most: int) -> str:
    """Return at most ``most`` characters of ``text`` as they can stand in a name; maybe none."""
    return _NOT_IN_NAMES.sub("-", text.lower()).strip("-")[:most].rstrip("-")


def run_prefix(run: str) -> str:
    """Return the prefix of the names of all that a run makes but machines and their disks: ``pc-1a2b3c4d-``."""
    return f"{ANY_RUN}{digest(run, 8)}-"


def digest(text: str, digits: int) -> str:
    """Return that many hexadecimal digits of the hash of ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
