"""The lines of user data that set a node's logins: a machine whose boot is slow, or whose sshd is set up so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from pytest_capacity.emulator.user_data import parts

#: sshd_config(5): MaxSessions, of one connection.
MAX_SESSIONS: Final = 10

_LINE: Final = re.compile(r"# emulator: (?P<what>MaxSessions|user after|nologin for) (?P<number>\d+(?:\.\d+)?)(?: s)?")


class Logins(Struct, frozen=True, kw_only=True):
    """The limits of a node's SSH server. Times in seconds from the machine's running."""

    max_sessions: int = MAX_SESSIONS
    #: Till then its user does not exist, or has no keys: a login is refused.
    user_after_s: float = 0.0
    #: Till then ``/run/nologin`` turns everyone but root away.
    nologin_s: float = 0.0


def read_logins(user_data: bytes) -> Logins:
    """Return the logins in ``user_data``: the last line of each kind counts."""
    said = dict(_lines(user_data))
    return Logins(
        max_sessions=int(said.get("MaxSessions", MAX_SESSIONS)),
        user_after_s=said.get("user after", 0.0),
        nologin_s=said.get("nologin for", 0.0),
    )


def _lines(user_data: bytes) -> Iterator[tuple[str, float]]:
    for part in parts(user_data):
        for line in part.text.splitlines():
            found = _LINE.fullmatch(line.strip())
            if found:
                yield found["what"], float(found["number"])
