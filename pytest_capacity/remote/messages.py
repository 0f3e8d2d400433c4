"""The parts of messages about a node: its name, its address, the end of an output."""

from __future__ import annotations

import re
from typing import Final

from pytest_capacity.errors import NodeError
from pytest_capacity.model import Access, Node
from pytest_capacity.text import clean

#: How many of the last lines of an output an error shows, and how much of one line.
LAST_LINES: Final = 20
_LINE: Final = 500

#: The advice where the run does not use SSH.
NO_SSH: Final = "Add `ssh: true` to the configuration"


def brief(text: str) -> str:
    """Return ``text`` on one line, cut."""
    return clean(text, limit=_LINE)


def error_text(error: BaseException | None) -> str:
    """Return the text of an error of the connection; one of a lost connection often has none."""
    if error is None or isinstance(error, EOFError):
        return "it hung up"
    # `paramiko.ChannelException` has its text in an attribute; its `str` is a code.
    words = error.strerror if isinstance(error, OSError) else getattr(error, "text", None)
    return brief(words or str(error)).rstrip(".") or type(error).__name__


def last_lines(name: str, text: str) -> str:
    """Return the end of an output called ``name``, as lines of a message; empty if the output is."""
    lines = clean(text, lines=True).rstrip().split("\n")
    if lines == [""]:
        return ""
    shown = lines[-LAST_LINES:]
    head = name if len(shown) == len(lines) else f"{name}, the last {len(shown)} of {len(lines)} lines"
    return "\n".join([f"\n{head}:", *(f"  | {line[:_LINE]}" for line in shown)])


def address_of(access: Access) -> str:
    """Return ``user@address:port``."""
    address = f"[{access.address}]" if ":" in access.address else access.address
    through = f" through {access.bastion}" if access.bastion else ""
    return f"{access.user}@{address}:{access.port}{through}"


def describe(node: Node) -> str:
    """Return ``db-0 (group db, i-0abc, admin@10.0.0.1:22)``."""
    where = address_of(node.access) if node.access else node.private_ip or node.public_ip or "no address"
    return f"{node.name} (group {node.group}, {node.id}, {where})"


def access_of(node: Node) -> Access:
    """Return how ``node`` is reached. Raise `NodeError` if the run does not use SSH."""
    if node.access is None:
        raise NodeError(f"{describe(node)} cannot be used: this run does not reach its nodes by SSH. {NO_SSH}", node)
    return node.access


def bastion_of(access: Access) -> Access | None:
    """Return how the bastion of ``access`` is reached: its user, or else the node's, and the node's key."""
    if access.bastion is None:
        return None
    user, _, place = access.bastion.rpartition("@")
    host, _, port = place.rpartition(":") if re.fullmatch(r"(\[.*\]|[^:]*):\d+", place) else (place, "", "")
    return Access(
        address=host.removeprefix("[").removesuffix("]"),
        user=user or access.user,
        port=int(port or 22),
        key=access.key,
        known_hosts=access.known_hosts,
    )


def alias_of(node: Node) -> str:
    """Return the name under which ``node``'s host key is kept: its id, since a cloud reuses addresses."""
    return re.sub(r"[^A-Za-z0-9._:-]", "_", node.id)
