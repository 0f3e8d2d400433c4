"""Advice about the package's keys, as advice about those of scylla-cluster-tests: a file takes only one of the two."""

from __future__ import annotations

import re
from typing import Final

#: What an advice may say of our keys, and what is said instead. The first that is found counts.
_ADVICE: Final = tuple(
    (re.compile(pattern), theirs)
    for pattern, theirs in (
        (r"Give one for all groups \(.*\) or for this one \(.*\)\.", "Name one a region, in their order."),
        (r"set placement_group to false", "set `use_placement_group: false`"),
        (r"`placement_group: (true|false)`", r"`use_placement_group: \1`"),
        (r"`market: on-demand`", "`instance_provision: on_demand`"),
        (r"`market: spot`", "`instance_provision: spot`"),
        (r"`reserve: (true|false)`", r"`use_capacity_reservation: \1`"),
        (r"`reserve`", "`use_capacity_reservation`"),
        (r"`fallback: \{regions: true\}`", "`fallback_to_next_region: true`"),
        (r"`fallback\.spot_to_on_demand`", "`instance_provision_fallback_on_demand`"),
        (r"`fallback\.regions`", "`fallback_to_next_region`"),
        (r"`fallback\.zones`", "`fallback_to_next_availability_zone`"),
        (r" Two topologies may be in two regions \(`topologies\.NAME\.regions`\)\.", ""),
        (r"`regions: \[([^]]*)\]`", r"`region_name: \1`"),
        (r"`regions`", "`region_name`"),
        (r"`zones`", "`availability_zone`"),
        (r"`duration`", "`test_duration`"),
        (r"`backend: (\w+)`", r"`cluster_backend: \1`"),
        (r"`backend:`", "`cluster_backend:`"),
    )
)


def in_their_advice(words: str) -> str:
    """Return ``words``, which are about the package's keys, with SCT's keys in their place."""
    for pattern, theirs in _ADVICE:
        words = pattern.sub(theirs, words)
    return words
