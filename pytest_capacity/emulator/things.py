"""What a World is made of: machines, reservations, placement groups, keys. Times are the World's, in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

Market = Literal["on-demand", "spot"]

#: Why a spot machine ended that was taken back.
SPOT_TAKEN: Final = "Server.SpotInstanceTermination"

FOREVER: Final = float("inf")


@dataclass(kw_only=True)
class Thing:
    """Anything with an id and tags. ``number`` counts up, so that listings have an order."""

    id: str
    number: int
    region: str
    made: float
    visible_at: float
    tags: dict[str, str] = field(default_factory=dict)
    token: str = ""

    def visible(self, now: float) -> bool:
        """Whether listings show it yet (eventual consistency)."""
        return now >= self.visible_at


@dataclass(kw_only=True)
class PlacementGroup(Thing):
    """A placement group; its name is unique in its region."""

    name: str
    strategy: str
    partitions: int = 0
    spread_level: str = ""
    deleted: float | None = None

    def state(self, now: float) -> str:
        """available or deleted."""
        return "deleted" if self.deleted is not None else "available"


@dataclass(kw_only=True)
class KeyPair(Thing):
    """The public half of a key pair (OpenSSH's line); its name is unique in its region."""

    name: str
    type: str
    fingerprint: str
    public_key: str


@dataclass(kw_only=True)
class Reservation(Thing):
    """Capacity held for one type in one zone. It ends by being cancelled, or when ``end_date`` is past."""

    zone: str
    type: str
    count: int
    platform: str
    tenancy: str
    match: str
    end_date: float | None
    group_arn: str
    active_at: float
    ebs_optimized: bool = False
    ephemeral_storage: bool = False
    ended: float | None = None
    ended_as: str = ""

    def state(self, now: float) -> str:
        """pending, active, cancelled, expired or failed."""
        if self.ended is not None and now >= self.ended:
            return self.ended_as
        return "pending" if now < self.active_at else "active"

    def live(self, now: float) -> bool:
        """Whether it bills and blocks."""
        return self.state(now) in ("pending", "active")


class Node(Protocol):
    """What of a machine is real: its shell."""

    @property
    def port(self) -> int | None:
        """Where its SSH server listens; None if it does not."""
        ...

    def console(self) -> str:
        """What it wrote to its console, also when it is gone."""
        ...


@dataclass(kw_only=True)
class Instance(Thing):
    """A machine: pending until ``running_at``, leaving from ``leaving_at``, gone at ``gone_at``.

    One that shuts itself down without being terminated by that is stopping from ``stopping_at`` and stopped from
    ``stopped_at``; nothing starts it again.
    """

    zone: str
    type: str
    market: Market
    launch_id: str
    running_at: float
    platform: str
    tenancy: str
    #: The reservation that it sits in, as long as that one lives.
    reservation_id: str | None = None
    group_name: str = ""
    leaving_at: float = FOREVER
    gone_at: float = FOREVER
    stopping_at: float = FOREVER
    stopped_at: float = FOREVER
    reason_code: str = ""
    reason: str = ""
    transition: str = ""
    spot_request_id: str = ""
    #: When a spot machine is taken back; till then it is marked for it.
    taken_at: float | None = None
    #: When it shuts itself down.
    shutdown_at: float | None = None
    #: Whether it is terminated by that; otherwise it stops.
    ends_by_shutdown: bool = False
    #: The public key that it lets in; without one it has no SSH server.
    public_key: str = ""
    #: Seconds from running to its SSH server, and to the end of cloud-init.
    ssh_delay_s: float = 0.0
    cloud_init_s: float = 0.0
    user_data: bytes = b""
    #: Its shell, from running on, if it has one.
    node: Node | None = None
    #: What the wire wants to say again when it lists the machine; the World does not look at it.
    details: Mapping[str, Any] = field(default_factory=dict)

    def state(self, now: float) -> str:
        """pending, running, stopping, stopped, shutting-down or terminated."""
        if now >= self.gone_at:
            return "terminated"
        if now >= self.leaving_at:
            return "shutting-down"
        if now >= self.stopping_at:
            return "stopped" if now >= self.stopped_at else "stopping"
        return "pending" if now < self.running_at else "running"

    def live(self, now: float) -> bool:
        """Whether it is there: a machine on its way out is, and so is a stopped one."""
        return now < self.gone_at

    def occupies(self, now: float) -> bool:
        """Whether it takes up capacity: a machine on its way out still does, a stopped one does not."""
        return self.live(now) and now < self.stopped_at


@dataclass(kw_only=True)
class ResourceGroup(Thing):
    """A pool of reservations (ids in ``members``); it neither bills nor blocks."""

    name: str
    members: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class SpotRequest(Thing):
    """The one-time request that a spot machine came from."""

    zone: str
    type: str
    instance_id: str
    cancelled: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)
