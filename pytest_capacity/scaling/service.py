"""Scaling as the keeper has it: one run's operation requests and databases, opened when they are first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from pytest_capacity.databases import DatabaseChange, KubernetesSettings
from pytest_capacity.errors import CapacityError, ConfigError, KubeDBError, ScalingError
from pytest_capacity.install_advice import install_command
from pytest_capacity.journal import Entry
from pytest_capacity.model import Held, NodeChange, Receipt, Request, Unread
from pytest_capacity.scaling.kubedb.standing import DatabaseState, by_hand
from pytest_capacity.scaling.model import OpsRequest, TargetState
from pytest_capacity.scaling.reconciler import Provider, Reconciler
from pytest_capacity.scaling.state import Note, OpsState

if TYPE_CHECKING:
    from pytest_capacity.scaling.kubedb.client import Kubernetes
    from pytest_capacity.scaling.kubedb.provision import Databases
    from pytest_capacity.scaling.kubedb.requests import KubeDB
    from pytest_capacity.scaling.nodes.provider import NodeGroups

#: What the extra brings.
MODULES: Final = ("lightkube",)

#: Makes the provider of the node groups, of the requests and of what it calls when one of them has ended.
MakeNodes = Callable[[OpsState, Callable[[], None]], "NodeGroups"]

#: Opens the cluster of the settings; imports its client.
Connect = Callable[[KubernetesSettings], "Kubernetes"]


class Scaling:
    """The scaling of one run.

    A second keeper makes it of the journal's events, and continues with what is active. All methods may be called
    from any thread.
    """

    def __init__(
        self,
        request: Request,
        entries: Sequence[Entry],
        intend: Note,
        note: Note,
        now: Callable[[], float],
        wait: Callable[[float, threading.Event], bool],
        hard_end: Callable[[], float],
        connect: Connect,
        nodes: MakeNodes | None = None,
    ) -> None:
        """Take ``nodes``, which makes the provider of the run's node groups; without it none can be changed."""
        self._request = request
        self._now = now
        self._wait = wait
        self._hard_end = hard_end
        self._connect = connect
        run = _of_this_run(entries)
        #: Tells the run from an earlier one of the same id; a second keeper has the one with which the run began.
        self._nonce = str(run[0].data.get("nonce", "")) if run and run[0].kind == "run-started" else ""
        self._providers: dict[str, Provider] = {}
        self.state = OpsState(run, intend, note)
        #: With those of an earlier run of the same id: what it left is given back too.
        self.standing = DatabaseState(entries, intend, note)
        self._reconciler = Reconciler(self._providers, self.state, request.scaling, now)
        self._nodes = nodes(self.state, self._nodes_ended) if nodes else None
        if self._nodes:
            self._providers[self._nodes.name] = self._nodes
        self._opening = threading.Lock()
        self._kubedb: KubeDB | None = None
        self._databases: Databases | None = None
        self._looked = float("-inf")
        self._stop = threading.Event()

    def patch(self, change: DatabaseChange) -> tuple[OpsRequest, ...]:
        """Request a change of a database; return at once. Raises `KubeDBError`, `ConfigError` without a cluster."""
        kubedb, _ = self._open()
        self._still_on()
        return kubedb.patch(change)

    def database(self, key: str) -> tuple[str, str, str]:
        """Return engine, namespace and name of a database of the run, which is Ready. Raises `KubeDBError`."""
        if key not in self._request.databases:
            known = ", ".join(self._request.databases) or "none"
            raise KubeDBError(f"no database {key!r} is configured under `databases:`. There are: {known}")
        _, databases = self._open()
        self._still_on()
        standing = databases.ask(key)
        return standing.engine, standing.namespace, standing.name

    def scale(self, change: NodeChange) -> tuple[OpsRequest, ...]:
        """Request a change of a node group; return at once. Raises `ScalingError`, `Refused`, `Cancelled`."""
        if self._nodes is None:
            raise ScalingError("this run has no node groups that can be changed")
        return self._nodes.ask(change)

    def _nodes_ended(self) -> None:
        if self._nodes:
            self._reconciler.look(self._nodes.name)

    def wait(self, tokens: Sequence[str], timeout_s: float) -> tuple[OpsRequest, ...]:
        """Return these requests when all have ended, or as they are after ``timeout_s`` seconds."""
        return self._reconciler.wait(tokens, timeout_s)

    def status(self, target: str) -> TargetState:
        """Return what a target is in."""
        return self.state.status(target)

    def look(self) -> None:
        """Look at what is active, if it is time. Quick when nothing is. Raises `CapacityError` without a cluster."""
        if not self.state.active() or self._now() - self._looked < self._request.scaling.interval_s:
            return
        self._looked = self._now()
        if any(request.provider not in self._providers for request in self.state.active()):
            self._open()
        self._reconciler.look()

    def stop(self) -> None:
        """Provision no further database, and change none."""
        self._stop.set()

    def resume(self) -> None:
        """Continue after a new owner has come."""
        self._stop.clear()

    def extend(self, hard_end: float) -> None:
        """Move the databases' deadlines to the run's new end. Raises `KubeDBError`."""
        if self.standing.all():
            _, databases = self._open()
            databases.extend(hard_end)

    @property
    def held(self) -> list[Held]:
        """Return what is held according to the journal. Makes no call."""
        return [standing.held for standing in self.standing.all()]

    @property
    def stands(self) -> bool:
        """Return whether any database of the run is Ready."""
        return any(standing.state == "ready" for standing in self.standing.all())

    def by_hand(self, helds: Sequence[Held]) -> list[str]:
        """Return the commands that remove these."""
        return by_hand(helds, self._request.kubernetes)

    def release(self, until: Callable[[], bool]) -> tuple[list[Held], list[Unread]]:
        """Release the databases, and record every request that has not ended. May be called again."""
        self.stop()
        self._close_requests()
        if not self.standing.used:
            return [], []
        try:
            _, databases = self._open()
            return databases.release(until)
        except CapacityError as error:
            return self.held, [Unread("kubernetes", "databases", str(error))]

    def _close_requests(self) -> None:
        """Record requests under way as left: their provider continues with them, and nothing follows them."""
        if not self.state.active():
            return
        self._looked = float("-inf")
        with suppress(CapacityError):  # What is not known stays as it was last seen.
            self.look()
        for request in self.state.active():
            if request.sent or self.state.is_doubtful(request.token):
                goes_on = "" if request.via == "engine" else "; the server goes on with it"
                words = f"the run ended while it was {request.phase or 'new'}{goes_on}"
                self.state.ended(replace(request, outcome="left", finished=self._now(), reason=words))
            else:
                words = "the run ended before it was sent"
                self.state.ended(replace(request, outcome="not-sent", finished=self._now(), reason=words))
        self._reconciler.wake()

    def receipt(self, receipt: Receipt, left: Sequence[Held], unread: Sequence[Unread]) -> Receipt:
        """Return the run's receipt with the databases in it."""
        if not self.standing.used:
            return receipt
        problems = tuple(f"{held.id}: {held.problem}" for held in left if held.problem)
        return replace(
            receipt,
            regions=(*receipt.regions, *sorted(self.standing.servers)),
            left=(*receipt.left, *left),
            unread=(*receipt.unread, *unread),
            by_hand=(*receipt.by_hand, *self.by_hand(left)),
            # No cloud ends a database by itself; its label says when a janitor may.
            endless=(*receipt.endless, *(held.id for held in left)),
            troubles=(*receipt.troubles, *problems),
            asked=True,
        )

    def _still_on(self) -> None:
        if self._stop.is_set():
            raise KubeDBError("the run is ending, so nothing is changed any more")

    def _open(self) -> tuple[KubeDB, Databases]:
        """Return the cluster; connect at the first call, since its client takes a while to import."""
        with self._opening:
            if self._kubedb is None or self._databases is None:
                missing = [name for name in MODULES if find_spec(name) is None]
                if missing:
                    raise ConfigError(
                        [
                            f"databases need the extra kubedb ({', '.join(missing)} is not installed here): "
                            f"{install_command('kubedb')}"
                        ]
                    )
                self._make(self._connect(self._request.kubernetes))
            assert self._kubedb is not None
            assert self._databases is not None
            return self._kubedb, self._databases

    def _make(self, cluster: Kubernetes) -> None:
        from pytest_capacity.scaling.kubedb.provision import Databases, Waiter
        from pytest_capacity.scaling.kubedb.requests import KubeDB

        request = self._request
        kubedb = KubeDB(cluster, self.state, request.run, request.scaling, self._now)
        waiter = Waiter(self._now, self._wait, self._stop)
        self._kubedb = kubedb
        self._providers[kubedb.name] = kubedb
        self._databases = Databases(cluster, request, self.standing, waiter, self._hard_end, self._nonce)


def _of_this_run(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Return the events since the run began last: an id may have been used before."""
    starts = [number for number, entry in enumerate(entries) if entry.kind == "run-started"]
    return entries[starts[-1] :] if starts else entries
