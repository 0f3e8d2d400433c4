"""Who uses what of a cloud, as the cloud itself has it: others too. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from pytest_capacity.model import Unread

#: ``node``: a machine. ``host``: a host of the cloud's own, which leases hold. ``reservation``: capacity that the cloud
#: ties to no host, or does not say to which; it is its own resource.
ResourceKind = Literal["node", "host", "reservation"]


class CloudUse(Struct, frozen=True, kw_only=True):
    """One reservation on one resource: it stands, is to come, or has ended. What the cloud does not say is empty."""

    #: None: the node sits in none.
    reservation: str | None = None
    #: The cloud's own lease, where it has leases; else the run.
    lease: str = ""
    #: Whom it belongs to, in the cloud's words.
    owner: str = ""
    #: What our stamp says of it.
    run: str = ""
    project: str = ""
    topology: str = ""
    group: str | None = None
    #: The node's name.
    name: str = ""
    instance_type: str = ""
    market: str = ""
    #: As of a held thing, or ``pending``: it is to come.
    state: str = ""
    #: None: the cloud does not say.
    since: float | None = None
    until: float | None = None
    #: Whether the cloud ends it then by itself.
    ends: bool = False
    #: None: it stands, or is still to come.
    ended: float | None = None


class CloudResource(Struct, frozen=True, kw_only=True):
    """What is used. ``id`` is the cloud's own; ``name`` is for people. One that is not used has no uses."""

    id: str
    kind: ResourceKind
    region: str
    zone: str = ""
    name: str = ""
    uses: tuple[CloudUse, ...] = ()


class UseFilter(Struct, frozen=True, kw_only=True):
    """What is asked for. A cloud may give more: it narrows a read only where its API can. Empty: everything."""

    resource: str = ""
    #: Of the cloud's own, or a run.
    lease: str = ""
    reservation: str = ""

    @property
    def whole(self) -> bool:
        """Whether everything is asked for."""
        return not (self.resource or self.lease or self.reservation)


class Usage(Struct, frozen=True):
    """What was read. What could not be is never to be taken for unused."""

    resources: tuple[CloudResource, ...] = ()
    unread: tuple[Unread, ...] = ()

    def whole(self, regions: Iterable[str], wanted: UseFilter) -> list[str]:
        """Return which of ``regions`` were read whole."""
        missing = {part.region for part in self.unread}
        return [region for region in regions if wanted.whole and not missing & {region, ""}]
