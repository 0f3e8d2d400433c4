"""What errors say of a node: who it is, how it is reached, what a command printed."""

from __future__ import annotations

import re
from typing import Final

from pytest_capacity.errors import NodeError
from pytest_capacity.model import Access, Node
from pytest_capacity.text import clean

#: How many of the last lines of an output an error shows, and how much of one line.
LAST_LINES: Final = 20
_LINE: Final = 500

#: What to do about a node that is not reached by SSH at all.
NO_SSH: Final = "Add `ssh: true` to the configuration"


class Unreachable(NodeError):
    """A node does not answer, or breaks off; later it may. ``why`` is the cause without the node's name."""

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why or message


def brief(text: str) -> str:
    """``text`` on one line, cut."""
    return clean(text, limit=_LINE)


def said(error: BaseException | None) -> str:
    """What an error of the connection says; those of one that broke say nothing."""
    if error is None or isinstance(error, EOFError):
        return "it hung up"
    # A refused channel is an error of paramiko's that shows its code, and has its words apart.
    words = error.strerror if isinstance(error, OSError) else getattr(error, "text", None)
    return brief(words or str(error)).rstrip(".") or type(error).__name__


def last_lines(name: str, text: str) -> str:
    """The end of an output called ``name``, as lines of an error; empty where there was none."""
    lines = clean(text, lines=True).rstrip().split("\n")
    if lines == [""]:
        return ""
    shown = lines[-LAST_LINES:]
    head = name if len(shown) == len(lines) else f"{name}, the last {len(shown)} of {len(lines)} lines"
    return "\n".join([f"\n{head}:", *(f"  | {line[:_LINE]}" for line in shown)])


def address_of(access: Access) -> str:
    """``user@address:port``."""
    address = f"[{access.address}]" if ":" in access.address else access.address
    through = f" through {access.bastion}" if access.bastion else ""
    return f"{access.user}@{address}:{access.port}{through}"


def who(node: Node) -> str:
    """``db-0 (group db, i-0abc, admin@10.0.0.1:22)``."""
    where = address_of(node.access) if node.access else node.private_ip or node.public_ip or "no address"
    return f"{node.name} (group {node.group}, {node.id}, {where})"


def access_of(node: Node) -> Access:
    """How ``node`` is reached; `NodeError` if it is not."""
    if node.access is None:
        raise NodeError(f"{who(node)} cannot be used: this run does not reach its nodes by SSH. {NO_SSH}")
    return node.access


def bastion_of(access: Access) -> Access | None:
    """The way to the bastion of ``access``: the same user unless it says another one, the same key and host keys."""
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
    """The name under which ``node``'s host key is kept: its id, since clouds give an address to one after another."""
    return re.sub(r"[^A-Za-z0-9._:-]", "_", node.id)
