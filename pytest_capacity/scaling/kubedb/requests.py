"""KubeDB as a `Provider` of operation requests, and what makes them: `KubeDB.patch`.

Replicas and size are changed by OpsRequests, storage by a change of the database or by one. Every request bears
labels of the package: by the run's label all active ones are listed in one call, by the token's one whose creation was
never answered is found.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.databases import DatabaseChange, ScalingSettings
from pytest_capacity.errors import KubeDBError
from pytest_capacity.scaling.kubedb.bodies import (
    STORAGE_REQUEST,
    expansion,
    gigabytes,
    horizontal,
    lost_fields,
    quantity,
    vertical,
)
from pytest_capacity.scaling.kubedb.client import Kubernetes, Object, ServerError, Unanswered
from pytest_capacity.scaling.kubedb.engines import (
    OPS_GROUP,
    OPS_VERSION,
    Engine,
    Layout,
    engine_of,
    lookup,
    nested,
)
from pytest_capacity.scaling.kubedb.reading import (
    RUN_LABEL,
    TOKEN_LABEL,
    capacity_of,
    conditions_of,
    label_value,
    phase_of,
    requested_of,
    volume_labels,
)
from pytest_capacity.scaling.model import Condition, Kind, OpsRequest, Via
from pytest_capacity.scaling.reconciler import log_event
from pytest_capacity.scaling.state import OpsState

PROVIDER: Final = "kubedb"

#: What a server says that does not take one object with two sections, or a second request beside an active one.
_REFUSALS: Final = frozenset({400, 422})

#: How often a change is tried again that another one overtook (409).
_RACES: Final = 5


class KubeDB:
    """The databases of one cluster, for one run."""

    name: Final = PROVIDER

    def __init__(
        self,
        cluster: Kubernetes,
        state: OpsState,
        run: str,
        settings: ScalingSettings,
        now: Callable[[], float],
        new_token: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._cluster = cluster
        self._state = state
        self._run = run
        self._settings = settings
        self._now = now
        self._new_token = new_token
        #: One change of a database at a time is asked for: each looks at what is under way.
        self._locks: dict[str, threading.Lock] = {}

    def patch(self, change: DatabaseChange) -> tuple[OpsRequest, ...]:
        """Request a change and return at once: the requests, in the order in which they are carried out.

        A database that is being changed already gets it behind what is under way. Raises `KubeDBError`: a number below
        1, storage that would shrink, a size or engine that is not known, a database that is not there, or the server's
        refusal.
        """
        made: list[OpsRequest] = []
        try:
            with self._locks.setdefault(change.target, threading.Lock()):
                self._patch(change, made)
        except KubeDBError as error:
            fields = {"name": change.name, "engine": change.engine, "replicas": change.replicas, "size": change.size}
            log_event("scaling_operation_failed", {**fields, "error": error}, failed=True)
            if made:
                listed = ", ".join(request.label for request in made)
                raise KubeDBError(f"{error}. Made before that, and going on: {listed}") from error
            raise
        return tuple(made)

    def _patch(self, change: DatabaseChange, made: list[OpsRequest]) -> None:
        self._check(change)
        engine = engine_of(change.engine)
        database = self._cluster.get(self._cluster.databases(engine), change.name, change.namespace)
        layout = engine.layout(database["spec"])
        self._check_component(change, engine)
        if change.storage_gb is not None and not self._state.by_token([_token(change, "VolumeExpansion")]):
            self._check_growth(change, layout, database)
        if change.replicas is not None and change.size is not None and self._settings.combined == "one":
            made += self._one_for_both(change, engine, layout, database)
        if change.replicas is not None and not made:
            section = horizontal(layout, change.replicas, database["spec"])
            made += self._scale("HorizontalScaling", {"horizontalScaling": section}, change, engine)
        if change.size is not None and not any(request.kind == "VerticalScaling" for request in made):
            section = vertical(change.component or layout.component, self._size(change.size))
            made += self._scale("VerticalScaling", {"verticalScaling": section}, change, engine)
        if change.storage_gb is not None:
            made += self._store(change, engine, layout, database)

    def _check(self, change: DatabaseChange) -> None:
        """Refuse, before any call, what can never be meant."""
        engine = engine_of(change.engine)
        if change.replicas is None and change.size is None and change.storage_gb is None:
            raise KubeDBError(f"{change.target}: nothing to change. Give replicas, size or storage_gb")
        for name, value in (("replicas", change.replicas), ("storage_gb", change.storage_gb)):
            if value is not None and (isinstance(value, bool) or value < 1):
                raise KubeDBError(f"{change.target}: {name} is {value!r} and must be a whole number of at least 1")
        if change.size is not None:
            self._size(change.size)
        if engine.name == "mysql" and change.replicas is not None and not 3 <= change.replicas < 9:
            raise KubeDBError(f"{change.target}: KubeDB scales MySQL groups to 3 to 8 members, not {change.replicas}")

    def _size(self, name: str) -> Any:
        size = self._settings.size(name)
        if size is None:
            known = ", ".join(self._settings.sizes) or "db.t3.micro to db.t3.2xlarge"
            raise KubeDBError(f"no size {name!r} is known. Use {known}, or add it under `scaling: {{sizes: ...}}`")
        return size

    def _check_component(self, change: DatabaseChange, engine: Engine) -> None:
        if change.component is not None and change.component not in engine.components:
            known = ", ".join(engine.components)
            raise KubeDBError(f"{change.target}: {engine.kind} has no component {change.component!r}. It has: {known}")

    def _check_growth(self, change: DatabaseChange, layout: Layout, database: Object) -> None:
        assert change.storage_gb is not None
        present = lookup(database["spec"], (*layout.storage, *STORAGE_REQUEST))
        if present is None:
            raise KubeDBError(
                f"{change.target} has no storage of its own (spec.{'.'.join(layout.storage)} is not there)"
            )
        wanted = gigabytes(change.storage_gb)
        if quantity(wanted) < quantity(present):
            raise KubeDBError(f"{change.target} has {present} of storage; {wanted} is less, and volumes never shrink")
        if quantity(wanted) == quantity(present):
            raise KubeDBError(
                f"{change.target} has {present} of storage already. Ask for more, or leave storage_gb out"
            )

    def _one_for_both(
        self, change: DatabaseChange, engine: Engine, layout: Layout, database: Object
    ) -> list[OpsRequest]:
        """Try the seeds' one object with both sections (``combined: one``); none where the server refuses it.

        KubeDB carries out the section of ``type`` alone. So where the object is accepted, the replicas are requested by
        another request all the same, behind it.
        """
        assert change.replicas is not None
        assert change.size is not None
        replicas = {"horizontalScaling": horizontal(layout, change.replicas, database["spec"])}
        size = {"verticalScaling": vertical(change.component or layout.component, self._size(change.size))}
        try:
            made = self._scale("VerticalScaling", {**size, **replicas}, change, engine, queues=False)
        except ServerError as error:
            if error.status in _REFUSALS:
                return []
            raise
        return made + self._scale("HorizontalScaling", replicas, change, engine)

    def _store(self, change: DatabaseChange, engine: Engine, layout: Layout, database: Object) -> list[OpsRequest]:
        """Grow the storage by the one way that is chosen, never by both."""
        assert change.storage_gb is not None
        if (change.storage_mode or self._settings.storage_mode) == "ops-request":
            section = {"volumeExpansion": expansion(change.component or layout.component, change.storage_gb)}
            return self._scale("VolumeExpansion", section, change, engine)
        path = (*layout.storage, *STORAGE_REQUEST)
        request = self._request("VolumeExpansion", "patch", change, {"path": list(path)})
        again = self._again(request)
        if again is not None:
            return [again]
        if request.after:
            self._state.queued(request)
            return [request]
        self._state.requested(request)
        return [self._send_patch(request, database)]

    def _scale(
        self,
        kind: Kind,
        sections: Mapping[str, Any],
        change: DatabaseChange,
        engine: Engine,
        *,
        queues: bool = True,
    ) -> list[OpsRequest]:
        """Create one OpsRequest. Behind another one KubeDB queues it; where the server refuses, the package does."""
        spec = {"type": kind, "databaseRef": {"name": change.name}, **sections}
        request = self._request(kind, "ops-request", change, {"spec": spec})
        again = self._again(request)
        if again is not None:
            return [again]
        alone = replace(request, after="")
        self._state.requested(alone)
        try:
            return [self._create(alone, engine)]
        except ServerError as error:
            if queues and request.after and error.status in _REFUSALS:
                self._state.queued(request)
                return [request]
            raise

    def _again(self, wanted: OpsRequest) -> OpsRequest | None:
        """Return the request if it was sent before: one that a keeper's death interrupted is sent by the next one."""
        for known in self._state.by_token([wanted.token]):
            if not self._state.is_doubtful(known.token):
                # What came to nothing, unsent, may be requested once more.
                return None if known.outcome == "lost" and not known.sent else known
            found = self.settle(known)
            if found is not None:
                self._state.created(found)
            return found
        return None

    def _request(self, kind: Kind, via: Via, change: DatabaseChange, facts: Mapping[str, Any]) -> OpsRequest:
        token = _token(change, kind) if change.key else self._new_token()
        of_target = self._state.of_target(change.target)
        before = [request.token for request in of_target if request.active and request.token != token]
        wanted: Mapping[Kind, dict[str, Any]] = {
            "HorizontalScaling": {"replicas": change.replicas},
            "VerticalScaling": {"size": change.size},
            "VolumeExpansion": {"storage_gb": change.storage_gb},
        }
        place = {"engine": engine_of(change.engine).name, "namespace": change.namespace, "database": change.name}
        return OpsRequest(
            token=token,
            provider=PROVIDER,
            target=change.target,
            kind=kind,
            via=via,
            created=self._now(),
            after=before[-1] if before else "",
            wanted=wanted[kind],
            facts={**place, **facts},
        )

    def _create(self, request: OpsRequest, engine: Engine) -> OpsRequest:
        """Make the object; the intent is written. Where no answer comes, look by its token, then try once more."""
        facts = request.facts
        kind, namespace = self._cluster.ops(engine), facts["namespace"]
        body = {
            "apiVersion": f"{OPS_GROUP}/{OPS_VERSION}",
            "kind": engine.ops_kind,
            # A name from the clock would be taken twice within a second.
            "metadata": {"generateName": _prefix(facts["database"], request.kind), "labels": self._labels(request)},
            "spec": facts["spec"],
        }
        kept: Object | None = None
        for last in (False, True):
            try:
                kept = self._cluster.create(kind, body, namespace)
                break
            except Unanswered:
                kept = self._find(request, engine)
                if kept is not None:
                    break
                if last:
                    self._state.unanswered(request)
                    raise
            except KubeDBError as error:
                self._state.refused(request, str(error))
                raise
        assert kept is not None
        return self._keep(request, kept, engine)

    def _keep(self, request: OpsRequest, kept: Object, engine: Engine) -> OpsRequest:
        """Compare what the server kept with what was sent; take it back where a field is missing."""
        name, namespace = kept["metadata"]["name"], request.facts["namespace"]
        lost = lost_fields(request.facts["spec"], kept["spec"])
        if lost:
            words = (
                f"the server kept {engine.ops_kind} {name} without {', '.join(lost)}, so it would not do what was "
                "asked. Its KubeDB has other definitions than those that this plugin knows; the request was removed"
            )
            try:
                self._cluster.delete(self._cluster.ops(engine), name, namespace)
            except KubeDBError as error:
                words = words.replace("the request was removed", f"and the request could not be removed: {error}")
            self._state.refused(request, words)
            raise KubeDBError(words)
        made = replace(
            request, name=name, uid=kept["metadata"]["uid"], phase=phase_of(kept), conditions=conditions_of(kept)
        )
        self._state.created(made)
        facts = request.facts
        fields = {"engine": facts["engine"], "name": facts["database"], "namespace": namespace}
        fields |= {"ops_request_name": name, "ops_type": request.kind, **request.wanted}
        log_event("scaling_ops_request_created", fields)
        return made

    def _labels(self, request: OpsRequest) -> dict[str, str]:
        return {RUN_LABEL: label_value(self._run), TOKEN_LABEL: request.token}

    def _find(self, request: OpsRequest, engine: Engine) -> Object | None:
        """Return the object that a lost answer made; None where there is none, or the server still does not answer."""
        try:
            labels = {TOKEN_LABEL: request.token}
            found = self._cluster.list(self._cluster.ops(engine), request.facts["namespace"], labels)
        except KubeDBError:
            return None
        return found[0] if found else None

    def _send_patch(self, request: OpsRequest, database: Object) -> OpsRequest:
        """Change the database's storage; the intent is written."""
        try:
            self._grow(request, database)
        except KubeDBError as error:
            self._state.refused(request, str(error))
            raise
        made = self._patched(request)
        self._state.created(made)
        facts = request.facts
        fields = {"engine": facts["engine"], "name": facts["database"], "namespace": facts["namespace"]}
        fields |= {"ops_type": "StoragePatch", "ops_request_name": made.name, **request.wanted}
        log_event("scaling_storage_patched", fields)
        return made

    def _grow(self, request: OpsRequest, database: Object) -> None:
        """Change the database only as it was read; where another was faster, read it again, and check it again."""
        facts, wanted = request.facts, gigabytes(request.wanted["storage_gb"])
        kind, path = self._cluster.databases(engine_of(facts["engine"])), tuple(facts["path"])
        for race in range(_RACES):
            present = lookup(database["spec"], path)
            if present is not None and quantity(wanted) < quantity(present):
                raise KubeDBError(f"{request.target} has {present} of storage by now; {wanted} is less")
            spec = nested(path, wanted)
            change = {"metadata": {"resourceVersion": database["metadata"]["resourceVersion"]}, "spec": spec}
            try:
                kept = self._cluster.patch(kind, facts["database"], facts["namespace"], change)
            except (ServerError, Unanswered) as error:
                # Asking for the same value again changes nothing, so a lost answer need not be found out.
                again = isinstance(error, Unanswered) or error.reason == "Conflict"
                if not again or race == _RACES - 1:
                    raise
            else:
                lost = lost_fields(spec, kept["spec"])
                if lost:
                    raise KubeDBError(f"the server kept {request.target} without {', '.join(lost)}")
                return
            database = self._cluster.get(kind, facts["database"], facts["namespace"])

    def _patched(self, request: OpsRequest) -> OpsRequest:
        """Return the request of a change that the database has: it has no object, so its name is the package's."""
        name = f"{request.facts['database']}-storage-{request.token[:6]}"
        return replace(request, name=name, phase="Progressing", begun=self._now())

    def _volumes(self, request: OpsRequest, volumes: Sequence[Object]) -> OpsRequest:
        """Return a storage change by what its database's volumes are now."""
        wanted = quantity(gigabytes(request.wanted["storage_gb"]))
        grown = [volume for volume in volumes if capacity_of(volume) >= wanted]
        words = f"{len(grown)} of {len(volumes)} volumes have {gigabytes(request.wanted['storage_gb'])}"
        progress = Condition(type="VolumesGrown", status="False", message=words)
        if volumes and len(grown) == len(volumes):
            done = replace(progress, status="True", reason="Successful")
            return replace(request, phase="Successful", conditions=(done,))
        asked = any(requested_of(volume) >= wanted for volume in volumes)
        if not grown and not asked and self._now() - (request.begun or 0.0) > self._settings.storage_timeout_s:
            words = (
                f"no volume of {request.target} has begun to grow within {self._settings.storage_timeout_s:g} s: this "
                "cluster's operator does not follow a change of the database's storage. "
                "Use storage_mode='ops-request', which asks for a VolumeExpansion"
            )
            failed = Condition(type="Failed", status="True", reason="VolumesDidNotGrow", message=words)
            return replace(request, phase="Failed", conditions=(progress, failed))
        return replace(request, conditions=(progress,))

    def observe(self, requests: Sequence[OpsRequest]) -> Mapping[str, OpsRequest]:
        """Return the requests as they are: one list for each kind and namespace, however many databases there are."""
        found: dict[str, OpsRequest] = {}
        by_ops = sorted((one for one in requests if one.via == "ops-request"), key=_place)
        for (engine, namespace), group in groupby(by_ops, key=_place):
            found |= self._observe_ops(engine_of(engine), namespace, list(group))
        patches = sorted((one for one in requests if one.via == "patch"), key=_place)
        for (engine, namespace), group in groupby(patches, key=_place):
            found |= self._observe_volumes(engine_of(engine), namespace, list(group))
        return found

    def _observe_ops(self, engine: Engine, namespace: str, group: list[OpsRequest]) -> Iterable[tuple[str, OpsRequest]]:
        listed = self._cluster.list(self._cluster.ops(engine), namespace, {RUN_LABEL: label_value(self._run)})
        by_uid = {one["metadata"]["uid"]: one for one in listed}
        for request in group:
            kept = by_uid.get(request.uid)
            if kept is not None:
                yield request.token, replace(request, phase=phase_of(kept), conditions=conditions_of(kept))

    def _observe_volumes(
        self, engine: Engine, namespace: str, group: list[OpsRequest]
    ) -> Iterable[tuple[str, OpsRequest]]:
        names = {request.facts["database"] for request in group}
        listed = self._cluster.list(self._cluster.volumes, namespace, volume_labels(engine, sorted(names)))
        for request in group:
            name = request.facts["database"]
            mine = [one for one in listed if one["metadata"]["labels"]["app.kubernetes.io/instance"] == name]
            yield request.token, self._volumes(request, mine)

    def send(self, request: OpsRequest) -> OpsRequest:
        """Make a request that waited for the one before it. Raises `KubeDBError`."""
        alone = replace(request, after="")
        engine = engine_of(request.facts["engine"])
        self._state.requested(alone)
        if request.via == "ops-request":
            return self._create(alone, engine)
        facts = request.facts
        database = self._cluster.get(self._cluster.databases(engine), facts["database"], facts["namespace"])
        return self._send_patch(alone, database)

    def settle(self, request: OpsRequest) -> OpsRequest | None:
        """Return the request that an unanswered call made; None where it made none. Raises `KubeDBError`."""
        facts = request.facts
        engine = engine_of(facts["engine"])
        if request.via == "patch":
            database = self._cluster.get(self._cluster.databases(engine), facts["database"], facts["namespace"])
            present = lookup(database["spec"], tuple(facts["path"])) or "0"
            done = quantity(present) >= quantity(gigabytes(request.wanted["storage_gb"]))
            return self._patched(request) if done else None
        found = self._cluster.list(self._cluster.ops(engine), facts["namespace"], {TOKEN_LABEL: request.token})
        if not found:
            return None
        kept = found[0]
        return replace(
            request,
            name=kept["metadata"]["name"],
            uid=kept["metadata"]["uid"],
            phase=phase_of(kept),
            conditions=conditions_of(kept),
        )

    def delete(self, request: OpsRequest) -> None:
        """Remove a finished OpsRequest."""
        engine = engine_of(request.facts["engine"])
        self._cluster.delete(self._cluster.ops(engine), request.name, request.facts["namespace"])


def _token(change: DatabaseChange, kind: Kind) -> str:
    """Return the token of the one request of that kind that a call makes, however often it is sent."""
    return f"{change.key}-{kind}" if change.key else ""


def _prefix(database: str, kind: Kind) -> str:
    short = {"HorizontalScaling": "horizontal", "VerticalScaling": "vertical", "VolumeExpansion": "volume"}[kind]
    return f"{database[:40].rstrip('-.')}-{short}-"


def _place(request: OpsRequest) -> tuple[str, str]:
    return request.facts["engine"], request.facts["namespace"]
