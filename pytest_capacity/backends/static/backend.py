"""The verbs of `pytest_capacity.backends.base.Backend` for machines that are there already, and stay."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from pytest_capacity.backends.tokens import fit, token
from pytest_capacity.model import (
    Change,
    Diagnosis,
    Held,
    Host,
    Identity,
    NodeGroup,
    Offer,
    Order,
    Piece,
    Request,
    Subject,
    Topology,
    Unread,
)

CLOUD: Final = "static"
NODE: Final = "node"

_ID_LIMIT: Final = 128


class StaticBackend:
    """The hosts of the file, handed out as nodes. Nothing is called: whether they answer is for ``ready`` to see.

    "Created" is a host that a placement has taken, and "released" one that it has let go; the machine knows neither.
    That it is ours is known to the journal alone, so a listing has nothing to list, and a receipt counts no things.
    """

    name: str = CLOUD
    batch: Mapping[str, int] = {NODE: 1000}
    leased: frozenset[str] = frozenset()
    leftovers: frozenset[str] = frozenset()

    def __init__(self, request: Request) -> None:
        self._request = request
        self._released: set[str] = set()
        #: ssh's own rule: who we are here, we are there.
        self.default_user: str = _user()

    def whoami(self) -> Identity:
        """Return one account for all, and the user of this machine."""
        return Identity(account=CLOUD, who=self.default_user)

    def offers(self, region: str, topology: Topology) -> Sequence[Offer]:
        """Return one zone, which takes everything: the hosts are where they are."""
        return [Offer(region=region, zone=CLOUD, ok=True)]

    def family(self, instance_type: str) -> str:
        """Return one family: there is no quota of the user's own machines."""
        return CLOUD

    def plan(self, order: Order) -> Sequence[Sequence[Piece]]:
        """Return one round, a piece a group; none where only reservations are wanted."""
        return [[_piece(order, group) for group in order.topology.groups]] if order.launch else []

    def create(self, piece: Piece) -> Sequence[Held]:
        """Return a node a host, in the file's order. Taken again, they are the same."""
        hosts = msgspec.convert(piece.spec["hosts"], list[Host])
        nodes = [_node(piece, index, host) for index, host in enumerate(hosts)]
        self._released.difference_update(node.id for node in nodes)
        return nodes

    def change(self, held: Held, to: Change) -> Held:
        """Return it with the deadline that only the journal knows of; the machine is as it is."""
        return replace(held, deadline=held.deadline if to.deadline is None else to.deadline)

    def refresh(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Return them as they are; gone once they were let go."""
        return [replace(held, state="gone" if held.id in self._released else "ready") for held in helds]

    def releasable(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Return all of them: no machine waits for another."""
        return helds

    def release(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Let them go. The machines run on."""
        self._released.update(held.id for held in helds)
        return [replace(held, state="gone") for held in helds]

    def inventory(self, run: str, regions: Sequence[str]) -> Iterator[Held | Unread]:
        """Yield nothing: no machine bears a stamp."""
        return iter(())

    def regions(self) -> Sequence[str]:
        """Return one."""
        return [CLOUD]

    def console(self, held: Held) -> str:
        """Return nothing: it cannot be read from here."""
        return ""

    def by_hand(self, helds: Sequence[Held]) -> Sequence[str]:
        """Return nothing: nothing has to be removed."""
        return []

    def ends(self, thing: Held | Piece, hard_end: float) -> float | None:
        """Return when our hold on it ends: with the run."""
        return hard_end

    def diagnose(self, problem: Exception | Held, piece: Piece | None = None) -> Diagnosis:
        """Return a fault of our own: no cloud says anything here."""
        if isinstance(problem, Held):
            return Diagnosis(step="gone", kind="missing", words=problem.problem or f"{problem.id} was let go")
        return Diagnosis(step="stop", kind="unknown", code=type(problem).__name__, words=str(problem), by="the keeper")


def _piece(order: Order, group: NodeGroup) -> Piece:
    subject = str(Subject(order.topology.name, order.attempt, order.placement.zone, NODE, group.name))
    region, zone = order.placement.region, order.placement.zone
    return Piece(
        kind=NODE,
        subject=subject,
        region=region,
        zone=zone,
        token=token(order.unique_run, subject, region, zone, order.attempt),
        count=len(group.hosts),
        group=group.name,
        instance_type=group.instance_type,
        market="on-demand",
        spec={"hosts": msgspec.to_builtins(group.hosts)},
    )


def _node(piece: Piece, index: int, host: Host) -> Held:
    facts = {
        "name": host.name or f"{piece.group}-{index}",
        "index": str(index),
        "address": host.address,
        "private_ip": host.address,
        "user": host.user,
        "port": str(host.port) if host.port is not None else None,
        "instance_type": piece.instance_type,
        "market": "on-demand",
    }
    return Held(
        kind=NODE,
        id=_id(host),
        region=piece.region,
        zone=piece.zone,
        state="ready",
        subject=piece.subject,
        group=piece.group,
        facts={key: value for key, value in facts.items() if value},
    )


def _id(host: Host) -> str:
    """Return the same for the same machine, and fit for the name of a file."""
    place = host.address if host.port is None else f"{host.address}-{host.port}"
    return fit(f"host-{re.sub(r'[^A-Za-z0-9._-]', '-', place)}", _ID_LIMIT)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())  # a container whose user is not in its passwd
