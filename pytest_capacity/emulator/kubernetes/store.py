"""The objects, their versions, and what happened to them: etcd and the generic registry in one.

Not locked: the caller holds the World's lock. Objects that come out are copies.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pytest_capacity.emulator.kubernetes import errors
from pytest_capacity.emulator.kubernetes.kinds import Kind
from pytest_capacity.emulator.kubernetes.schema import faults, fill_defaults, prune

Object = dict[str, Any]

#: So many changes are remembered for watches; one from before them is answered "Expired", as after a compaction.
HISTORY: Final = 5000

#: What a name is made of that the server gives (``names.SimpleNameGenerator``).
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"


class Change(NamedTuple):
    """One event of a watch."""

    version: int
    type: str
    key: tuple[str, str]
    object: Object


class Store:
    """All objects, by kind, namespace and name."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._objects: dict[tuple[str, str], dict[tuple[str, str], Object]] = {}
        #: The newest version; real ones do not begin at 1 either.
        self.version = 1000
        self.changes: list[Change] = []

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object. Raises `StatusError`."""
        found = self._of(kind).get((namespace, name))
        if found is None:
            raise errors.not_found(kind.group, kind.plural, name)
        return copy.deepcopy(found)

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return one object, or None."""
        return copy.deepcopy(self._of(kind).get((namespace, name)))

    def all(self, kind: Kind, namespace: str | None = None) -> Iterator[Object]:
        """Yield the objects of a namespace (None: of all), by name."""
        for (space, _), found in sorted(self._of(kind).items()):
            if namespace in (None, space):
                yield copy.deepcopy(found)

    def since(self, version: int) -> list[Change]:
        """Return what happened after ``version``. Raises `StatusError` (410) where that is not known any more."""
        if self.changes and version < self.changes[0].version - 1 and len(self.changes) >= HISTORY:
            raise errors.gone(f"too old resource version: {version} ({self.changes[0].version})")
        return [change for change in self.changes if change.version > version]

    def create(self, kind: Kind, namespace: str, body: Object, *, dry_run: bool = False) -> Object:
        """Store a new object; return it as it is kept. Raises `StatusError`."""
        metadata = dict(body.get("metadata") or {})
        if metadata.get("resourceVersion"):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        name = metadata.get("name") or self._generated(kind, namespace, metadata.get("generateName"))
        if not name:
            cause = errors.Cause(
                "FieldValueRequired", "Required value: name or generateName is required", "metadata.name"
            )
            raise errors.invalid(kind.group, kind.kind, "", [cause])
        made = kept(kind, {**body, "metadata": metadata}, name)
        if kind.has_status:
            made.pop("status", None)
        if (namespace, name) in self._of(kind):
            raise errors.already_exists(kind.group, kind.plural, name)
        made["metadata"] |= {
            "name": name,
            "uid": _uid(),
            "creationTimestamp": self.timestamp(),
            "generation": 1,
        }
        if kind.namespaced:
            made["metadata"]["namespace"] = namespace
        if dry_run:
            return made
        return self._put(kind, namespace, made, "ADDED")

    def update(self, kind: Kind, namespace: str, name: str, body: Object, *, status: bool = False) -> Object:
        """Replace an object, or only its status. Raises `StatusError`: gone, changed meanwhile, or invalid."""
        present = self.get(kind, namespace, name)
        metadata = body.get("metadata") or {}
        wanted = metadata.get("resourceVersion")
        if wanted and wanted != present["metadata"]["resourceVersion"]:
            raise errors.conflict(kind.group, kind.plural, name)
        if metadata.get("uid") not in (None, present["metadata"]["uid"]):
            raise errors.conflict(kind.group, kind.plural, name)
        made = kept(kind, body, name)
        if status:
            made = {**present, "status": made.get("status", {})}
        elif kind.has_status:
            made.pop("status", None)
            if "status" in present:
                made["status"] = present["status"]
        fixed = ("name", "namespace", "uid", "creationTimestamp", "generation")
        made["metadata"] |= {key: present["metadata"][key] for key in fixed if key in present["metadata"]}
        if made.get("spec") != present.get("spec"):
            made["metadata"]["generation"] = present["metadata"]["generation"] + 1
        # A change that changes nothing is none: there is no new version and no event.
        made["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"]
        if made == present:
            return present
        return self._put(kind, namespace, made, "MODIFIED")

    def delete(self, kind: Kind, namespace: str, name: str) -> Object:
        """Remove an object; returns it as it was. Raises `StatusError`."""
        found = self.get(kind, namespace, name)
        del self._of(kind)[namespace, name]
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        self._happened("DELETED", kind, found)
        return found

    def timestamp(self) -> str:
        """Return the time as objects have it: to the second."""
        return datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _put(self, kind: Kind, namespace: str, made: Object, event: str) -> Object:
        self.version += 1
        made["metadata"]["resourceVersion"] = str(self.version)
        self._of(kind)[namespace, made["metadata"]["name"]] = made
        self._happened(event, kind, made)
        return copy.deepcopy(made)

    def _happened(self, event: str, kind: Kind, found: Object) -> None:
        self.changes.append(Change(self.version, event, kind.key, copy.deepcopy(found)))
        del self.changes[:-HISTORY]

    def _generated(self, kind: Kind, namespace: str, prefix: str | None) -> str:
        if not prefix:
            return ""
        while True:
            name = prefix[:58] + "".join(secrets.choice(_LETTERS) for _ in range(5))
            if (namespace, name) not in self._of(kind):
                return name

    def _of(self, kind: Kind) -> dict[tuple[str, str], Object]:
        return self._objects.setdefault(kind.key, {})


def kept(kind: Kind, body: Object, name: str) -> Object:
    """Return what the server keeps of a body: pruned, with defaults. Raises `StatusError` where it is invalid."""
    made: Object = fill_defaults(prune(body, kind.schema), kind.schema)
    found = list(faults(made, kind.schema))
    if found:
        raise errors.invalid(kind.group, kind.kind, name, found)
    made["metadata"] = dict(made.get("metadata") or {})
    return made


def merge_patch(target: Any, patch: Any) -> Any:
    """Return ``target`` with a JSON merge patch applied (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    made = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merge_patch(made.get(key), value)
    return made


def _uid() -> str:
    digits = secrets.token_hex(16)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
