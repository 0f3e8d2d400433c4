"""``fallback``, ``colocate``, ``retry_until``, ``on_preempt``: where a run may go when a cloud has run out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.config.durations import format_duration
from pytest_capacity.config.fields import Faults, as_bool, as_choice, as_texts, chosen, read_keys, refuse_unknown, shown
from pytest_capacity.config.source import Source, as_duration, seconds_of, split
from pytest_capacity.model import AXES, Axis, Fallback, Request, Topology

#: How long the ladder takes to be gone through, beside the time that is spent on going round it again.
DEFAULT_TIMEOUT_S: Final = 15 * 60.0

#: The words of the flag, and the switch that each turns on.
_SWITCHES: Final = {"spot": "spot_to_on_demand", "zone": "zones", "region": "regions", "type": "instance_types"}
_NONE: Final = "none"
_KEYS: Final = Fallback.__struct_fields__
_EXAMPLE: Final = "{regions: true, order: [market, type, zone, region]}"


def read_moving(source: Source, request: Request, faults: Faults) -> Request:
    """Return ``request`` with all four, each read by itself; `check_moving` holds them against the rest."""
    return replace(
        request,
        colocate=source.read("colocate", chosen("zone", "region", "none"), faults) or request.colocate,
        on_preempt=source.read("on_preempt", chosen("fail", "replace"), faults) or request.on_preempt,
        fallback=_fallback(source, faults),
        retry_until_s=_retry_until(source, request.duration_s, faults),
    )


def default_timeout(request: Request) -> float:
    """Return how long provisioning may take by default: the time for going round again comes on top."""
    return min(DEFAULT_TIMEOUT_S + request.retry_until_s, request.duration_s)


def check_moving(
    source: Source, request: Request, regions: Sequence[str], own: Mapping[str, Sequence[str]], faults: Faults
) -> None:
    """Refuse what contradicts itself: regions against region fallback, and ``colocate`` against the groups.

    ``own`` are the regions of the topologies that have some for themselves, ``regions`` those of the others.
    """
    _check_regions(source, request.fallback, regions, own, faults)
    where = source.get("colocate")[1]
    for topology in request.topologies.values():
        if request.colocate == "region":
            _check_spread(topology, where, faults)
        elif request.colocate == "none":
            _check_alone(topology, request.fallback, where, faults)


def check_patience(source: Source, request: Request, faults: Faults) -> None:
    """Refuse a ladder that may be gone round for longer than provisioning may take: it would be cut short."""
    value, where = source.get("retry_until")
    same_level = source.is_overridden("timeout") == source.is_overridden("retry_until")
    if request.retry_until_s > request.timeout_s and same_level:
        remedy = "Give a longer `timeout`, or leave it out: then it is long enough."
        faults.add(where, f"{shown(value)} is longer than `timeout`, {format_duration(request.timeout_s)}", remedy)


def _fallback(source: Source, faults: Faults) -> Fallback:
    """Return the section, with the switches as a flag sets them: just the axes that it names, in the file's order."""
    value, where = source.get("fallback")
    written = source.values.get("fallback")
    section = Fallback()
    if isinstance(written, Mapping):
        section = _section(written, f"{source.file}: fallback", faults)
    if value is None or (isinstance(value, Mapping) and value is written):
        return section
    return replace(section, **_named(value, where, faults))


def _named(value: object, where: str, faults: Faults) -> dict[str, bool]:
    if not isinstance(value, str | list | tuple):
        faults.add(where, f"{shown(value)} is neither keys and values nor a list", f"Write it like {_EXAMPLE}.")
        return {}
    names = split(value, where, faults)
    for name in names:
        as_choice(name, (*_SWITCHES, _NONE), where, faults)
    if _NONE in names and len(set(names)) > 1:
        faults.add(where, f"{_NONE} is there beside others", f"Write {_NONE} alone, or leave it out.")
    return {switch: name in names for name, switch in _SWITCHES.items()}


def _section(values: Mapping[str, Any], where: str, faults: Faults) -> Fallback:
    refuse_unknown(values, _KEYS, f"{where}.", faults)
    switches = read_keys(values, dict.fromkeys(_SWITCHES.values(), as_bool), where, faults)
    order = _order(values["order"], f"{where}.order", faults) if "order" in values else AXES
    return Fallback(**switches, order=order)


def _order(value: object, where: str, faults: Faults) -> tuple[Axis, ...]:
    """Return all four axes. A part of them would leave open where the others go, which is what costs money or time."""
    names = as_texts(value, where, faults)
    if sorted(names) != sorted(AXES):
        remedy = f"Name each of the four once, the innermost (tried out first) in front: [{', '.join(AXES)}]."
        faults.add(where, f"[{', '.join(names)[:60]}] is no order of {', '.join(AXES)}", remedy)
        return AXES
    return tuple(axis for name in names for axis in AXES if axis == name)


def _retry_until(source: Source, duration: float, faults: Faults) -> float:
    value, where = source.get("retry_until")
    # By 0 a flag means "once" over a file that has another value.
    if value is None or seconds_of(value) == 0:
        return 0.0
    limit = "nodes are not looked for longer than `duration`,"
    return as_duration(value, where, duration, limit, faults) or 0.0


def _check_regions(
    source: Source,
    fallback: Fallback,
    regions: Sequence[str],
    own: Mapping[str, Sequence[str]],
    faults: Faults,
) -> None:
    # A flag alone says what is meant now; it is no contradiction of the file.
    if source.is_overridden("regions") != source.is_overridden("fallback"):
        return
    sets = {f"{source.file}: topologies.{name}.regions": some for name, some in own.items()}
    sets = {source.get("regions")[1]: regions, **sets} if regions else sets
    for where, some in sets.items():
        if len(some) > 1 and not fallback.regions:
            remedy = (
                "Write `fallback: {regions: true}` to move on to the next where one has run out, or name one region. "
                "Two topologies may be in two regions (`topologies.NAME.regions`)."
            )
            what = f"{', '.join(some)}: nodes are placed in one region; a topology across several is not supported"
            faults.add(where, what, remedy)
    if fallback.regions and sets and all(len(some) == 1 for some in sets.values()):
        value, where = source.get("fallback")
        at = f"{where}.regions" if isinstance(value, Mapping) else where
        remedy = "Name the others in `regions`, in the order in which they are tried, or leave it out."
        one = ", ".join(dict.fromkeys(region for some in sets.values() for region in some))
        faults.add(at, f"there is no other region to fall back to than {one}", remedy)


def _check_spread(topology: Topology, where: str, faults: Faults) -> None:
    for group in topology.groups:
        if group.placement_group:
            faults.add(
                where,
                f"is region, and {topology.name}/{group.name} asks for a cluster placement group, which is in one zone",
                "Write `colocate: zone`, or set placement_group to false.",
            )


def _check_alone(topology: Topology, fallback: Fallback, where: str, faults: Faults) -> None:
    """Refuse fallback without colocation: each node would move by itself, into a mixture of placements."""
    count = sum(group.count for group in topology.groups)
    axes = [word for word, on in (("zones", fallback.zones), ("regions", fallback.regions)) if on]
    if count > 1 and axes:
        faults.add(
            where,
            f"is none, and fallback along {' and '.join(axes)} is on: the {count} nodes of topology "
            f"{shown(topology.name)} would end up in different {' and '.join(axes)}",
            "Write `colocate: zone`: then they move together; or switch off "
            f"{', '.join(f'`fallback.{axis}`' for axis in axes)}.",
        )
