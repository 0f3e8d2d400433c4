"""The forms in which Oracle writes regions, availability domains, fault domains, shapes and OCIDs."""

from __future__ import annotations

import re
from typing import Final

REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z0-9]+)+-\d{1,2}")
#: ``VM.Standard.E4.Flex``, ``BM.DenseIO.E4.128``.
SHAPE: Final = re.compile(r"(?:VM|BM)(?:\.[A-Za-z0-9]+){1,6}")
FAULT_DOMAIN: Final = re.compile(r"FAULT-DOMAIN-[1-9]")
_OCID: Final = r"ocid1\.{kind}\.[a-z0-9-]+\.[a-z0-9-]*\.[A-Za-z0-9._-]+"

#: Between an availability domain and a fault domain, where a place is both: neither has it in its name.
BESIDE: Final = "."

_DOMAIN: Final = re.compile(
    r"(?:(?:(?:(?P<prefix>[A-Za-z0-9]{4}):)?(?P<place>[A-Z][A-Z0-9-]*)-)?AD-)?(?P<number>[1-9])"
    r"(?:[./](?P<fault>FAULT-DOMAIN-[1-9]))?"
)


def ocid(kind: str) -> re.Pattern[str]:
    """Return the form of the OCIDs of ``kind`` (``subnet``; ``compartment|tenancy``)."""
    return re.compile(_OCID.format(kind=f"(?:{kind})"))


COMPARTMENT: Final = ocid("compartment|tenancy")
RESERVATION: Final = ocid("capacityreservation")
IMAGE: Final = ocid("image")


def zone_match(text: str) -> re.Match[str] | None:
    """Return the parts of a zone as a user may write it; None for what is none.

    ``1``, ``AD-1``, ``PHX-AD-1``, ``Uocm:PHX-AD-1``, each with ``/FAULT-DOMAIN-2`` behind it or without.
    """
    return _DOMAIN.fullmatch(text)


def zone_key(text: str) -> str:
    """Return what two spellings of one zone of one region have in common: ``1``, ``1.FAULT-DOMAIN-2``."""
    found = zone_match(text)
    if found is None:
        return text
    return f"{found['number']}{BESIDE}{found['fault']}" if found["fault"] else found["number"]


def join_zone(domain: str, fault_domain: str = "") -> str:
    """Return the zone of an availability domain, or of one of its fault domains: ``Uocm:PHX-AD-1.FAULT-DOMAIN-1``."""
    return f"{domain}{BESIDE}{fault_domain}" if fault_domain else domain


def split_zone(zone: str) -> tuple[str, str]:
    """Return availability domain and fault domain of a zone; the latter is empty where the zone is the whole domain."""
    domain, _, fault_domain = zone.partition(BESIDE)
    return domain, fault_domain


def zone_aliases(zone: str) -> tuple[str, ...]:
    """Return every other spelling of ``zone``. One of a whole domain stands for each of its fault domains, too."""
    domain, fault_domain = split_zone(zone)
    number = domain.rpartition("-")[2]
    spellings = [domain, domain.partition(":")[2], f"AD-{number}", number]
    if not fault_domain:
        return tuple(dict.fromkeys(one for one in spellings[1:] if one))
    exact = [f"{one}{mark}{fault_domain}" for one in spellings if one for mark in (BESIDE, "/")]
    return tuple(dict.fromkeys(one for one in (*exact, *spellings) if one and one != zone))


def family(shape: str) -> str:
    """Return what shares a service limit with ``shape``: its series, whatever its size (``VM.Standard.E4``).

    Limits are named after the series: ``standard-e4-core-count`` counts the OCPUs of virtual and of bare metal.
    """
    parts = shape.split(".")[1:]
    while len(parts) > 1 and (parts[-1] == "Flex" or parts[-1].isdigit()):
        parts.pop()
    return ".".join(parts) or shape
