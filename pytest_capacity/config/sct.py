"""The configuration of scylla-cluster-tests (SCT), as it is -> the keys of `capacity.yaml`.

A file that has one of its keys (`KEYS`, and those that providers add: `SctKeys`) is read as SCT reads it, as far as
machines go, and turned into the package's keys, which are then checked as any others. Complaints name the keys that the
user wrote.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

from msgspec import Struct, field

from pytest_capacity.config.fields import Faults, as_bool, as_choice, shown
from pytest_capacity.config.provider import Reader, Readers, SctReading
from pytest_capacity.config.sct_keys import REFUSED, check_refused, ignored
from pytest_capacity.config.sct_nodes import NODE_KEYS, Roles, given, own_or, read_roles, whole_number
from pytest_capacity.config.sct_words import in_their_advice
from pytest_capacity.config.source import Source, split
from pytest_capacity.errors import ConfigError

_RESERVE: Final = "use_capacity_reservation"
_NEXT_ZONE: Final = "fallback_to_next_availability_zone"
_NEXT_REGION: Final = "fallback_to_next_region"
_KEY_FILE: Final = "user_credentials_path"
_ON_DEMAND: Final = "instance_provision_fallback_on_demand"
#: Those of every cloud.
KEYS: Final = (
    "cluster_backend",
    "region_name",
    "availability_zone",
    "test_duration",
    "instance_provision",
    _ON_DEMAND,
    _NEXT_ZONE,
    _NEXT_REGION,
    _RESERVE,
    _KEY_FILE,
    *NODE_KEYS,
)
#: Known beside them, which are what makes a file one of SCT: words of ours for what it has none of, and one that both
#: have.
_BESIDE: Final = ("colocate", "ssh", "collect", "test_id")
#: Those that SCT reads from the environment and we do, too, where the file is one of SCT.
_IN_ENVIRONMENT: Final = (_NEXT_ZONE, _NEXT_REGION)
_MARKETS: Final = {"on_demand": "on-demand", "spot": "spot", "spot_fleet": "spot", "spot_low_price": "spot"}


class Translated(Struct, frozen=True, kw_only=True):
    """Our keys and values, and for each key, or path of keys, the one that the user wrote.

    What goes by an empty one is not to be complained of.
    """

    values: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def put(self, key: str, value: Any, name: str) -> None:
        """Add one more key; nothing where there is no value."""
        self.names[key] = name
        if value is not None:
            self.values[key] = value


def sct_keys(clouds: Readers) -> tuple[str, ...]:
    """Return every key of SCT: those of all clouds, and those of each provider."""
    return tuple(dict.fromkeys((*KEYS, *(key for provider in _all(clouds) for key in provider.sct.all))))


def is_sct(values: Mapping[str, Any], ours: Sequence[str], clouds: Readers) -> bool:
    """Return whether a file is one of SCT. ``ours`` are the package's keys, for which no provider is imported."""
    if any(key in values for key in KEYS):
        return True
    return not values.keys() <= set(ours) and any(key in values for key in sct_keys(clouds))


def is_reserving(values: Mapping[str, Any], where: str, clouds: Readers, faults: Faults) -> bool:
    """Return whether it names a cloud and switches its reservations on."""
    backend = values.get("cluster_backend")
    provider = clouds.get(backend) if backend in tuple(clouds.names()) else Reader()
    key = own_or(values, provider.sct.reserve, _RESERVE)
    on = as_bool(values[key], f"{where}: {key}", faults) if given(values, key) else False
    return bool(backend) and bool(on)


def translate(
    source: Source,
    environ: Mapping[str, str],
    ours: Sequence[str],
    clouds: Readers,
    warn: Callable[[str], None],
    faults: Faults,
) -> Translated:
    """Return the file of ``source`` in the package's keys, of which ``ours`` are all.

    Raises `ConfigError` where the file cannot be classified: it mixes the two.
    """
    # Those that are refused, and those that are left to the test.
    others = ignored().union(REFUSED, *(provider.sct.refused for provider in _all(clouds)))
    _check_keys(source, ours, sct_keys(clouds), others, faults)
    return _Reader(source, environ, clouds, warn, faults).read()


def in_their_words(
    lines: Sequence[str], before: int, file: str, names: Mapping[str, str], provider: Reader
) -> list[str]:
    """Return the complaints about the package's keys as complaints about SCT's.

    The first ``before`` were made about the file itself; a key that these name is not complained of twice.
    """
    told = list(lines[:before])
    for line in lines[before:]:
        found = _named(line.removeprefix(f"{file}: "), names) if line.startswith(f"{file}: ") else None
        if found is None:
            told.append(line)
            continue
        name, rest = found
        if name and not any(other.startswith(f"{file}: {name}:") for other in told):
            told.append(f"{file}: {name}{in_their_advice(rest, provider)}")
    return told


def _named(text: str, names: Mapping[str, str]) -> tuple[str, str] | None:
    """Return SCT's key, and what follows the package's; None where the text is about none of the package's keys."""
    for key in sorted(names, key=len, reverse=True):
        if text.startswith((f"{key}:", f"{key}[", f"{key}.")):
            at = text.index(":", len(key))
            return names[key], text[at:]
    return None


def _check_keys(
    source: Source, ours: Sequence[str], keys: Sequence[str], others: frozenset[str], faults: Faults
) -> None:
    """Refuse a mixture, and what is not known: obeying a file in part is worse than not obeying it."""
    values, file = source.values, source.file
    theirs = [key for key in values if key in keys]
    mixed = [key for key in values if key in ours and key not in _BESIDE]
    unknown = [str(key) for key in values if key not in keys and key not in ours and key not in others]
    near = {
        key: found[0]
        for key in unknown
        if (found := difflib.get_close_matches(key, [*keys, *sorted(others)], n=1, cutoff=0.85))
    }
    for key, other in near.items():
        faults.add(f"{file}: {shown(key)[1:-1]}", "is not a known key", f"Did you mean {other}?")
    rest = [shown(key)[1:-1] for key in unknown if key not in near]
    if rest:
        faults.add(
            f"{file}: {', '.join(rest)}",
            "not known, and this is a file of scylla-cluster-tests, which does not know them either",
            "Correct them, or leave them out.",
        )
    if mixed:
        faults.add(
            f"{file}: {', '.join(mixed)}",
            f"beside keys of scylla-cluster-tests ({', '.join(theirs[:3])}{', ...' if theirs[3:] else ''})",
            "Write all of the file in one of the two; only `colocate: zone` goes with keys of "
            "scylla-cluster-tests, and `ssh` and `collect`.",
        )
        raise ConfigError(faults.lines)
    if given(values, "colocate") and values["colocate"] != "zone":
        remedy = "Write `colocate: zone`, or leave it out."
        faults.add(f"{file}: colocate", f"{shown(values['colocate'])} beside keys of scylla-cluster-tests", remedy)


class _Reader:
    """One file, read once."""

    def __init__(
        self,
        source: Source,
        environ: Mapping[str, str],
        clouds: Readers,
        warn: Callable[[str], None],
        faults: Faults,
    ) -> None:
        self._source = source
        self._values = {key: value for key, value in source.values.items() if given(source.values, key)}
        self._environ = environ
        self._warn = warn
        self._faults = faults
        names = tuple(clouds.names())
        self._provider: Reader = Reader()
        self.backend = source.overrides.backend or self._word("cluster_backend", names)
        if self.backend in names:
            self._provider = clouds.get(self.backend)
        self._example = names[0]
        self._region_key = own_or(self._values, self._provider.sct.regions, "region_name")
        self._named = self._words(self._region_key)
        self._regions = self._in_use()
        self._reserve_key = own_or(self._values, self._provider.sct.reserve, _RESERVE)
        self._reserve = bool(self._truth(self._reserve_key))
        self._own = self._read_own(clouds)

    def read(self) -> Translated:
        """Return everything, in the package's keys."""
        found = Translated()
        # What a flag gives need not be in the file; else the name is missing under the user's key.
        found.put("backend", self.backend, "cluster_backend")
        if self.backend is None and "cluster_backend" not in self._values:
            self._fault("cluster_backend", "no backend is chosen", f"Write `cluster_backend: {self._example}`.")
        key = self._region_key
        found.put("regions", list(self._named) if key in self._values else None, key)
        found.put("duration", self._duration(), "test_duration")
        found.put("test_id", self._values.get("test_id"), "test_id")
        check_refused(self._values, self._source.file, self._provider, self._faults)
        # Images stand in the order of the file's regions, whatever a flag makes of these.
        regions = self._named or self._regions
        roles = read_roles(self._values, self._source.file, self._provider, regions, self._faults)
        self._put_markets(found)
        self._put_places(found, roles)
        self._put_groups(found, roles)
        return found

    def _put_markets(self, found: Translated) -> None:
        word = self._word("instance_provision", tuple(_MARKETS))
        # Who asks for a reservation, which spot cannot use, and leaves the market open, does not ask for spot.
        market = _MARKETS[word] if word else "on-demand" if self._reserve else self._provider.sct.market
        moves = self._truth(_ON_DEMAND)
        if moves is None:
            moves = self._provider.sct.spot_to_on_demand  # As in the defaults of SCT.
        found.put("market", market, "instance_provision")
        found.put("reserve", self._reserve, self._reserve_key)
        found.values["fallback"] = {"spot_to_on_demand": moves}
        if word and market == "spot" and self._reserve and not moves:
            self._fault(
                self._reserve_key,
                f"is true, and instance_provision is {word}, of which no reservation can be used",
                f"Write `instance_provision: on_demand`, or `{_ON_DEMAND}: true`.",
            )

    def _put_places(self, found: Translated, roles: Roles) -> None:
        next_zone, next_region = self._next_zone(), bool(self._truth(_NEXT_REGION))
        if not self._source.is_overridden("fallback"):
            together = self._values.get("colocate") == "zone"
            self._check_next_zone(next_zone, roles.db_nodes, together)
            self._check_regions(next_region, roles.db_nodes, together)
        zones = self._zones()
        found.put("zones", [*zones, "*"] if zones and next_zone else zones or None, "availability_zone")
        found.values["fallback"] |= {"zones": next_zone, "regions": next_region}
        found.names.update({"fallback.regions": _NEXT_REGION, "fallback": _NEXT_ZONE})
        spread_by = self._own.spread_by
        if spread_by and self._values.get("colocate") == "zone":
            what = f"is {shown(self._values.get(spread_by))}, and `colocate: zone` keeps all nodes in one zone"
            self._fault(spread_by, what, "Give it another value, or leave `colocate` out.")
        # Where nothing moves along zones, SCT puts the nodes of each kind into the zones in turn.
        spread = bool(spread_by) or (len(zones) > 1 and not next_zone)
        colocate = "zone" if "colocate" in self._values or not spread else "region"
        found.put("colocate", colocate, "availability_zone")
        if colocate == "region" and self._truth("use_placement_group"):
            remedy = "Name one zone, or add `colocate: zone`, or switch the placement group off."
            self._fault("use_placement_group", "is true, and the nodes are in several zones", remedy)
            found.names["colocate"] = "use_placement_group"

    def _put_groups(self, found: Translated, roles: Roles) -> None:
        grouped = bool(self._truth("use_placement_group"))
        groups: dict[str, Any] = {}
        for role in roles.found:
            groups[role.name] = body = {"count": role.count, "instance_type": role.instance_type}
            # As SCT has it: the monitor is neither reserved nor near the others.
            if role.name == "monitor":
                body["reserve"] = False
            elif grouped:
                body["placement_group"] = True
            if role.images:
                body["image"] = role.images
            if section := {**role.section, **self._own.groups.get(role.name, {})}:
                body[self._provider.name] = section
            for key in role.section:
                disk = f"root_disk_size_{role.name}"
                own = f"groups.{role.name}.{self._provider.name}.{key}"
                found.names[own] = disk if disk in self._values else role.names["instance_type"]
            if role.user and self._logs_in:
                body["ssh"] = {"user": role.user}
            for key, name in role.names.items():
                found.names[f"groups.{role.name}.{key}"] = name
            found.names[f"groups.{role.name}.placement_group"] = "use_placement_group"
        found.names.update(self._own.names)
        # That there are none has been complained of.
        found.put("groups", groups, "n_db_nodes" if groups else "")
        section = {**self._own.section, **({"image": roles.images} if roles.images else {})}
        self._put_ssh(found, section)
        if self._provider.name:
            found.put(self._provider.name, section or None, self._provider.sct.images.get("db", ""))
        self._check_count(roles)

    @property
    def _logs_in(self) -> bool:
        # `{}` is the shortest section of ours: all of it as by default.
        ours = self._values.get("ssh", _KEY_FILE in self._values)
        return ours == {} or bool(ours)

    def _put_ssh(self, found: Translated, section: dict[str, Any]) -> None:
        """Put what the file sets in the package's words, over the user and the key file that it names in SCT's."""
        ours = self._values.get("ssh")
        found.put("collect", self._values.get("collect"), "collect")
        if not self._logs_in:
            found.put("ssh", ours, "ssh")
            return
        theirs: dict[str, Any] = {}
        for key, name in (("user", self._provider.sct.users.get("", "")), ("key", _KEY_FILE)):
            if name in self._values:
                theirs[key] = self._values[name]
                found.names[f"ssh.{key}"] = name
        if isinstance(ours, Mapping):
            theirs |= ours
            found.names.update({f"ssh.{key}": f"ssh.{key}" for key in ours})
        found.put("ssh", theirs if isinstance(ours, Mapping | None) or theirs else ours, "ssh")
        key_name = self._provider.sct.key_name
        if key_name and isinstance(path := self._values.get(_KEY_FILE), str):
            # There it is called as the file of its private half.
            section[key_name] = PurePath(path).name
            found.names[f"{self._provider.name}.{key_name}"] = _KEY_FILE

    def _in_use(self) -> tuple[str, ...]:
        """Return the regions of a flag, the file, or the environment."""
        if self._source.is_overridden("regions"):
            return split(self._source.overrides.regions, "", Faults())
        if self._region_key in self._values:
            return self._named
        regions, _ = self._provider.default_regions(self._environ)
        if not regions:
            example = self._provider.examples.region
            key = self._provider.sct.regions or self._region_key
            self._fault(key, "no region is named", f"Write `{key}: {example}`.")
        return regions

    def _zones(self) -> list[str]:
        keys = self._provider.sct
        zones = [zone for key in ("availability_zone", *keys.zones) for zone in self._words(key)]
        return list(dict.fromkeys(zones)) if keys.unique_zones else zones

    def _next_zone(self) -> bool:
        old_key = self._provider.sct.next_zone
        new, old = self._truth(_NEXT_ZONE), self._truth(old_key) if old_key else None
        if old is not None:
            self._warn(f"{self._where(old_key)}: is deprecated. Write {_NEXT_ZONE} instead")
        return bool(old if new is None else new)

    def _check_next_zone(self, next_zone: bool, nodes: int, together: bool) -> None:
        if next_zone and nodes > 1 and not together:
            self._fault(
                _NEXT_ZONE if self._truth(_NEXT_ZONE) else self._provider.sct.next_zone,
                f"{_NEXT_ZONE} only works with n_db_nodes=1. Current configuration has {nodes} db nodes. "
                "Zone fallback with multiple nodes would result in mixed availability zones which is not supported",
                "Add `colocate: zone`: then all nodes move together.",
            )

    def _check_regions(self, next_region: bool, nodes: int, together: bool) -> None:
        regions = list(self._regions)
        if next_region and len(regions) == 1 and not self._source.is_overridden("regions"):
            self._fault(
                _NEXT_REGION,
                f"{_NEXT_REGION} requires multiple regions to be configured. Current regions: {regions}",
                f"Name the others in `{self._region_key}`, or leave it out.",
            )
        if next_region and nodes > 1 and not together:
            self._fault(
                _NEXT_REGION,
                f"{_NEXT_REGION} only works with n_db_nodes=1. Current configuration has {nodes} db nodes. Region "
                "fallback with multiple nodes would result in split clusters across regions which is not supported",
                "Add `colocate: zone`: then all nodes move together.",
            )
        if not next_region and len(regions) > 1:
            self._fault(
                self._region_key,
                f"{', '.join(regions)}: a cluster across several regions (multi-DC) is not supported",
                f"Name one region, or write `{_NEXT_REGION}: true` to move on where one has run out.",
            )

    def _duration(self) -> str | None:
        value = self._values.get("test_duration")
        minutes = whole_number(value)
        if value is not None and not minutes:
            self._fault("test_duration", f"{shown(value)} is not a number of minutes", "Write it like 90.")
        return f"{minutes}m" if minutes else None

    def _check_count(self, roles: Roles) -> None:
        """Check a count, which replaces the one of the nodes only where all that is reserved has one shape."""
        key = self._provider.sct.count
        if not key or key not in self._values or not self._reserve:
            return
        types = sorted({role.instance_type for role in roles.found if role.name != "monitor"})
        if len(types) > 1:
            remedy = "Leave it out: each type is counted by its nodes."
            self._fault(key, f"is one number, and several types are reserved: {', '.join(types)}", remedy)

    def _read_own(self, clouds: Readers) -> SctReading:
        """Return what only the chosen cloud has; the form of such keys is checked whichever cloud the file is for."""
        chosen = SctReading()
        for provider in _all(clouds):
            self._check_number(provider.sct.count)
            if provider.sct.reserve:
                self._truth(provider.sct.reserve)
            found = provider.read_sct(self._values, self._where, self._faults)
            chosen = found if provider.name == self._provider.name else chosen
        return chosen

    def _check_number(self, key: str) -> None:
        value = self._values.get(key)
        if value is not None and not 1 <= (whole_number(value) or 0) <= 1000:
            self._fault(key, f"{shown(value)} is not a number of machines", "Give a whole number from 1 to 1000.")

    def _truth(self, key: str) -> bool | None:
        value = self._from_environment(key) or self._values.get(key)
        return as_bool(value, self._where(key), self._faults) if value is not None else None

    def _word(self, key: str, choices: Sequence[str]) -> str | None:
        value = self._values.get(key)
        return as_choice(value, choices, self._where(key), self._faults) if value is not None else None

    def _words(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, list | tuple):
            value = [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in value]
        return split(value, self._where(key), self._faults) if value is not None else ()

    def _from_environment(self, key: str) -> str | None:
        known = (*_IN_ENVIRONMENT, self._provider.sct.next_zone)
        return self._environ.get(f"SCT_{key.upper()}", "").strip() or None if key in known else None

    def _where(self, key: str) -> str:
        return f"SCT_{key.upper()}" if self._from_environment(key) else f"{self._source.file}: {key}"

    def _fault(self, key: str, what: str, remedy: str) -> None:
        self._faults.add(self._where(key), what, remedy)


def _all(clouds: Readers) -> Iterator[Reader]:
    """Yield every provider that can be loaded: a package that cannot be is no concern of a file for another cloud."""
    for name in clouds.names():
        with contextlib.suppress(ConfigError):
            yield clouds.get(name)
