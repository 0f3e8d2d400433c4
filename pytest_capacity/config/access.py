"""``ssh:`` and ``collect:``: how nodes are reached, and what is fetched from them."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from pytest_capacity.config.fields import (
    Faults,
    Reader,
    as_bool,
    as_form,
    as_mapping,
    as_text,
    as_texts,
    chosen,
    formed,
    read_keys,
    refuse_unknown,
    shown,
)
from pytest_capacity.config.nodes import USER_FORM, as_port, needs_ssh
from pytest_capacity.config.source import Source
from pytest_capacity.model import Request, Ssh

_KEYS: Final = Ssh.__struct_fields__
_EXAMPLE: Final = "{user: ubuntu, key: ~/.ssh/ci}"
_BASTION_FORM: Final = re.compile(
    r"(?:[^\s@:/\\-][^\s@:/]*@)?(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?P<port>:\d{1,5})?"
)


def read_collect(source: Source, faults: Faults) -> tuple[str, ...]:
    """Return the paths on the nodes, each once, as the user wrote them."""
    where = source.get("collect")[1]
    paths = source.read("collect", as_texts, faults) or ()
    for path in paths:
        if not path.isprintable():
            faults.add(where, f"{shown(path)} holds a line break or control character", "Give one path an entry.")
    return tuple(dict.fromkeys(paths))


def read_ssh(source: Source, owns_machines: bool, request: Request, faults: Faults) -> Ssh | None:
    """Return how nodes are reached; None where nothing requires it. The user's own are reached by SSH alone."""
    value, where = source.get("ssh")
    groups = [
        (f"{topology.name}/{group.name}", group)
        for topology in request.topologies.values()
        for group in topology.groups
    ]
    needs = [f"the `ready` of {name}" for name, group in groups if needs_ssh(group.ready)]
    needs += [f"the `ssh` of {name}" for name, group in groups if group.user]
    needs += ["`collect`"] if request.collect else []
    if value is None:
        ssh = Ssh() if needs or owns_machines else None
    elif isinstance(value, Mapping):
        ssh = _section(value, source.files.folder_of("ssh"), where, faults)
    else:
        on = _switch(value, where, faults)
        ssh = None if on is False else Ssh()
        if on is False and needs:
            faults.add(where, f"is false, and {' and '.join(needs)} cannot do without", "Write `ssh: true`.")
    return ssh


def _switch(value: object, where: str, faults: Faults) -> bool | None:
    if isinstance(value, bool | str):
        return as_bool(value, where, faults)
    faults.add(where, f"{shown(value)} is neither true nor false, nor keys and values", f"Write it like {_EXAMPLE}.")
    return None


def _section(value: Mapping[str, Any], base: Path, where: str, faults: Faults) -> Ssh:
    values = as_mapping(value, where, faults, _EXAMPLE)
    refuse_unknown(values, _KEYS, f"{where}.", faults)
    return Ssh(**read_keys(values, {**_READERS, "key": partial(_key, base)}, where, faults))


def _bastion(value: object, where: str, faults: Faults) -> str | None:
    text = as_form(value, _BASTION_FORM, "admin@bastion.example.com:22", where, faults)
    found = _BASTION_FORM.fullmatch(text or "")
    if found and as_port(int((found["port"] or ":22")[1:]), where, faults):
        return text
    return None


def _key(base: Path, value: object, where: str, faults: Faults) -> str | None:
    """Return the absolute path of a private key that ssh will take: it refuses one that others can read."""
    text = as_text(value, where, faults)
    if text is None:
        return None
    try:
        path = (base / Path(text).expanduser()).absolute()
        mode = path.stat().st_mode
        with path.open("rb") as file:
            begin = file.read(8)
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "no such path"
        faults.add(
            where, f"{shown(text)} cannot be read: {why}", "Name a private key; a path is relative to this file."
        )
        return None
    if begin.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        faults.add(
            where, f"{shown(text)} is the public half of a key", "Name the private one, most often without .pub."
        )
    elif stat.S_IMODE(mode) & 0o077:
        faults.add(where, f"{shown(text)} can be read by others, so ssh does not take it", f"Run: chmod 600 {path}")
    return str(path)


_READERS: Final[Mapping[str, Reader]] = {
    "user": formed(USER_FORM, "ubuntu"),
    "port": as_port,
    "bastion": _bastion,
    "address": chosen("auto", "private", "public"),
}
