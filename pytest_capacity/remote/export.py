"""ssh_config and Ansible inventory of the nodes, for other programs.

Only text is made here. What OpenSSH cannot quote (a line break, ``${HOME}``) is refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any, Final

import yaml

from pytest_capacity.errors import NodeError
from pytest_capacity.model import Access, Node
from pytest_capacity.remote.messages import access_of, alias_of, bastion_of, describe

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HOST: Final = re.compile(r"[A-Za-z0-9:][A-Za-z0-9._:%-]*")
_USER: Final = re.compile(r"[^\s@:/\\\"'-][^\s@:/\\\"']*")

#: Characters that need no quotes.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./+=@:,-]+")

#: Group names that Ansible reserves.
_TAKEN: Final = frozenset({"all", "ungrouped"})


def ssh_config(nodes: Iterable[Node]) -> str:
    """Return a configuration for ``ssh -F``: a ``Host`` for each node, by its name and as GROUP-N, counted from 0."""
    listed = list(nodes)
    taken = {node.name for node in listed}
    blocks = []
    for node, alias in zip(listed, _aliases(listed), strict=True):
        names = [node.name] if alias in taken else [node.name, alias]
        blocks.append(_block(node, names))
    return "\n".join(blocks)


def ssh_command(node: Node, extra: Sequence[str] = ()) -> list[str]:
    """Return the ``ssh`` command line to ``node``; ``extra`` is what follows: a command, or more options."""
    access = _checked(node)
    options = [word for key, value in _options(node, access) for word in ("-o", f"{key}={value}")]
    return ["ssh", *options, "-p", str(access.port), f"{access.user}@{access.address}", *extra]


def inventory(nodes: Iterable[Node]) -> dict[str, Any]:
    """Return an Ansible inventory as in its YAML files: ``all``, its ``children`` the groups, their ``hosts``."""
    groups: dict[str, dict[str, Any]] = {}
    for node in nodes:
        group = f"group_{node.group}" if node.group in _TAKEN else node.group
        groups.setdefault(group, {"hosts": {}})["hosts"][node.name] = _variables(node)
    return {"all": {"children": groups}}


def inventory_yaml(nodes: Iterable[Node]) -> str:
    """Return the Ansible inventory as YAML."""
    return yaml.safe_dump(inventory(nodes), sort_keys=False, width=1000)


def _block(node: Node, names: Sequence[str]) -> str:
    access = _checked(node)
    lines = [
        ("HostName", access.address.replace("%", "%%")),
        ("Port", str(access.port)),
        ("User", access.user),
        *_options(node, access),
    ]
    body = "".join(f"    {key} {value}\n" for key, value in lines)
    return f"Host {' '.join(names)}\n{body}"


def _options(node: Node, access: Access) -> list[tuple[str, str]]:
    """Return options for a file or ``-o``, each value quoted for OpenSSH."""
    options = _trust(access)
    if access.known_hosts:
        options.append(("HostKeyAlias", alias_of(node)))
    bastion = bastion_of(access)
    if bastion is not None:
        options.append(("ProxyCommand", _proxy(bastion, describe(node))))
    return options


def _trust(access: Access) -> list[tuple[str, str]]:
    options = []
    if access.key:
        options += [("IdentityFile", _path(access.key)), ("IdentitiesOnly", "yes")]
    if access.known_hosts:
        options += [("UserKnownHostsFile", _path(access.known_hosts)), ("StrictHostKeyChecking", "accept-new")]
    return options


def _proxy(bastion: Access, whose: str) -> str:
    """Return the ProxyCommand of a bastion. ``ProxyJump`` would not use the run's key and host keys there."""
    _check(bastion, whose)
    options = [word for key, value in _trust(bastion) for word in ("-o", f"{key}={value}")]
    words = ["ssh", *options, "-p", str(bastion.port), f"{bastion.user}@{bastion.address}"]
    return f"{shlex.join(words).replace('%', '%%')} -W '[%h]:%p'"


def _variables(node: Node) -> dict[str, Any]:
    access = _checked(node)
    variables: dict[str, Any] = {
        "ansible_host": access.address,
        "ansible_port": access.port,
        "ansible_user": access.user,
    }
    if access.key:
        _path(access.key)
        variables["ansible_ssh_private_key_file"] = access.key
    options = [f"-o {shlex.quote(f'{key}={value}')}" for key, value in _options(node, access) if key != "IdentityFile"]
    if options:
        variables["ansible_ssh_common_args"] = " ".join(options)
    for name, value in variables.items():
        if "{{" in str(value) or "{%" in str(value):
            raise NodeError(f"{describe(node)}: {name} {value!r} would be a template to Ansible. Rename the file")
    return variables


def _aliases(nodes: Sequence[Node]) -> list[str]:
    counts: dict[str, int] = {}
    aliases = []
    for node in nodes:
        number = counts[node.group] = counts.get(node.group, -1) + 1
        aliases.append(f"{node.group}-{number}")
    return aliases


def _checked(node: Node) -> Access:
    access = access_of(node)
    for name in (node.name, node.group):
        if not _NAME.fullmatch(name):
            raise NodeError(f"{name!r} cannot be the name of a host in ssh_config. Use letters, digits, ., - and _")
    _check(access, describe(node))
    return access


def _check(access: Access, whose: str) -> None:
    if not _HOST.fullmatch(access.address):
        raise NodeError(f"{whose!r}: {access.address!r} is not an address that ssh accepts. Correct it")
    if not _USER.fullmatch(access.user):
        raise NodeError(f"{whose!r}: {access.user!r} is not a user name that ssh accepts. Correct ssh.user")


def _path(path: str) -> str:
    """Return a path quoted as one argument of an option that takes files; ``%`` and quotes are escaped."""
    if not path.isprintable() or "${" in path:
        raise NodeError(f"the path {path!r} cannot be written for ssh. Rename the file")
    if _PLAIN.fullmatch(path):
        return path
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
