"""The keys of scylla-cluster-tests that are about no machine, and those that are not obeyed."""

from __future__ import annotations

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
