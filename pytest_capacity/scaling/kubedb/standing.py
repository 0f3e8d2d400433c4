"""The databases of the run: a view of the journal's ``database-*`` events, like `OpsState`. Makes no call.

====================== ===============================================================================================
``database-requested`` the `Standing`, before the call that makes it
``database-created``   the same, with its uid
``database-ready``     the same; the server reports Ready
``database-refused``   key, words: it was not made
``database-releasing`` the `Standing`; its deletion was accepted
``database-gone``      the `Standing`; the server no longer lists it
====================== ===============================================================================================
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from pytest_capacity.databases import KubernetesSettings, target_of
from pytest_capacity.journal import Entry
from pytest_capacity.model import Held, State
from pytest_capacity.scaling.kubedb.engines import DATABASE_GROUP, engine_of
from pytest_capacity.scaling.state import Note

#: What a database is called in a receipt, and a volume that outlived its database.
KIND: Final = "database"
VOLUME: Final = "volume"

KINDS: Final = frozenset(
    f"database-{step}" for step in ("requested", "created", "ready", "refused", "releasing", "gone")
)


class Standing(Struct, frozen=True, kw_only=True):
    """One database of the run, as it was requested."""

    key: str
    engine: str
    namespace: str
    name: str
    #: The server's URL.
    server: str = ""
    uid: str = ""
    state: State = "creating"
    deadline: float = 0.0

    @property
    def target(self) -> str:
        """Return its name as a target of operation requests."""
        return target_of(self.engine, self.namespace, self.name)

    @property
    def held(self) -> Held:
        """Return it as receipts and lists show what is held."""
        return Held(
            kind=KIND,
            id=f"{engine_of(self.engine).plural}.{DATABASE_GROUP}/{self.namespace}/{self.name}",
            region=self.server,
            zone=self.namespace,
            state=self.state,
            group=self.key,
            deadline=self.deadline or None,
        )


class DatabaseState:
    """The databases of one run, by name. Safe to use from many threads."""

    def __init__(self, entries: Iterable[Entry], intend: Note, note: Note) -> None:
        """Replay ``entries`` of earlier keepers. ``intend`` raises `JournalError`, and then nothing may be made."""
        self._intend = intend
        self._note = note
        self._lock = threading.RLock()
        self._standing: dict[str, Standing] = {}
        #: Whether anything was ever asked for, so that there is something to confirm.
        self.used = False
        #: Where that was.
        self.servers: set[str] = set()
        for entry in entries:
            if entry.kind in KINDS:
                self._apply(entry.kind, entry.data)

    def all(self) -> tuple[Standing, ...]:
        """Return those that stand, or may stand."""
        with self._lock:
            return tuple(self._standing.values())

    def by_name(self, name: str) -> Standing | None:
        """Return the one of that name."""
        return self._standing.get(name)

    def requested(self, standing: Standing) -> None:
        """Write down that it is about to be made. Raises `JournalError`."""
        self._record(self._intend, "database-requested", standing.key, msgspec.to_builtins(standing))

    def note(self, step: str, standing: Standing) -> None:
        """Write down what became of it: ``created``, ``ready``, ``releasing``, ``gone``."""
        self._record(self._note, f"database-{step}", standing.key, msgspec.to_builtins(standing))

    def refused(self, standing: Standing, words: str) -> None:
        """Write down that it was not made."""
        data = {"key": standing.key, "name": standing.name, "words": words}
        self._record(self._note, "database-refused", standing.key, data)

    def _record(self, writer: Note, kind: str, key: str, data: Any) -> None:
        with self._lock:
            writer(kind, key, data)
            self._apply(kind, data)

    def _apply(self, kind: str, data: Any) -> None:
        self.used = True
        if kind in ("database-refused", "database-gone"):
            self._standing.pop(data["name"], None)
        else:
            standing = msgspec.convert(data, Standing)
            self.servers.add(standing.server)
            self._standing[standing.name] = standing


def databases_held(entries: Iterable[Entry]) -> tuple[Held, ...]:
    """Return the databases that a run holds by its journal, to one that only reads it."""

    def refuse(kind: str, subject: str, data: Any) -> None:
        raise AssertionError(kind)

    return tuple(standing.held for standing in DatabaseState(entries, refuse, refuse).all())


def by_hand(helds: Sequence[Held], kubernetes: KubernetesSettings) -> list[str]:
    """Return the commands that remove these."""
    where = f" --context {kubernetes.context}" if kubernetes.context else ""
    where += f" --kubeconfig {kubernetes.kubeconfig}" if kubernetes.kubeconfig else ""
    commands = []
    for held in helds:
        kind, namespace, name = held.id.split("/")
        commands.append(f"kubectl delete {kind} {name} --namespace {namespace}{where}")
    return commands
