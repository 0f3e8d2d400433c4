"""Whether another process may join a run: what it asks for must be what stands. Pure, but for the environment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import asdict, replace

from pytest_capacity.backends import provider
from pytest_capacity.model import Fallback, Request, Topology

#: What shapes the nodes. Where one of these differs, the nodes that stand are not the ones that are asked for.
_SHAPING: Final = (
    "backend",
    "regions",
    "zones",
    "reserve",
    "market",
    "use_reservations",
    "colocate",
    "on_preempt",
    "endpoint",
    "emulated",
    "ssh",
    "databases",
    "kubernetes",
)

#: What may differ: the run goes on as it began. Shown as drift.
_DRIFTING: Final = ("project", "scaling", "duration_s", "limit_s", "prices", "errors", "journal")


def credentials_of(environ: Mapping[str, str], request: Request) -> str:
    """Return a mark of the credentials that a process would use: where it is the same, so is the account."""
    backend = provider(request.backend)
    if request.emulated or backend.owns_machines:
        return request.backend
    # HOME: there an SDK finds the files that hold credentials. What is hashed is no secret.
    names = (*backend.credential_variables, "HOME")
    chosen = [backend.chosen_profile(request, environ), *(environ.get(name, "") for name in names)]
    return hashlib.sha256("\0".join(chosen).encode(errors="surrogateescape")).hexdigest()[:16]


def differences(stands: Request, asked: Request) -> list[str]:
    """Return how the nodes that stand differ from those that are asked for, with both values."""
    found = [*_lines(asdict(stands), asdict(asked), _SHAPING)]
    if stands.backend == asked.backend:  # Another backend differs as such.
        free = provider(stands.backend).not_shaping
        names = [name for name in dict.fromkeys((*stands.settings, *asked.settings)) if name not in free]
        found += _lines(stands.settings, asked.settings, names, f"{stands.backend}.")
    found += _lines(asdict(stands.fallback), asdict(asked.fallback), Fallback.__struct_fields__, "fallback.")
    for name in dict.fromkeys((*stands.topologies, *asked.topologies)):
        found += _topology(name, stands.topologies.get(name), asked.topologies.get(name))
    return found


def drift(stands: Request, asked: Request) -> list[str]:
    """Return what this process asked for differently and does not get, since the run began without it."""
    return [
        _both(name.removesuffix("_s"), getattr(stands, name), getattr(asked, name))
        for name in _DRIFTING
        if getattr(stands, name) != getattr(asked, name)
    ]


def continued(stands: Request, asked: Request) -> Request:
    """Return the request of a keeper that adopts a run: as it began, with this process's patience and profile."""
    # The account that the run is pinned to stays, for every process.
    backend = provider(stands.backend)
    pinned = {backend.account_setting(request)[0].rpartition(".")[2] for request in (stands, asked)}
    free = backend.not_shaping - pinned
    settings = {name: value for name, value in stands.settings.items() if name not in free}
    settings |= {name: value for name, value in asked.settings.items() if name in free}
    return replace(
        stands,
        timeout_s=asked.timeout_s,
        retry_until_s=asked.retry_until_s,
        release_timeout_s=asked.release_timeout_s,
        settings=settings,
    )


def read_request(data: Any) -> Request:
    """Return a run's request as its journal has it.

    Versions before 0.2 wrote the section of the backend under the backend's name.
    """
    values = dict(data)
    name = values.get("backend", "")
    settings = values.pop("settings", None) or values.pop(name, None) or {}
    return msgspec.convert({**values, "settings": provider(name).normal(settings)}, Request)


def _lines(
    stands: Mapping[str, Any], asked: Mapping[str, Any], names: Iterable[str], prefix: str = ""
) -> Iterator[str]:
    """Yield a line for each of the names whose values differ."""
    for name in names:
        if stands.get(name) != asked.get(name):
            yield _both(f"{prefix}{name}", stands.get(name), asked.get(name))


def _topology(name: str, stands: Topology | None, asked: Topology | None) -> Iterator[str]:
    if stands is None or asked is None:
        yield _both(f"topology {name}", *_presence(stands, asked))
        return
    yield from _lines(asdict(stands), asdict(asked), ("regions",), f"{name}.")
    there = {group.name: group for group in stands.groups}
    wanted = {group.name: group for group in asked.groups}
    for group in dict.fromkeys((*there, *wanted)):
        if group not in there or group not in wanted:
            yield _both(f"{name}/{group}", *_presence(there.get(group), wanted.get(group)))
            continue
        fields = asdict(there[group])
        yield from _lines(fields, asdict(wanted[group]), fields, f"{name}/{group}.")


def _presence(stands: object, asked: object) -> tuple[str, str]:
    return ("not there" if stands is None else "there"), ("not there" if asked is None else "there")


def _both(name: str, stands: Any, asked: Any) -> str:
    if name.endswith(".user_data"):
        return f"{name}: is another one"  # What boots a machine may hold a secret.
    return f"{name}: {_shown(stands)}; asked: {_shown(asked)}"


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode() if not isinstance(value, str) else value
    return text if len(text) <= 80 else f"{text[:77]}..."
