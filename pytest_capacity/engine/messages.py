"""What the engine says of its attempts: in the journal, in errors, in the summary."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from pytest_capacity import ladder
from pytest_capacity.model import Attempt, Diagnosis, Identity, NodeGroup, Order, Request, Topology

#: Attempts that one line of an error names.
_SHOWN: Final = 6


def where(order: Order) -> dict[str, object]:
    """An order's place, for an event."""
    return {
        "topology": order.topology.name,
        "region": order.placement.region,
        "zone": order.placement.where,
        "number": order.attempt,
    }


def cloud(request: Request, identity: Identity | None, emulator: str = "") -> str:
    """Return whose memory of dry zones counts: that of one account at one endpoint; there, of one ``emulator``."""
    return f"{request.backend}/{identity.account if identity else ''}/{emulator or request.endpoint or ''}"


def rung(order: Order, request: Request) -> dict[str, object]:
    """What is asked for, and where, for an event."""
    wanted = (f"{_market(group, request)} {group.instance_type}" for group in order.topology.groups)
    return {**where(order), "wanted": _listed(wanted)}


def outcome(attempt: Attempt) -> dict[str, object]:
    """What came of an attempt, for an event."""
    return {
        "outcome": attempt.outcome,
        "seconds": attempt.seconds,
        "code": attempt.code,
        "words": attempt.words,
        "market": attempt.market,
        "instance_type": attempt.instance_type,
    }


def asked(order: Order) -> str:
    """The first part of an error: what was asked for."""
    return f"asked for topology {order.topology.name!r} in {where(order)['zone']}"


def asked_for(topology: Topology, request: Request, groups: Sequence[str] = ()) -> dict[str, str]:
    """Groups, types and markets of an attempt: all of its topology's, or those that were refused."""
    named = [group for group in topology.groups if not groups or group.name in groups]
    return {
        "group": _listed(group.name for group in named) if groups else "",
        "instance_type": _listed(group.instance_type for group in named),
        "market": _listed(_market(group, request) for group in named),
    }


def elsewhere(diagnosis: Diagnosis, zones: Collection[str]) -> str:
    """The zones that the cloud names and the ladder does not have, to be added to the advice; empty without any."""
    others = sorted(zone for zone in diagnosis.hints if zone not in zones)
    return f" (the cloud names {', '.join(others)})" if others else ""


def exhausted(cloud: str, name: str, tried: Sequence[Attempt], rounds: int) -> str:
    """The short reason that every test gets: what was tried, and what to change."""
    last = [f"{one.zone} {one.market} {one.instance_type} ({one.code})" for one in tried[-_SHOWN:]]
    more = f"{len(tried) - _SHOWN} more, then " if len(tried) > _SHOWN else ""
    again = f" in {rounds} rounds of the ladder" if rounds > 1 else ""
    remedies = list(dict.fromkeys(one.remedy for one in tried if one.remedy))
    now = ". ".join(remedies[:2]) or "Add zones, name other instance types, or try later"
    return (
        f"no capacity for topology {name!r}{again}: {cloud} refused {more}{', '.join(last)}. "
        f"{now}; the attempts stand in the summary"
    )


def lasting(seconds: float) -> str:
    """``90`` as "1.5 min"."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _market(group: NodeGroup, request: Request) -> str:
    return ladder.market_of(group, request, group.market or request.market)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))
