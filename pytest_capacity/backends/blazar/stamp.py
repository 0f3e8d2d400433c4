"""Our stamp: a lease has nothing but a name of 80 characters, a server has metadata.

A lease is called ``pc|RUN|PROJECT|TOPOLOGY/SERIES/ZONE|MARK``. Where that is too long, run and project are each
replaced by ``~`` and twelve digits of a hash. The mark is of the token: two calls for the same piece have the same one.
The deadline is the lease's own end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from pytest_capacity.model import Order, Subject

#: Characters of a lease's name (blazar/db/sqlalchemy/models.py, ``leases.name``).
LEASE_NAME: Final = 80
#: Characters of a value of a server's metadata (Nova's API reference).
METADATA: Final = 255

KEY: Final = "pytest-capacity"
RUN: Final = f"{KEY}-run"
PROJECT: Final = f"{KEY}-project"
PIECE: Final = f"{KEY}-piece"
GROUP: Final = f"{KEY}-group"
DEADLINE: Final = f"{KEY}-deadline"

LEASE: Final = "lease"

#: What the names of all our servers begin with.
NAMES: Final = "pc-"


class LeaseName(Struct, frozen=True):
    """The parts of a lease's name."""

    run: str
    project: str
    subject: str
    mark: str

    def is_of(self, run: str) -> bool:
        """Return whether it is a lease of ``run``."""
        return self.run in (run, _short(run))


def digest(text: str, size: int = 12) -> str:
    """Return the first digits of a hash of ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:size]


def lease_name(order: Order, subject: Subject, token: str) -> str:
    """Return the name of the lease of ``order``. Raises `ValueError` where even the short one is too long."""
    where = f"{subject.topology}/{subject.series}/{subject.zone}"
    for run, project in ((order.run, order.project), (_short(order.run), _short(order.project))):
        name = "|".join(("pc", run.replace("|", "_"), project.replace("|", "_"), where, digest(token, 8)))
        if len(name) <= LEASE_NAME and "|" not in run + project:
            return name
    raise ValueError(f"the lease's name {name!r} is longer than {LEASE_NAME} characters: shorten the topology's name")


def read_lease_name(name: str) -> LeaseName | None:
    """Return the parts of ``name``; None where it is not one of ours."""
    parts = name.split("|")
    if len(parts) != 5 or parts[0] != "pc" or not all(parts):
        return None
    topology, _, rest = parts[3].partition("/")
    series, _, zone = rest.partition("/")
    if not series.isdecimal() or not zone:
        return None
    return LeaseName(parts[1], parts[2], str(Subject(topology, int(series), zone, LEASE)), parts[4])


def server_prefix(run: str) -> str:
    """Return what the names of a run's servers begin with: by it they are listed."""
    return f"{NAMES}{digest(run, 10)}-"


def server_name(run: str, group: str, token: str) -> str:
    """Return the name of a group's server; Nova appends ``-1`` and so on where it makes several by one call."""
    words = "".join(char if char.isascii() and char.isalnum() else "-" for char in group)[:20]
    return f"{server_prefix(run)}{words}-{digest(token, 10)}"


def metadata(order: Order, subject: str, group: str, own: Mapping[str, str]) -> dict[str, str]:
    """Return a server's metadata: the user's, and over them our stamp."""
    stamped = {
        RUN: order.run,
        PROJECT: order.project,
        PIECE: subject,
        GROUP: group,
        DEADLINE: str(int(order.lease_end)),
    }
    return {**own, **{key: value[:METADATA] for key, value in stamped.items()}}


def _short(text: str) -> str:
    return f"~{digest(text)}"
