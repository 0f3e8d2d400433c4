"""The keys of a group on its nodes beyond their number and type: when they are ready, and which they are."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pytest_capacity.config.fields import (
    Faults,
    as_bool,
    as_count,
    as_form,
    as_mapping,
    as_text,
    counted,
    formed,
    read_keys,
    refuse_unknown,
    shown,
)
from pytest_capacity.config.source import lasting
from pytest_capacity.model import Host, NodeGroup, Topology

DEFAULT_READY_S: Final = 5 * 60.0

_WORDS: Final = ("running", "ssh", "cloud-init")
_TCP: Final = "tcp:"
_GROUP_KEYS: Final = ("hosts", "count", "instance_type", "ready", "ready_timeout", "ssh")
_OF_A_CLOUD: Final = ("alternatives", "market", "image", "user_data")
_HOSTS_EXAMPLE: Final = "[10.0.0.1, {address: 10.0.0.2, name: big, user: admin, port: 2222}]"

# Not with a dash at the front: both are words of the command line of ssh.
USER_FORM: Final = re.compile(r"[^\s@:/\\-][^\s@:/]{0,63}")
as_port: Final = counted(1, 65535, what="not a port")

_ADDRESS_FORM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_NODE_NAME_FORM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def needs_ssh(ready: str) -> bool:
    """Return whether SSH is needed to check that a node is ready."""
    return ready != "running" and not ready.startswith(_TCP)


def read_nodes(values: Mapping[str, Any], where: str, duration: float, faults: Faults) -> dict[str, Any]:
    """Return what a group says of its nodes on any backend, by the fields of `NodeGroup`; ``count`` None: nothing."""
    limit = "nodes cannot be waited for longer than `duration`,"
    readers = {"count": as_count, "ready": _ready, "ready_timeout": lasting(duration, limit), "ssh": _user}
    read = read_keys(values, readers, where, faults)
    return {
        "count": read.get("count"),
        "ready": read.get("ready", "running"),
        "ready_timeout_s": read.get("ready_timeout", min(DEFAULT_READY_S, duration)),
        "user": read.get("ssh"),
    }


def _ready(value: object, where: str, faults: Faults) -> str | None:
    text = as_text(value, where, faults)
    if text is None or text in _WORDS:
        return text
    if "\0" in text:
        faults.add(where, "holds a NUL", "Write a command as a shell takes it.")
        return None
    if text.startswith(_TCP):
        port = text.removeprefix(_TCP)
        if re.fullmatch(r"0*[0-9]{1,5}", port) and 1 <= int(port[-5:]) <= 65535:
            return f"{_TCP}{int(port[-5:])}"
        faults.add(where, f"{shown(text)} names no port", "Write it like tcp:9042.")
        return None
    near = difflib.get_close_matches(text.lower().replace("_", "-"), (*_WORDS, "tcp"), n=1, cutoff=0.65)
    if near and not re.search(r"[\s/]", text):
        remedy = f"Did you mean {near[0]}? A command of that name is written with its path."
        faults.add(where, f"{shown(text)} is not one of {', '.join(_WORDS)}, tcp:PORT", remedy)
        return None
    return text


def _user(value: object, where: str, faults: Faults) -> str | None:
    """Return the login user of a group's nodes, where the group names it itself: ``ssh: {user: ubuntu}``."""
    if value is None:
        return None
    given = as_mapping(value, where, faults, "{user: ubuntu}")
    for key in given:
        if key != "user":
            remedy = "Write it in the section `ssh:`, which is for all nodes."
            faults.add(f"{where}.{shown(key)[1:-1]}", "is no key of a group: only `user` is", remedy)
    return as_form(given["user"], USER_FORM, "ubuntu", f"{where}.user", faults) if "user" in given else None


def read_own_group(
    name: str, values: Mapping[str, Any], where: str, duration: float, clouds: Sequence[str], faults: Faults
) -> NodeGroup | None:
    """Return a group of machines of the user's own. ``clouds`` are the names of sections that it cannot have."""
    foreign = (*_OF_A_CLOUD, *clouds)
    for key in foreign:
        if key in values:
            faults.add(f"{where}.{key}", "is there, and these machines are your own", "Remove the key.")
    for key in ("reserve", "placement_group"):
        if as_bool(values.get(key, False), f"{where}.{key}", faults):
            faults.add(f"{where}.{key}", "is true, and these machines are your own", "Remove the key.")
    allowed = (*_GROUP_KEYS, *foreign, "reserve", "placement_group")
    refuse_unknown(values, allowed, f"{where}.", faults)
    nodes = read_nodes(values, where, duration, faults)
    hosts = _hosts(values.get("hosts"), f"{where}.hosts", faults)
    if hosts and nodes["count"] not in (None, len(hosts)):
        faults.add(f"{where}.count", f"is {nodes['count']}, and there are {len(hosts)} hosts", "Remove the key.")
    instance_type = ""
    if values.get("instance_type"):
        instance_type = as_text(values["instance_type"], f"{where}.instance_type", faults) or ""
    if not hosts:
        return None
    nodes["count"] = len(hosts)
    return NodeGroup(name=name, instance_type=instance_type, market="on-demand", reserve=False, hosts=hosts, **nodes)


def check_machines(topologies: Iterable[Topology], where: str, faults: Faults) -> None:
    """Refuse a machine in two groups, and a name for two nodes: two tests would share one machine or name."""
    machines: dict[tuple[str, int | None], str] = {}
    for topology in topologies:
        names: dict[str, str] = {}
        for group in topology.groups:
            own = f"{topology.name}/{group.name}"
            for index, host in enumerate(group.hosts):
                place = shown(host.address if host.port is None else f"{host.address} port {host.port}")
                if other := machines.get((host.address, host.port)):
                    both = f"in {own} and in {other}" if own != other else f"twice in {own}"
                    faults.add(where, f"the host {place} is {both}", "Name each machine once.")
                machines[host.address, host.port] = own
                name = host.name or f"{group.name}-{index}"
                if other := names.get(name):
                    faults.add(where, f"two nodes are called {shown(name)}, in {own} and in {other}", "Rename one.")
                names[name] = own


def _hosts(given: object, where: str, faults: Faults) -> tuple[Host, ...]:
    if given is None or (isinstance(given, list | tuple) and not given):
        faults.add(where, "no machines are named", f"Write them like {_HOSTS_EXAMPLE}.")
        return ()
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple):
        faults.add(where, f"{shown(given)} is not a list", f"Write it like {_HOSTS_EXAMPLE}.")
        return ()
    hosts = [_host(host, f"{where}[{index}]", faults) for index, host in enumerate(given)]
    return tuple(host for host in hosts if host is not None)


def _host(value: object, where: str, faults: Faults) -> Host | None:
    if not isinstance(value, Mapping):
        address = _address(value, where, faults)
        return Host(address=address) if address else None
    refuse_unknown(value, Host.__struct_fields__, f"{where}.", faults)
    if "address" not in value:
        faults.add(where, "has no `address`", f"Write it like {_HOSTS_EXAMPLE}.")
        return None
    address = _address(value["address"], f"{where}.address", faults)
    written = {key: given for key, given in value.items() if given is not None}
    read = read_keys(written, _HOST_READERS, where, faults)
    return Host(address=address, **read) if address else None


def _address(value: object, where: str, faults: Faults) -> str | None:
    text = as_text(value, where, faults)
    if text is None or _ADDRESS_FORM.fullmatch(text):
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        remedy = "Write it like 10.0.0.1 or db1.example.com; user and port are keys of their own."
        faults.add(where, f"{shown(text)} is neither an address nor a host's name", remedy)
        return None


_HOST_READERS: Final = {
    "name": formed(_NODE_NAME_FORM, "big-1 (letters, digits, ., - and _)"),
    "user": formed(USER_FORM, "admin"),
    "port": as_port,
}
