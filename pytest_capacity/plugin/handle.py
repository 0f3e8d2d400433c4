"""What the ``capacity`` fixture gives."""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from msgspec.structs import replace

from pytest_capacity.errors import CapacityError, CapacityWarning, ScalingError
from pytest_capacity.keeper import protocol
from pytest_capacity.model import NodeChange, Placed, Request, Reservation, ResizeMode
from pytest_capacity.plugin.database import Database, database
from pytest_capacity.plugin.run_nodes import RunNodes
from pytest_capacity.plugin.scaled import Scaled
from pytest_capacity.remote import export
from pytest_capacity.remote.machine import Machine
from pytest_capacity.scaling.model import OpsRequest, TargetState
from pytest_capacity.text import clean
from pytest_capacity.usage import UseFilter

if TYPE_CHECKING:
    from pytest_capacity.allocations import Allocations

#: What is refused is shown at the line of the test that asked; how it got there is ours.
__tracebackhide__ = True


class Capacity:
    """One topology of this run. The first use of its nodes provisions it, for all workers at once.

    The handle of the fixture is provisioned already; those that `topology` gives are when they are used first. What
    provisioning raises (`pytest_capacity.errors`) is raised again, at once, at every later use.
    """

    def __init__(self, runtime: RunNodes, name: str) -> None:
        self._runtime = runtime
        self.name = name

    def __repr__(self) -> str:
        return f"<Capacity {self.name!r} of run {self.run_id}>"

    @property
    def config(self) -> Request:
        """What the run asked for."""
        return self._runtime.request

    @property
    def run_id(self) -> str:
        """The run's id, which everything that it holds in a cloud bears."""
        return self._runtime.request.run

    @property
    def region(self) -> str:
        """Where the topology stands."""
        return self._placed.region

    @property
    def zone(self) -> str:
        """The zone's name in this account."""
        return self._placed.zone

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the topology's groups."""
        return tuple(self._placed.nodes)

    @property
    def by_group(self) -> Mapping[str, tuple[Machine, ...]]:
        """All nodes, by group; read-only."""
        return Groups(self._runtime, self.name)

    @property
    def reservations(self) -> tuple[Reservation, ...]:
        """The reservations in which the nodes sit."""
        return self._placed.reservations

    def nodes(self, group: str | None = None) -> tuple[Machine, ...]:
        """Return the nodes of ``group``, or all of them. Raises `CapacityError` for a group that is not there."""
        return self._runtime.uses.took(self._nodes(group))

    def node(self, group: str | None = None, index: int = 0) -> Machine:
        """Return the ``index``-th node of ``group``, or of all."""
        nodes = self._nodes(group)
        try:
            node = nodes[index]
        except IndexError:
            where = f"group {group!r}" if group else f"topology {self.name!r}"
            raise CapacityError(f"no node {index} in {where}. It has {len(nodes)}, counted from 0") from None
        return self._runtime.uses.took((node,))[0]

    def ssh_config(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return a configuration for ``ssh -F``: a ``Host`` for each node, by its name.

        With ``path`` also written there.
        Raises `NodeError` where the run does not reach its nodes by SSH.
        """
        text = export.ssh_config(self.nodes())
        if path is not None:
            _write(Path(path), text)
        return text

    def inventory(self, path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """Return an Ansible inventory: groups, and in them the nodes by name.

        With ``path`` also written there, as YAML.
        Raises `NodeError` where the run does not reach its nodes by SSH.
        """
        nodes = self.nodes()
        if path is not None:
            _write(Path(path), export.inventory_yaml(nodes))
        return export.inventory(nodes)

    def database(self, name: str, *, engine: str | None = None, namespace: str | None = None) -> Database:
        """Return a KubeDB database.

        Of ``databases:``, provisioned when it is asked for first, or one that is there already.
        One that is there already is named with its ``engine``: mongodb, postgres, mysql, mariadb, redis, elasticsearch;
        ``namespace`` is that of the configuration unless given. Raises `KubeDBError`.
        """
        return database(self._runtime, name, engine, namespace)

    def scale(self, group: str, count: int | None = None, *, remove: Sequence[str | Machine] = ()) -> Scaled:
        """Let ``group`` have ``count`` nodes; returns at once. Nodes come and go while the test runs.

        More nodes: the reservation grows first, then they are launched in its zone. Fewer: the youngest go, or those in
        ``remove`` (their names, ids, or themselves; ``count`` may be left out then), and then the reservation shrinks.
        A node that a test has borrowed is never removed. Raises `ScalingError` for what is refused before any change;
        whether it succeeds says `Scaled.wait`.
        """
        named = tuple(one if isinstance(one, str) else one.id for one in remove)
        return self._change(NodeChange(topology=self.name, group=group, count=count, remove=named))

    def resize(
        self,
        group: str,
        instance_type: str,
        *,
        count: int | None = None,
        mode: ResizeMode = "replace",
        lose_local_disks: bool = False,
    ) -> Scaled:
        """Let the nodes of ``group`` be of another instance type, and, with ``count``, as many; returns at once.

        ``replace``: new nodes in a new reservation, which take the names of the old ones; then the old ones go.
        ``in_place``: a reservation of the new type, then the same nodes are stopped, changed and started. Refused for
        spot nodes, for a type of another architecture, and, without ``lose_local_disks``, where the nodes have disks of
        their machine, whose data is lost. Raises as `scale` does.
        """
        change = NodeChange(
            topology=self.name,
            group=group,
            count=count,
            instance_type=instance_type,
            mode=mode,
            lose_local_disks=lose_local_disks,
        )
        return self._change(change)

    def expand_storage(self, group: str, gb: int, *, restart: bool = False, lose_local_disks: bool = False) -> Scaled:
        """Let the disk that each node of ``group`` starts from have ``gb`` GB; returns at once. It only grows.

        The disk grows, not what is on it: the file system is for the test to grow. Where the cloud grows it only while
        its node is stopped, ``restart`` allows that: the nodes are stopped and started again. Then spot nodes are
        refused, and, without ``lose_local_disks``, nodes with disks of their machine. Raises as `scale` does.
        """
        change = NodeChange(
            topology=self.name, group=group, disk_gb=gb, restart=restart, lose_local_disks=lose_local_disks
        )
        return self._change(change)

    def status(self, group: str) -> TargetState:
        """Return what the run's requests say a group is in: RUNNING, SCALING, UPDATING, or FAILED with the reason."""
        target = NodeChange(topology=self.name, group=group).target
        answer = self._runtime.call(protocol.ListOps(target=target), protocol.OpsAnswer)
        return answer.targets[0] if answer.targets else TargetState(target=target)

    def ops_requests(self, group: str) -> tuple[OpsRequest, ...]:
        """Return all requests that this run has made of a group, the oldest first."""
        target = NodeChange(topology=self.name, group=group).target
        return self._runtime.call(protocol.ListOps(target=target), protocol.OpsAnswer).requests

    def _change(self, change: NodeChange) -> Scaled:
        if change.mode not in get_args(ResizeMode):
            raise ScalingError(f"mode is {change.mode!r}, and can be {' or '.join(map(repr, get_args(ResizeMode)))}")
        call = protocol.ScaleNodes(change=replace(change, key=secrets.token_hex(8)))
        answer = self._runtime.call_patiently(call, protocol.OpsAnswer)
        return Scaled(self._runtime, answer.requests, ScalingError)

    def allocations(
        self,
        *,
        resource: str = "",
        lease: str = "",
        reservation: str = "",
        terminated: bool | None = False,
        start: float | None = None,
        end: float | None = None,
        cloud: bool = True,
    ) -> tuple[Allocations, ...]:
        """Return who uses what: the resources of every run in the journal, and of the cloud, with their allocations.

        ``lease`` is a lease of the cloud's own, or a run (`run_id`). ``terminated``: True for what has ended, None for
        all. ``start`` and ``end`` (seconds since the epoch) are a window in which it may stand. With ``cloud`` it is
        asked now; what it does not say is a `CapacityWarning`. Raises `JournalError`.
        """
        # What most tests never ask for is not loaded with the plugin.
        from pytest_capacity.allocations import Filter, open_view
        from pytest_capacity.keeper.places import Places

        if cloud:
            self._note_uses(UseFilter(resource=resource, lease=lease, reservation=reservation))
        wanted = Filter(
            resource=resource,
            cloud=self.config.backend if cloud else "",
            lease=lease,
            reservation=reservation,
            terminated=terminated,
            start=start,
            end=end,
        )
        view = open_view(Places.of("", self.config.journal).journal)
        if view is None:
            return ()
        with view:
            return tuple(view.all(wanted))

    def _note_uses(self, wanted: UseFilter) -> None:
        """Have the keeper read who uses what of the cloud, so that the view knows it."""
        try:
            noted = self._runtime.call_patiently(protocol.NoteUses(wanted=wanted), protocol.UsesNoted)
            faults = [f"{part.kind} in {part.region or 'every region'}: {part.why}" for part in noted.unread]
        except CapacityError as error:
            faults = [str(error)]
        for fault in faults:
            words = f"who uses what was not read from the cloud: {clean(fault)}. The journal's part is there"
            warnings.warn(CapacityWarning(words), stacklevel=3)

    def topology(self, name: str) -> Capacity:
        """Return the handle of another topology; it is provisioned when it is used first."""
        return Capacity(self._runtime, self._runtime.known(name))

    @property
    def _placed(self) -> Placed:
        return self._runtime.placed(self.name)

    def _nodes(self, group: str | None) -> tuple[Machine, ...]:
        groups = self._runtime.machines(self.name)
        if group is None:
            return tuple(node for nodes in groups.values() for node in nodes)
        try:
            return groups[group]
        except KeyError:
            raise CapacityError(f"no group {group!r} in topology {self.name!r}. It has: {', '.join(groups)}") from None


class Groups(Mapping[str, tuple[Machine, ...]]):
    """The nodes of one topology, by group, as they are now. Looking a group up counts as using its nodes."""

    def __init__(self, runtime: RunNodes, topology: str) -> None:
        self._runtime = runtime
        self._topology = topology
        runtime.machines(topology)  # Provisioned now, or the reason why not.

    @property
    def _groups(self) -> Mapping[str, tuple[Machine, ...]]:
        return self._runtime.machines(self._topology)

    def __getitem__(self, group: str) -> tuple[Machine, ...]:
        return self._runtime.uses.took(self._groups[group])

    def __contains__(self, group: object) -> bool:
        return group in self._groups

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        return repr(dict(self._groups))


def _write(path: Path, text: str) -> None:
    """Put ``text`` there for us alone, whole at every moment: other workers write the same file."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
