"""The check of each request. The server is on loopback, which all users and web pages of the machine can reach:

- a token identifies the caller (``X-Auth-Token``, or for a browser a cookie that the URL with ``?token=`` sets once);
- the ``Host`` must be the server's, or a foreign name that resolves to 127.0.0.1 would read it with a visitor's
  cookie;
- an ``Origin`` must be the server's where there is one.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct

Role = Literal["admin", "member"]

COOKIE: Final = "pytest_capacity_token"
HEADER: Final = "X-Auth-Token"

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class Guard(Struct, frozen=True, kw_only=True):
    """The tokens and their roles, and the role that the policy requires."""

    tokens: Mapping[str, Role]
    #: By default, as specified, allocations are for admins. ``member``: every token may see them.
    policy: Role = "admin"

    def role_of(self, token: str | None) -> Role | None:
        """Return the role of a token; None: it is unknown. Takes as long for a wrong one as for a right one."""
        found: Role | None = None
        for known, role in self.tokens.items():
            if hmac.compare_digest(known.encode(), (token or "").encode()):
                found = role
        return found

    def allows(self, role: Role) -> bool:
        """Return whether this role may see allocations."""
        return role == "admin" or self.policy == "member"


def is_ours(host: str | None, port: int) -> bool:
    """Return whether a ``Host`` header names this server on the loopback interface."""
    return _is_here(f"//{host or ''}", port)


def may_ask(origin: str | None, port: int) -> bool:
    """Return whether an ``Origin`` header, where there is one, is this server's own page."""
    return origin is None or (origin.startswith("http://") and _is_here(origin, port))


def _is_here(url: str, port: int) -> bool:
    try:
        parts = urlsplit(url)
        found = parts.hostname, parts.port
    except ValueError:
        return False
    return found[0] in _LOOPBACK and found[1] == port
