"""What the command of ``run`` knows of its nodes: environment variables, and files that they name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Node, Placed, Request, Topology

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9]")


def hosts_variable(topology: str, group: str, *, several: bool) -> str:
    """Return ``CAPACITY_DB_HOSTS``; of several topologies each has its name in it: ``CAPACITY_WIDE_DB_HOSTS``."""
    name = f"{topology}_{group}" if several else group
    return f"CAPACITY_{_NO_NAME.sub('_', name).upper()}_HOSTS"


def check_names(topologies: Sequence[Topology]) -> None:
    """Raise `ConfigError` where two groups would share a variable."""
    taken: dict[str, str] = {}
    for topology in topologies:
        for group in topology.groups:
            variable = hosts_variable(topology.name, group.name, several=len(topologies) > 1)
            own = f"{topology.name}/{group.name}"
            if taken.setdefault(variable, own) != own:
                raise ConfigError([f"groups {taken[variable]} and {own} would both be {variable}: rename one of them"])


def hand_over(placed: Sequence[Placed], request: Request, folder: Path) -> dict[str, str]:
    """Write the files into ``folder``, which only this user can read, and name them: variables of the environment."""
    variables = {"CAPACITY_RUN_ID": request.run}
    if request.session:
        variables["CAPACITY_SESSION"] = request.session
    for one in placed:
        for group, nodes in one.nodes.items():
            variable = hosts_variable(one.topology, group, several=len(placed) > 1)
            variables[variable] = " ".join(filter(None, map(address_of, nodes)))
    variables["CAPACITY_FILE"] = _written(folder / "capacity.json", json.dumps(_plain(placed, request), indent=2))
    reached = [node for node in _distinct(placed) if node.access]
    if reached:
        from pytest_capacity.remote.export import inventory_yaml, ssh_config

        variables["CAPACITY_SSH_CONFIG"] = _written(folder / "ssh_config", ssh_config(reached))
        variables["CAPACITY_INVENTORY"] = _written(folder / "inventory.yaml", inventory_yaml(reached))
    return variables


def address_of(node: Node) -> str | None:
    """Return where it is reached: as SSH reaches it (``ssh: {address: ...}``), else a public address if it has one."""
    if node.access:
        return node.access.address
    return node.public_ip or node.private_ip


def _distinct(placed: Sequence[Placed]) -> Iterator[Node]:
    """Yield all nodes; where several topologies may have a ``db-0`` each, that of ``wide`` is ``wide-db-0``."""
    for one in placed:
        for nodes in one.nodes.values():
            for node in nodes:
                if len(placed) > 1:
                    yield replace(node, name=f"{one.topology}-{node.name}", group=f"{one.topology}-{node.group}")
                else:
                    yield node


def _plain(placed: Sequence[Placed], request: Request) -> Mapping[str, Any]:
    return {
        "run": request.run,
        "session": request.session,
        "backend": request.backend,
        "emulated": request.emulated,
        "topologies": {one.topology: plain_topology(one) for one in placed},
    }


def plain_topology(placed: Placed) -> Mapping[str, Any]:
    """Return a topology that stands, as plain data."""
    return {
        "region": placed.region,
        "zone": placed.zone,
        "groups": {group: msgspec.to_builtins(nodes) for group, nodes in placed.nodes.items()},
        "reservations": msgspec.to_builtins(placed.reservations),
    }


def _written(path: Path, text: str) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return os.fspath(path)
