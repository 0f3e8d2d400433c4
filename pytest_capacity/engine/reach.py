"""From machines that run to nodes that can be used: their addresses, and the wait until they are ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends import provider
from pytest_capacity.engine.clock import Clock, Deadline
from pytest_capacity.model import Access, Held, Node, Placed, Request, Topology
from pytest_capacity.remote.ready import wait_ready

#: Addresses by node id, where they are not the cloud's own; the port is None until there is one.
Located = Mapping[str, tuple[str, int | None]]

#: How often an emulated node is looked for that has no port yet. Seconds.
_LOOK: Final = 0.1


class KeyFiles(Struct, frozen=True):
    """The run's own: the public line of its key pair, and the files of its private half and of the host keys seen.

    An empty ``public``: the user has a key, so none is made.
    """

    public: str
    private: str | None
    known_hosts: str | None


class Reach:
    """The access to the nodes of one run. Without ``ssh:`` they are not."""

    def __init__(
        self, request: Request, user: str, keys: KeyFiles | None = None, locate: Callable[[], Located] | None = None
    ) -> None:
        self._ssh = request.ssh
        #: Who logs in, where a group has a user of its own, by topology and group.
        self._users = {
            (name, group.name): group.user
            for name, topology in request.topologies.items()
            for group in topology.groups
            if group.user
        }
        self._own = provider(request.backend).owns_machines
        self._stays = self._own or request.keep != "never"
        self._user = user
        self._keys = keys or KeyFiles("", None, None)
        self._locate = locate

    @property
    def facts(self) -> Mapping[str, str]:
        """Return what a plan must contain: the public half of the key pair to be made, if one is."""
        return {"ssh-key": self._keys.public} if self._keys.public else {}

    @property
    def advice(self) -> str:
        """Return what can be done about a node that was not ready: it is released by the time that this is read."""
        if self._own:
            return "Log in and look: the machine is your own, and stays as it is"
        return (
            "The nodes are released: to look at one, set `ready: running` for its group, pass --capacity-keep 30m, "
            "and log in (pytest-capacity ssh)"
        )

    def addressed(self, placed: Placed, helds: Mapping[str, Held], deadline: Deadline) -> Placed:
        """Return the same nodes with their `Access`. Waits for emulated ones that have no port yet."""
        if self._ssh is None:
            return placed
        ids = {node.id for nodes in placed.nodes.values() for node in nodes}
        located = self._located(ids, deadline)
        nodes = {
            group: tuple(
                replace(node, access=self._access(node, placed.topology, helds.get(node.id), located))
                for node in members
            )
            for group, members in placed.nodes.items()
        }
        return replace(placed, nodes=nodes)

    def await_ready(
        self, placed: Placed, topology: Topology, deadline: Deadline, clock: Clock, say: Callable[[Node, float], None]
    ) -> None:
        """Wait for all nodes at once, for each as its group requires. Raises `NodeError`."""
        waiting = [
            (node, group.ready, group.ready_timeout_s)
            for group in topology.groups
            for node in placed.nodes.get(group.name, ())
            if group.ready != "running"
        ]
        if waiting:
            wait_ready(waiting, deadline.wait, clock.now, say)

    def _located(self, ids: set[str], deadline: Deadline) -> Located:
        while self._locate:
            located = self._locate()
            if not located or all(located[node][1] for node in ids & set(located)):
                return located
            deadline.wait(_LOOK)
        return {}

    def _access(self, node: Node, topology: str, held: Held | None, located: Located) -> Access | None:
        assert self._ssh is not None
        ssh, facts = self._ssh, held.facts if held else {}
        # An emulated node is on this machine, whatever address it has in the emulated cloud.
        address, port = located.get(node.id, (None, None))
        address = address or facts.get("address") or self._address(node)
        if not address:
            return None
        return Access(
            address=address,
            port=port or int(facts.get("port") or ssh.port),
            user=facts.get("user") or self._users.get((topology, node.group)) or ssh.user or self._user,
            key=ssh.key or self._keys.private,
            known_hosts=self._keys.known_hosts,
            bastion=None if node.id in located else ssh.bastion,
            stays=self._stays,
        )

    def _address(self, node: Node) -> str | None:
        assert self._ssh is not None
        chosen: Sequence[str | None] = {
            "auto": (node.public_ip, node.private_ip),
            "private": (node.private_ip,),
            "public": (node.public_ip,),
        }[self._ssh.address]
        return next(filter(None, chosen), None)
