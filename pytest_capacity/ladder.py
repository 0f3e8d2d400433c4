"""Where to try next: a pure function of the request and of what the zones say.

So far a rung is a zone of the one region; markets, types and regions come as further axes.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_capacity.model import Offer


def rungs(wanted: Sequence[str], offers: Sequence[Offer]) -> list[Offer]:
    """The zones to try, in order: the wanted ones as written, or every zone that can; preferred ones first.

    A wanted zone is a letter (``a``), a name (``us-east-1a``) or a zone id (``use1-az2``).
    """
    able = [offer for offer in chosen(wanted, offers) if offer.ok]
    return sorted(able, key=lambda offer: not offer.preferred)


def chosen(wanted: Sequence[str], offers: Sequence[Offer]) -> list[Offer]:
    """The offers of the wanted zones, in that order and each once; all of them when none is named."""
    if not wanted:
        return list(offers)
    picked: list[Offer] = []
    for name in wanted:
        picked += [offer for offer in offers if matches(name, offer) and offer not in picked]
    return picked


def unknown(wanted: Sequence[str], offers: Sequence[Offer]) -> list[str]:
    """The wanted zones that the region does not have."""
    return [name for name in wanted if not any(matches(name, offer) for offer in offers)]


def matches(name: str, offer: Offer) -> bool:
    """Whether ``name`` (letter, name or zone id) means this zone."""
    return name in (offer.zone, offer.zone_id) or f"{offer.region}{name}" == offer.zone
