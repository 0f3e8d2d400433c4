"""What a run wants to stand: groups of nodes in topologies, how they are reached, and where else they may go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct, field

Market = Literal["on-demand", "spot"]

#: What a ladder can move along.
Axis = Literal["market", "type", "zone", "region"]

#: The axes as they are moved along unless the user says otherwise, the innermost (tried out first) in front.
AXES: Final[tuple[Axis, ...]] = ("market", "type", "zone", "region")

DEFAULT_TOPOLOGY: Final = "default"


class Host(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine of the user's own. What is None is as the ``ssh:`` section says."""

    address: str
    name: str | None = None
    user: str | None = None
    port: int | None = None


class Ssh(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``ssh:`` section: how nodes are reached."""

    #: None: the backend's own, or who we are, on machines of the user's own.
    user: str | None = None
    port: int = 22
    #: A file with the private key; None: a key pair is made for the run, or, on machines of the user's own, what the
    #: agent and ``~/.ssh`` have.
    key: str | None = None
    #: ``[user@]host[:port]``: every connection goes through it.
    bastion: str | None = None
    #: Which of a node's addresses; ``auto``: the public one, if it has one.
    address: Literal["auto", "private", "public"] = "auto"


class NodeGroup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named set of like machines. ``reserve=None`` and ``market=None`` mean: as the configuration says."""

    name: str
    count: int
    instance_type: str
    #: Other types that will do, in order, where ``instance_type`` is not to be had.
    alternatives: tuple[str, ...] = ()
    market: Market | None = None
    reserve: bool | None = None
    image: str | None = None
    placement_group: bool = False
    #: When a node counts as usable: ``running``, ``ssh``, ``cloud-init``, ``tcp:PORT``, or a command that must succeed
    #: on it.
    ready: str = "running"
    ready_timeout_s: float = 300.0
    #: cloud-init's, as the user wrote it: a script, ``#cloud-config``, or whatever else it takes.
    user_data: str | None = None
    #: Who logs in by SSH; None: as the ``ssh:`` section says.
    user: str | None = None
    #: The machines of the group, where they are the user's own (``backend: static``).
    hosts: tuple[Host, ...] = ()
    #: Settings of this group alone for the cloud in use (the mapping of the group that bears the backend's name).
    cloud: Mapping[str, Any] = field(default_factory=dict)


class Topology(Struct, frozen=True, forbid_unknown_fields=True):
    """The groups that belong together and are placed together."""

    groups: tuple[NodeGroup, ...]
    name: str = DEFAULT_TOPOLOGY
    #: Where it may be placed, in order; empty: in the regions of the run.
    regions: tuple[str, ...] = ()

    def group(self, name: str) -> NodeGroup:
        """Return the group called ``name``; ``KeyError`` with the names there are."""
        for group in self.groups:
            if group.name == name:
                return group
        known = ", ".join(group.name for group in self.groups)
        raise KeyError(f"no group {name!r} in topology {self.name!r} (it has: {known})")


class Fallback(Struct, frozen=True, kw_only=True):
    """The ``fallback:`` section: along which axes a run may move, and in which order."""

    spot_to_on_demand: bool = True
    zones: bool = True
    regions: bool = False
    instance_types: bool = True
    #: The innermost first.
    order: tuple[Axis, ...] = AXES
