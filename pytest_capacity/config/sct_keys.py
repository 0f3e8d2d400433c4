"""The keys of scylla-cluster-tests: those about no machine, those that are not obeyed, and those in the place of ours.

A file takes only one of the two: advice about the package's keys is turned into advice about those of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from pytest_capacity.config.fields import Faults, shown
from pytest_capacity.config.provider import Reader

_SIZED: Final = "Name the type: `instance_type_{group}`, or the cloud's own key of it."
_OTHER_NODES: Final = "Set it to 0: the nodes here are of db, loader and monitor."
_OWN: Final = "Leave it out: machines of your own stand in a `capacity.yaml` with `backend: static`."

#: About machines, and not obeyed: what to do instead. One that is off (0, false, nothing) says what is done anyway.
REFUSED: Final[Mapping[str, str]] = {
    "sizing_db": _SIZED.format(group="db"),
    "sizing_db_oracle": "Leave it out: the nodes here are of db, loader and monitor.",
    "sizing_loader": _SIZED.format(group="loader"),
    "sizing_monitor": _SIZED.format(group="monitor"),
    "n_db_zero_token_nodes": _OTHER_NODES,
    "n_test_oracle_db_nodes": _OTHER_NODES,
    "n_vector_store_nodes": _OTHER_NODES,
    "use_zero_nodes": "Set it to false: there are no zero-token nodes here.",
    "extra_network_interface": "Set it to false: nodes have one network interface here.",
    "reuse_cluster": "Leave it out; `--capacity-session NAME --capacity-keep 2h` keeps the nodes for the next run.",
    "db_nodes_private_ip": _OWN,
    "db_nodes_public_ip": _OWN,
    "loaders_private_ip": _OWN,
    "loaders_public_ip": _OWN,
    "monitor_nodes_private_ip": _OWN,
    "monitor_nodes_public_ip": _OWN,
    "data_volume_disk_num": "Set it to 0: no data volumes are made on this cloud.",
}

#: Values that say what is done anyway.
_OFF: Final[tuple[object, ...]] = (None, "", 0, "0", False, "false", [], {})


@cache
def ignored() -> frozenset[str]:
    """Return the keys that do not concern the machines with which a test begins: they are the test's own."""
    text = Path(__file__).with_name("sct_keys.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def check_refused(values: Mapping[str, Any], file: str, provider: Reader, faults: Faults) -> None:
    """Refuse every key that asks for machines in a way that is not obeyed; not those of another cloud alone."""
    advice = {**REFUSED, **provider.sct.refused}
    for key, remedy in advice.items():
        if key not in provider.sct.all and values.get(key) not in _OFF:
            faults.add(f"{file}: {key}", f"{shown(values[key])} is about machines, and cannot be obeyed", remedy)


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
