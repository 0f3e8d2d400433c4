"""Advice about the package's keys, as advice about those of scylla-cluster-tests: a file takes only one of the two."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pytest_capacity.config.provider import Reader

#: Our keys that neither scylla-cluster-tests has, nor goes beside its own, as far as advice names them.
ALONE: Final = (
    "endpoint",
    "errors",
    "groups",
    "image",
    "limits",
    "on_preempt",
    "prices",
    "ready",
    "retry_until",
    "timeout",
    "topologies",
    "use_reservations",
)
_NONE: Final = "A file of scylla-cluster-tests has no"
_ONLY: Final = "that needs one in this plugin's own keys"
_SAID: Final = re.compile(rf"(\({_NONE} .*?{_ONLY}\))".replace(" ", r"\s+"), re.DOTALL)


def in_their_advice(words: str, provider: Reader) -> str:
    """Return ``words``, which are about the package's keys, with SCT's keys for ``provider`` in their place.

    Where SCT has none, that is said at the end. A message may have parts that went through this: they stay as they are.
    """
    parts = _SAID.split(words)
    for place in range(0, len(parts), 2):
        for pattern, theirs in _advice(provider):
            # A message may have been wrapped already.
            parts[place] = re.sub(pattern.replace(" ", r"\s+"), theirs, parts[place])
    words, said = "".join(parts), " ".join(parts[1::2])
    found = (match[1] or match[2] or match[3] for match in re.finditer(_unknown(provider), "".join(parts[::2])))
    alone = [name for name in dict.fromkeys(found) if name not in said]
    return f"{words.rstrip('. ')}. ({_NONE} {', '.join(alone)}: {_ONLY})" if alone else words


def _advice(provider: Reader) -> Iterator[tuple[str, str]]:
    """Yield what an advice may say of our keys, and what is said instead. The first that is found counts.

    Of two keys of SCT with one meaning the cloud's own is named: it goes first, whichever the file has.
    """
    sct = provider.sct
    reserve = sct.reserve or "use_capacity_reservation"
    regions = sct.regions or "region_name"
    one = "Name one a region, in their order." if sct.images_by_region else "Name one."
    yield r"Give one for all groups \(.*\) or for this one \(.*\)\.", one
    yield r"set placement_group to false", "set `use_placement_group: false`"
    yield r"`placement_group: (true|false)`", r"`use_placement_group: \1`"
    yield r"`placement_group`", "`use_placement_group`"
    yield r"`market: on-demand`", "`instance_provision: on_demand`"
    yield r"`market: spot`", "`instance_provision: spot`"
    yield r"`market`", "`instance_provision`"
    yield r"`reserve: (true|false)` for (the group|one of them)", rf"`{reserve}: \1`"
    yield r"`reserve: (true|false)`", rf"`{reserve}: \1`"
    yield r"`reserve`", f"`{reserve}`"
    for ours, theirs in _FALLBACK.items():
        yield rf"`fallback: \{{{ours}: (true|false)\}}`", rf"`{theirs}: \1`"
        yield rf"`fallback\.{ours}`", f"`{theirs}`"
    yield r" Two topologies may be in two regions \(`topologies\.NAME\.regions`\)\.", ""
    yield r"`regions: \[([^]]*)\]`", rf"`{regions}: \1`"
    yield r"`regions`", f"`{regions}`"
    yield r"`zones`", "`availability_zone`"
    yield r"\bCorrect regions\b", f"Correct {regions}"
    yield r"\bCorrect zones\b", "Correct availability_zone"
    yield r"`duration`", "`test_duration`"
    yield r"`backend: (\w+)`", r"`cluster_backend: \1`"
    yield r"`backend:`", "`cluster_backend:`"
    yield r"`endpoint:`, ", ""
    yield r"`image: \{ssm: NAME\}`, ", ""
    yield r"set `ready: running` for its group, ", ""
    yield r"write a row for it \(`errors:`\)", "have the hook pytest_capacity_diagnose say so"
    yield r"\b(in|to) capacity\.yaml\b", r"\1 the configuration"
    yield from _of_the_section(provider)


_FALLBACK: Final = {
    "spot_to_on_demand": "instance_provision_fallback_on_demand",
    "regions": "fallback_to_next_region",
    "zones": "fallback_to_next_availability_zone",
}


def _of_the_section(provider: Reader) -> Iterator[tuple[str, str]]:
    """Yield the keys of the provider's own section for which SCT has one."""
    sct = provider.sct
    theirs = dict(sct.advised)
    if image := sct.images.get("db"):
        theirs["image"] = image
    if sct.root_disk:
        theirs[r"\.".join(sct.root_disk)] = "root_disk_size_db"
    for ours, name in theirs.items():
        yield rf"`{provider.name}: \{{{ours}: ([^{{}}`]*)\}}`", rf"`{name}: \1`"
        yield rf"(?<![\w./-]){provider.name}\.{ours}\b(?!\.\w)", name


def _unknown(provider: Reader) -> str:
    """Return the pattern of our keys that are left, each by itself or in its place in a section."""
    section = provider.name or "NAME"
    # A word of a host's or a file's name is none.
    dotted = rf"(?<![\w./-])({section}\.[a-z_]+)\b(?!\.\w)"
    return rf"{dotted}|`({'|'.join((*ALONE, section))})\b[^`]*`|\b(use_reservations)\b"
