"""The weather: what a scenario file and ``POST /_world`` may say, and whether it makes sense."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from msgspec import Struct, field

from pytest_capacity.emulator.catalogue import Names, Place, near

#: Operations of the machines themselves, for faults that are no call's.
MACHINE_OPERATIONS: Final = frozenset({"boot"})


class WeatherError(Exception):
    """The weather makes no sense; the message names the key and what is known."""


#: A time that holds for every cloud, or one for each cloud that is named.
PerCloud = float | Mapping[str, float]


class Bucket(Struct, frozen=True, forbid_unknown_fields=True):
    """A token bucket: ``burst`` calls at once, ``per_second`` of them come back."""

    burst: float
    per_second: float


class Throttle(Struct, frozen=True, forbid_unknown_fields=True):
    """Buckets of a region, for calls that change things and calls that look."""

    write: Bucket | None = None
    read: Bucket | None = None


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """A fault of the calls that match all its given fields. ``times=None``: without end."""

    cloud: str | None = None
    operation: str | None = None
    region: str | None = None
    zone: str | None = None
    type: str | None = None
    market: str | None = None
    error: str | None = None
    message: str | None = None
    http: int | None = None
    #: The call is accepted, and the error comes when what it began ends.
    late: bool = False
    lose_reply: bool = False
    delay_s: float = 0.0
    times: int | None = None

    def matches(
        self, cloud: str, operation: str, region: str, zone: str | None, type_: str | None, market: str | None = None
    ) -> bool:
        """Return whether a call is hit. A fault without operation hits every call, but no boot."""
        if self.operation is None and operation in MACHINE_OPERATIONS:
            return False
        pairs = (
            (self.cloud, cloud),
            (self.operation, operation),
            (self.region, region),
            (self.zone, zone),
            (self.type, type_),
            (self.market, market),
        )
        return all(wanted is None or wanted == got for wanted, got in pairs)


class Jump(Struct, frozen=True, forbid_unknown_fields=True):
    """Time that passes at once."""

    advance_s: float


class Offering(Struct, frozen=True, forbid_unknown_fields=True):
    """Types that a zone lacks."""

    exclude: tuple[str, ...] = ()


class Images(Struct, frozen=True, forbid_unknown_fields=True):
    """Images that a region lacks, by id."""

    exclude: tuple[str, ...] = ()


class SpotPool(Struct, frozen=True, forbid_unknown_fields=True):
    """Spot machines to take back: all that match what is given."""

    cloud: str | None = None
    region: str | None = None
    zone: str | None = None
    type: str | None = None


class Weather(Struct, frozen=True, forbid_unknown_fields=True):
    """The state of the clouds. A part that is given replaces that part; the `EVENTS` happen once."""

    latency_ms: PerCloud = 0.0
    boot_s: PerCloud = 0.0
    stop_s: PerCloud = 0.0
    ssh_delay_s: PerCloud = 0.0
    cloud_init_s: PerCloud = 0.0
    pending_s: PerCloud = 0.0
    operation_s: PerCloud = 0.0
    consistency_s: PerCloud = 0.0
    stock: Mapping[str, Mapping[str, int | Mapping[str, int]]] = field(default_factory=dict)
    quota: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    throttle: Mapping[str, Throttle] = field(default_factory=dict)
    offerings: Mapping[str, Offering] = field(default_factory=dict)
    images: Mapping[str, Images] = field(default_factory=dict)
    reclaim_notice_s: PerCloud = 0.0
    #: What only one face knows, by its name.
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, name: str, cloud: str) -> float:
        """Return a time, such as ``boot_s``, as it is for one cloud."""
        value: PerCloud = getattr(self, name)
        return value.get(cloud, 0.0) if isinstance(value, Mapping) else value


#: Parts that are events, not a state.
EVENTS: Final = frozenset({"reset", "clock", "reclaim", "owner"})
PARTS: Final = tuple(sorted({*Weather.__struct_fields__, *EVENTS}))


#: No process id is as large as this: they are C's int.
MOST_PID: Final = 2**31

#: The keys below each part.
_KEYS_OF: Final[Mapping[str, type[Struct]]] = {
    "faults": Fault,
    "throttle": Throttle,
    "bucket": Bucket,
    "offerings": Offering,
    "images": Images,
    "clock": Jump,
    "reclaim": SpotPool,
}

_TIMES: Final = (
    "latency_ms",
    "boot_s",
    "stop_s",
    "ssh_delay_s",
    "cloud_init_s",
    "pending_s",
    "operation_s",
    "consistency_s",
    "reclaim_notice_s",
)

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<key>.*?)`(?: - at `\$(?P<at>.*)`)?")


class Change(Struct, frozen=True):
    """A checked piece of weather: the parts that are replaced, and what happens once."""

    parts: Mapping[str, Any]
    reset: bool = False
    advance_s: float = 0.0
    reclaim: tuple[str | SpotPool, ...] = ()
    #: A process that the emulator stays for.
    owner: int | None = None
    #: Single keys of ``own`` that are replaced, by cloud.
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_scenario(path: str, names: Names) -> Change:
    """Return the weather in a YAML file; `WeatherError` names the file and the fault."""
    try:
        told = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as problem:
        raise WeatherError(f"{path}: {problem.strerror or problem}. Name a file of weather (YAML)") from None
    except (UnicodeDecodeError, yaml.YAMLError) as problem:
        raise WeatherError(f"{path}: cannot be read as YAML: {problem}. Correct it") from None
    try:
        change = read_change({} if told is None else told, names)
    except WeatherError as problem:
        raise WeatherError(f"{path}: {problem}") from None
    if change.owner is not None:
        raise WeatherError(f"{path}: owner is no weather; give the option --owner {change.owner}")
    return change


def read_change(told: object, names: Names) -> Change:
    """Return what ``told`` changes; raise `WeatherError` if it is not weather."""
    if not isinstance(told, Mapping):
        raise WeatherError(f"the weather is a mapping, not {type(told).__name__}; known keys: {', '.join(PARTS)}")
    own = _own_keys(told, names)
    others = sorted({*PARTS, *(key for one in names.catalogues(None).values() for key in _keys_of(one))})
    unknown = sorted(str(key) for key in told if key not in others)
    if unknown:
        raise WeatherError(f"unknown key {', '.join(unknown)}; known keys: {', '.join(others)}")
    state = {key: value for key, value in told.items() if key in PARTS and key not in EVENTS}
    weather = _convert(state, Weather, "")
    change = Change(
        parts={key: getattr(weather, key) for key in state},
        reset=_convert(told.get("reset", False), bool, "reset"),
        advance_s=_convert(told["clock"], Jump, "clock").advance_s if "clock" in told else 0.0,
        reclaim=_convert(told.get("reclaim", []), tuple[str | SpotPool, ...], "reclaim"),
        owner=_convert(told["owner"], int, "owner") if "owner" in told else None,
        own=own,
    )
    _check(weather, change, names)
    return change


def _keys_of(catalogue: object) -> tuple[str, ...]:
    """Return what a cloud's own weather has that may be written without ``own: {CLOUD: ...}`` around it."""
    return getattr(catalogue, "own_keys", ())


def _own_keys(told: Mapping[Any, Any], names: Names) -> dict[str, dict[str, Any]]:
    found = {
        name: {key: told[key] for key in _keys_of(one) if key in told} for name, one in names.catalogues(None).items()
    }
    return {name: values for name, values in found.items() if values}


def _convert(value: object, type_: Any, where: str) -> Any:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as problem:
        raise WeatherError(_unknown_key(str(problem), where) or f"{where}: {problem}".removeprefix(": ")) from None


def _unknown_key(problem: str, where: str) -> str | None:
    """Return msgspec's message with the known keys: it names the key that is too much, and where."""
    found = _UNKNOWN.fullmatch(problem)
    if not found:
        return None
    at = where + (found["at"] or "").removeprefix("." if not where else "")
    known = _KEYS_OF["bucket" if at.endswith((".write", ".read")) else re.split(r"\W", at)[0]].__struct_fields__
    return f"{at}: unknown key {found['key']}{near(found['key'], known)}; known keys: {', '.join(sorted(known))}"


def _check(weather: Weather, change: Change, names: Names) -> None:
    for key in _TIMES:
        _check_time(key, getattr(weather, key), names)
    if change.advance_s < 0:
        raise WeatherError(f"clock.advance_s is {change.advance_s}; time does not go back")
    if change.owner is not None and not 0 < change.owner < MOST_PID:
        raise WeatherError(f"owner is {change.owner}; give the id of a process, which is 1 or more")
    for zone, pools in weather.stock.items():
        _check_stock(zone, pools, zone_of(f"stock.{zone}", zone, names), names)
    for zone, offering in weather.offerings.items():
        place = zone_of(f"offerings.{zone}", zone, names)
        for type_ in offering.exclude:
            _known_type(f"offerings.{zone}.exclude", type_, names, place.cloud)
    for region in weather.images:
        region_of(f"images.{region}", region, names)
    for region in weather.throttle:
        region_of(f"throttle.{region}", region, names)
    _check_quota(weather, names)
    for number, fault in enumerate(weather.faults):
        _check_fault(f"faults[{number}]", fault, names)
    for name, values in weather.own.items():
        _check_own(f"own.{name}", name, values, names)
    for name, values in change.own.items():
        _check_own("", name, values, names)


def _check_quota(weather: Weather, names: Names) -> None:
    for region, limits in weather.quota.items():
        known = names.metrics(region_of(f"quota.{region}", region, names).cloud)
        for metric in limits:
            if metric not in known:
                words = f"unknown key {metric}{near(metric, known)}; known keys: {', '.join(sorted(known))}"
                raise WeatherError(f"quota.{region}: {words}")


def zone_of(where: str, key: str, names: Names) -> Place:
    """Return the zone that a key of the weather names. Raise `WeatherError` if none, or more than one."""
    return _only(where, key, names.zones(key), names.all_zones(), "zone")


def region_of(where: str, key: str, names: Names) -> Place:
    """Return the region that a key of the weather names. Raise `WeatherError` if none, or more than one."""
    return _only(where, key, names.regions(key), names.all_regions(), "region")


def _only(where: str, key: str, places: Sequence[Place], known: frozenset[str], what: str) -> Place:
    if not places:
        _known(where, key, known - {key}, what)
    if len(places) > 1:
        some = ", ".join("/".join(filter(None, (one.cloud, one.region, one.zone))) for one in places[:4])
        raise WeatherError(f"{where}: {key!r} may be {some} ...; write it out")
    return places[0]


def _check_own(where: str, name: str, values: Mapping[str, Any], names: Names) -> None:
    _known(where, name, names.clouds(), "name")
    check = getattr(names.catalogues(name)[name], "check_own", None)
    if check is None:
        raise WeatherError(f"{where}: {name} has no weather of its own")
    try:
        check(values)
    except ValueError as problem:
        raise WeatherError(f"{where}: {problem}".removeprefix(": ")) from None


def _check_time(key: str, value: PerCloud, names: Names) -> None:
    for cloud in value if isinstance(value, Mapping) else ():
        _known(f"{key}.{cloud}", cloud, names.clouds(), "name")
    for seconds in value.values() if isinstance(value, Mapping) else [value]:
        if seconds < 0:
            raise WeatherError(f"{key} is {seconds}; give 0 or more")


def _check_stock(zone: str, pools: Mapping[str, int | Mapping[str, int]], place: Place, names: Names) -> None:
    for key, value in pools.items():
        where = f"stock.{zone}.{key}"
        if isinstance(value, int) != (key != "spot"):
            raise WeatherError(f"{where}: a type has a number, and `spot` has a mapping of types to numbers")
        numbers = {key: value} if isinstance(value, int) else value
        for type_, number in numbers.items():
            if number < 0:
                raise WeatherError(f"{where}: {number} machines; give 0 or more")
            if type_ != "*":
                _known_type(where, type_, names, place.cloud)


def _check_fault(where: str, fault: Fault, names: Names) -> None:
    cloud = fault.cloud
    if cloud is not None:
        _known(f"{where}.cloud", cloud, names.clouds(), "name")
    if fault.operation is not None:
        operations = names.operations(cloud) | MACHINE_OPERATIONS
        _known(f"{where}.operation", fault.operation, operations, "operation", 0)
    if fault.region is not None:
        _known(f"{where}.region", fault.region, names.all_regions(cloud), "region")
    if fault.zone is not None:
        _known(f"{where}.zone", fault.zone, names.all_zones(cloud), "zone", 0)
    if fault.type is not None:
        _known_type(f"{where}.type", fault.type, names, cloud)
    if fault.market not in (None, "on-demand", "spot"):
        raise WeatherError(f"{where}.market is {fault.market!r}; give on-demand or spot")
    if fault.error is None and not fault.lose_reply and not fault.delay_s:
        raise WeatherError(f"{where}: does nothing; give error, lose_reply or delay_s")
    if fault.late and fault.error is None:
        raise WeatherError(f"{where}: late says when the error comes; give error")
    if fault.delay_s < 0 or (fault.times is not None and fault.times < 1):
        raise WeatherError(f"{where}: delay_s is 0 or more and times 1 or more")
    if fault.http is not None and not 400 <= fault.http <= 599:
        raise WeatherError(f"{where}.http is {fault.http}; an error's status lies between 400 and 599")


def _known_type(where: str, type_: str, names: Names, cloud: str | None) -> None:
    if not names.has_type(type_, cloud):
        raise WeatherError(f"{where}: no emulated cloud has a type {type_!r}")


def _known(where: str, key: str, known: frozenset[str], what: str, shown: int = 8) -> None:
    if key not in known:
        some = sorted(known, key=lambda name: (name[:6] != key[:6], name))[: shown or 8]
        article = "an" if what[0] in "aeiou" else "a"
        raise WeatherError(f"{where}: no emulated cloud has {article} {what} {key!r}; known are {', '.join(some)} ...")
