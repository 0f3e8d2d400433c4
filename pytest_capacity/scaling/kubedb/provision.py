"""Databases that belong to the run: created when a test first asks, Ready before it gets them, deleted at the end."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from pytest_capacity.databases import Database
from pytest_capacity.errors import CapacityError, KubeDBError
from pytest_capacity.model import Held, Request, Unread
from pytest_capacity.scaling.kubedb.bodies import database_spec, lost_fields
from pytest_capacity.scaling.kubedb.client import Kubernetes, Object, ServerError, Unanswered
from pytest_capacity.scaling.kubedb.engines import DATABASE_GROUP, DATABASE_VERSION, engine_of
from pytest_capacity.scaling.kubedb.reading import RUN_LABEL, label_value, volume_labels
from pytest_capacity.scaling.kubedb.standing import KIND, VOLUME, DatabaseState, Standing

DEADLINE_LABEL: Final = "pytest-capacity/deadline"
PROJECT_LABEL: Final = "pytest-capacity/project"
KEY_LABEL: Final = "pytest-capacity/database"

#: Pauses between looks at one that is to become Ready or to go, seconds.
READY_PAUSE: Final = 1.0
GONE_PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)

#: A database's name leaves room for what KubeDB appends (``-configsvr-0``) in 63 characters.
_NAME: Final = 36


class Waiter:
    """Time, passed in. ``stop`` is set when the run is to end."""

    def __init__(
        self, now: Callable[[], float], wait: Callable[[float, threading.Event], bool], stop: threading.Event
    ) -> None:
        self.now = now
        self._wait = wait
        self._stop = stop

    def pause(self, seconds: float) -> bool:
        """Wait so long, or until the run is to end; True if it is."""
        return self._wait(seconds, self._stop)

    def sleep(self, seconds: float) -> None:
        """Wait so long, whatever happens."""
        self._wait(seconds, threading.Event())


class Databases:
    """The databases of one run."""

    def __init__(
        self,
        cluster: Kubernetes,
        request: Request,
        state: DatabaseState,
        waiter: Waiter,
        deadline: Callable[[], float],
        nonce: str = "",
    ) -> None:
        """Take ``nonce``, which separates this run from an earlier one of its id, whose databases may still stand."""
        self._cluster = cluster
        self._configured = request.databases
        self._request = request
        self._state = state
        self._waiter = waiter
        self._deadline = deadline
        self._unique_run = f"{request.run}/{nonce}"
        self._failures: dict[str, KubeDBError] = {}
        self._key_locks = {key: threading.Lock() for key in request.databases}

    def ask(self, key: str) -> Standing:
        """Return the database, provisioned at the first call of any process. Raises the same `KubeDBError` again."""
        with self._key_locks[key]:
            known = self._state.by_name(name_of(key, self._unique_run))
            if known is not None and known.state == "ready":
                return known
            if key in self._failures:
                raise self._failures[key]
            try:
                # One that was requested and has no uid may not have been made: its name makes a repeated call safe.
                made = known if known is not None and known.uid else self._create(self._configured[key])
                return self._await_ready(made, self._configured[key])
            except KubeDBError as error:
                self._failures[key] = error
                raise

    def _create(self, database: Database) -> Standing:
        engine = engine_of(database.engine)
        size = self._request.scaling.size(database.size) if database.size else None
        deadline = self._deadline()
        standing = Standing(
            key=database.key,
            engine=engine.name,
            namespace=database.namespace,
            name=name_of(database.key, self._unique_run),
            server=self._cluster.server,
            deadline=deadline,
        )
        body = {
            "apiVersion": f"{DATABASE_GROUP}/{DATABASE_VERSION}",
            "kind": engine.kind,
            "metadata": {
                "name": standing.name,
                "labels": {
                    RUN_LABEL: label_value(self._request.run),
                    PROJECT_LABEL: label_value(self._request.project),
                    KEY_LABEL: label_value(database.key),
                    DEADLINE_LABEL: str(round(deadline)),
                },
            },
            "spec": database_spec(engine, database, size),
        }
        self._state.requested(standing)
        try:
            kept = self._made(engine.name, body, database.namespace)
            lost = lost_fields(body["spec"], kept["spec"])
        except Unanswered:
            raise  # It may stand: the release looks for it.
        except KubeDBError as error:
            self._state.refused(standing, str(error))
            raise
        made = replace(standing, uid=kept["metadata"]["uid"])
        self._state.note("created", made)
        if lost:
            raise KubeDBError(f"the server kept {made.target} without {', '.join(lost)}: other definitions than ours")
        return made

    def _made(self, engine_name: str, body: Object, namespace: str) -> Object:
        """Create it. Its name is the run's alone, so the same call again makes no second one."""
        engine, name = engine_of(engine_name), body["metadata"]["name"]
        kind = self._cluster.databases(engine)
        for last in (False, True):
            try:
                return self._cluster.create(kind, body, namespace)
            except Unanswered:
                if last:
                    raise
            except ServerError as error:
                if error.reason != "AlreadyExists":
                    raise
                found = self._cluster.get(kind, name, namespace)
                if _labels(found).get(RUN_LABEL) != label_value(self._request.run):
                    raise KubeDBError(
                        f"{engine.kind} {name} in namespace {namespace} exists and is not of this run, so it is not "
                        "touched. Give the database another key, or remove it"
                    ) from None
                return found
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def _await_ready(self, standing: Standing, database: Database) -> Standing:
        engine = engine_of(standing.engine)
        until = self._waiter.now() + database.ready_timeout_s
        last = ""
        while True:
            try:
                found = self._cluster.get(self._cluster.databases(engine), standing.name, standing.namespace)
                last = (found.get("status") or {}).get("phase") or "no phase yet"
            except Unanswered as error:
                last = str(error)
            if last == "Ready":
                ready = replace(standing, state="ready")
                self._state.note("ready", ready)
                return ready
            if self._waiter.now() > until:
                raise KubeDBError(
                    f"{standing.target} is not Ready after {database.ready_timeout_s:g} s: {last}. Raise its "
                    "ready_timeout; to see what it waits for, before this run ends and removes it: "
                    f"kubectl describe {engine.plural}.{DATABASE_GROUP} {standing.name} -n {standing.namespace}"
                )
            if self._waiter.pause(READY_PAUSE):
                raise KubeDBError(f"the run is ending, so {standing.target} is not waited for any more")

    def extend(self, deadline: float) -> None:
        """Move the deadline that the databases bear. Raises `KubeDBError`."""
        change = {"metadata": {"labels": {DEADLINE_LABEL: str(round(deadline))}}}
        for standing in self._state.all():
            kind = self._cluster.databases(engine_of(standing.engine))
            self._cluster.patch(kind, standing.name, standing.namespace, change)

    def release(self, until: Callable[[], bool]) -> tuple[list[Held], list[Unread]]:
        """Delete what is the run's and wait until the server lists none of it; what is left, and what was not read."""
        rounds = 0
        while True:
            left, unread = self._round()
            if (not left and not unread) or until():
                return left, unread
            self._waiter.sleep(GONE_PAUSES[min(rounds, len(GONE_PAUSES) - 1)])
            rounds += 1

    def _round(self) -> tuple[list[Held], list[Unread]]:
        listed: dict[tuple[str, str, str], Object] = {}
        unread: list[Unread] = []
        for engine_name, namespace in sorted(self._places()):
            try:
                found = self._list(engine_name, namespace)
            except CapacityError as error:
                unread.append(Unread(self._cluster.server, f"{engine_name} databases in {namespace}", str(error)))
                continue
            for one in found:
                listed[engine_name, namespace, one["metadata"]["name"]] = one
        left = [self._let_go(engine, namespace, one) for (engine, namespace, _), one in listed.items()]
        missing = {part.kind for part in unread}
        for standing in self._state.all():
            place = f"{standing.engine} databases in {standing.namespace}"
            if (standing.engine, standing.namespace, standing.name) not in listed and place not in missing:
                volumes = self._volumes(standing)
                left += volumes
                if not volumes:
                    self._state.note("gone", standing)
        return left, unread

    def _places(self) -> set[tuple[str, str]]:
        """Return where anything of the run may stand: engine and namespace."""
        if not self._state.used:
            return set()
        configured = {(database.engine, database.namespace) for database in self._configured.values()}
        return configured | {(standing.engine, standing.namespace) for standing in self._state.all()}

    def _list(self, engine_name: str, namespace: str) -> list[Object]:
        kind = self._cluster.databases(engine_of(engine_name))
        try:
            return self._cluster.list(kind, namespace, {RUN_LABEL: label_value(self._request.run)})
        except ServerError as error:
            if error.status == 404:  # The cluster does not have the kind, so it has none of it.
                return []
            raise

    def _let_go(self, engine_name: str, namespace: str, found: Object) -> Held:
        """Request the deletion of one that is there, unless that was accepted already."""
        engine, metadata = engine_of(engine_name), found["metadata"]
        problem = ""
        if not metadata.get("deletionTimestamp"):
            try:
                self._cluster.delete(self._cluster.databases(engine), metadata["name"], namespace)
                standing = self._state.by_name(metadata["name"])
                if standing is not None and standing.state != "leaving":
                    self._state.note("releasing", replace(standing, state="leaving"))
            except KubeDBError as error:
                problem = str(error)
        return Held(
            kind=KIND,
            id=f"{engine.plural}.{DATABASE_GROUP}/{namespace}/{metadata['name']}",
            region=self._cluster.server,
            zone=namespace,
            state="leaving",
            deadline=_deadline(found),
            problem=problem,
        )

    def _volumes(self, standing: Standing) -> list[Held]:
        """Return the volumes of a database that is gone: its operator removes them, and they bill until it has."""
        engine = engine_of(standing.engine)
        listed = self._cluster.list(self._cluster.volumes, standing.namespace, volume_labels(engine, [standing.name]))
        return [
            Held(
                kind=VOLUME,
                id=f"persistentvolumeclaims/{standing.namespace}/{one['metadata']['name']}",
                region=self._cluster.server,
                zone=standing.namespace,
                state="leaving",
            )
            for one in listed
        ]


def name_of(key: str, run: str) -> str:
    """Return the name of the run's database: its key, and what no other run's has."""
    mark = hashlib.sha256(f"{run}/{key}".encode()).hexdigest()[:8]
    plain = "".join(char if char.isalnum() and char.isascii() else "-" for char in key.lower()).strip("-")
    return f"{plain[: _NAME - 9].rstrip('-') or 'db'}-{mark}"


def _labels(found: Object) -> Mapping[str, str]:
    return found["metadata"].get("labels") or {}


def _deadline(found: Object) -> float | None:
    text = _labels(found).get(DEADLINE_LABEL, "")
    return float(text) if text.isdigit() else None
