"""The engine's messages on its attempts: in the journal, in errors, in the summary."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from pytest_capacity import ladder
from pytest_capacity.backends.diagnosis import remedy
from pytest_capacity.model import EXHAUSTION, Attempt, Diagnosis, Identity, Market, NodeGroup, Order, Request, Topology

#: Attempts that an error names.
_SHOWN: Final = 6

#: The longest line of a reason: a terminal of 80 columns, less what pytest writes before it.
_WIDTH: Final = 76

_SUMMARY: Final = "the attempts stand in the summary"


def where(order: Order) -> dict[str, object]:
    """Return an order's place, for an event."""
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
    """Return what is requested, and where, for an event."""
    wanted = (
        ladder.of_market(_is_reserved(group, request), _market(group, request), group.instance_type)
        for group in order.topology.groups
    )
    return {**where(order), "wanted": _listed(wanted)}


def outcome(attempt: Attempt) -> dict[str, object]:
    """Return what came of an attempt, for an event."""
    return {
        "outcome": attempt.outcome,
        "seconds": attempt.seconds,
        "code": attempt.code,
        "words": attempt.words,
        "market": attempt.market,
        "reserved": attempt.reserved,
        "instance_type": attempt.instance_type,
    }


def asked(order: Order) -> str:
    """Return the first part of an error: what was requested."""
    return f"asked for topology {order.topology.name!r} in {order.placement.where}"


def asked_for(topology: Topology, request: Request, groups: Sequence[str] = ()) -> dict[str, Any]:
    """Return groups, types and markets of an attempt: all of its topology's, or those that were refused."""
    named = [group for group in topology.groups if not groups or group.name in groups]
    return {
        "group": _listed(group.name for group in named) if groups else "",
        "instance_type": _listed(group.instance_type for group in named),
        "market": _listed(_market(group, request) for group in named),
        "reserved": any(_is_reserved(group, request) for group in named),
    }


def elsewhere(diagnosis: Diagnosis, zones: Collection[str]) -> str:
    """Return the zones that the cloud names and the ladder does not have, for the advice; "" without any."""
    others = sorted(zone for zone in diagnosis.hints if zone not in zones)
    return f" (the cloud names {', '.join(others)})" if others else ""


def exhausted(cloud: str, name: str, tried: Sequence[Attempt], rounds: int) -> str:
    """Return the short reason that every test gets: what was tried, and what to change. One line for equal answers."""
    last = tried[-_SHOWN:]
    more = f" {len(tried) - _SHOWN} more, then" if len(tried) > _SHOWN else ""
    again = f" in {rounds} rounds of the ladder" if rounds > 1 else ""
    advice = ". ".join(list(dict.fromkeys(one.remedy for one in tried if one.remedy))[:2])
    return "\n".join(
        [
            *_wrapped(f"no capacity for topology {name!r}{again}: {cloud} refused{more}"),
            *by_reason((one.zone, f"{_what(one)} ({one.code})") for one in last),
            *_wrapped(f"{advice or 'Add zones, name other instance types, or try later'}; {_SUMMARY}"),
        ]
    )


def not_placed(cloud: str, name: str, tried: Sequence[Attempt], left_out: Mapping[str, Diagnosis]) -> str:
    """Return why a topology was placed nowhere, where that is no mere lack of capacity: the cloud's words, whole."""
    answers = [(one.zone, f"{_what(one)}: {_said(one.code, one.words)}") for one in tried]
    answers += [(region, f"not read: {_said(one.code, one.words)}") for region, one in left_out.items()]
    advice = [one.remedy for one in tried if one.kind not in EXHAUSTION]
    advice += [remedy(cloud, one) for one in left_out.values()]
    return "\n".join(
        [
            *_wrapped(f"asked for topology {name!r}, and {cloud} refused it everywhere:"),
            *by_reason(answers),
            *_wrapped(f"{'. '.join(list(dict.fromkeys(advice))[:2])}; {_SUMMARY}"),
        ]
    )


def none_able(name: str, regions: Collection[str], reasons: Sequence[tuple[str, str]]) -> str:
    """Return why no zone is to be tried at all, by zone."""
    return "\n".join(
        [
            *_wrapped(f"no zone of {' or '.join(regions)} can take topology {name!r}:"),
            *(by_reason(reasons, ": ") or ["  the cloud lists none. See that the region is spelt as there"]),
            "Nothing was created. Correct what is said here, or name other zones or types",
        ]
    )


def by_reason(reasons: Iterable[tuple[str, str]], between: str = " ") -> list[str]:
    """Return lines of at most `_WIDTH` characters: one reason each, after all zones that have it."""
    zones: dict[str, list[str]] = {}
    for zone, why in reasons:
        zones.setdefault(why, []).append(zone)
    return [
        line
        for why, where in zones.items()
        for line in _wrapped(f"{', '.join(dict.fromkeys(where))}{between}{why}", "  ", "    ")
    ]


def _wrapped(words: str, first: str = "", later: str = "") -> list[str]:
    # What is longer than a line, an address above all, stays whole, so that it can be opened or copied.
    return textwrap.wrap(
        words, _WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )


def _said(code: str, words: str) -> str:
    return ": ".join(filter(None, (code, words))) or "nothing"


def lasting(seconds: float) -> str:
    """Return ``90`` as "1.5 min"."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _what(attempt: Attempt) -> str:
    return ladder.of_market(attempt.reserved, attempt.market, attempt.instance_type)


def _market(group: NodeGroup, request: Request) -> Market:
    return group.market or request.market


def _is_reserved(group: NodeGroup, request: Request) -> bool:
    return ladder.is_reserved(group, request, _market(group, request))


def _listed(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))
