"""Whether another process may join a run: what it asks for must be what stands. Pure, but for the environment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from pytest_capacity.model import Request, Topology

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
)

#: What may differ: the run goes on as it began. Shown as drift.
_DRIFTING: Final = ("project", "duration_s", "limit_s", "prices", "errors", "journal")

#: Whose credentials are used is told by the account (`Start.credentials`), not by what the profile is called.
_NOT_SHAPING_AWS: Final = ("profile", "account")

#: Variables that say which credentials an SDK takes. Their values are hashed, and none of them is a secret.
_CREDENTIALS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "HOME",
)


def credentials_of(environ: Mapping[str, str], request: Request) -> str:
    """A mark of the credentials that a process would use: where it is the same, so is the account."""
    if request.emulated or request.backend == "static":
        return request.backend
    chosen = [request.aws.profile or "", *(environ.get(name, "") for name in _CREDENTIALS)]
    return hashlib.sha256("\0".join(chosen).encode(errors="surrogateescape")).hexdigest()[:16]


def differences(stands: Request, asked: Request) -> list[str]:
    """What differs between the nodes that stand and those that are asked for, with both values; empty: nothing."""
    found = [
        _both(name, getattr(stands, name), getattr(asked, name)) for name in _SHAPING if _differ(stands, asked, name)
    ]
    found += [
        _both(f"aws.{name}", getattr(stands.aws, name), getattr(asked.aws, name))
        for name in stands.aws.__struct_fields__
        if name not in _NOT_SHAPING_AWS and _differ(stands.aws, asked.aws, name)
    ]
    found += [
        _both(f"fallback.{name}", getattr(stands.fallback, name), getattr(asked.fallback, name))
        for name in stands.fallback.__struct_fields__
        if _differ(stands.fallback, asked.fallback, name)
    ]
    for name in dict.fromkeys((*stands.topologies, *asked.topologies)):
        found += _topology(name, stands.topologies.get(name), asked.topologies.get(name))
    return found


def drift(stands: Request, asked: Request) -> list[str]:
    """What this process asked for differently and does not get, since the run began without it."""
    return [
        _both(name.removesuffix("_s"), getattr(stands, name), getattr(asked, name))
        for name in _differing(stands, asked, _DRIFTING)
    ]


def continued(stands: Request, asked: Request) -> Request:
    """What a keeper goes on with that adopts a run: as the run began, with the patience and profile of who asks now."""
    aws = replace(stands.aws, profile=asked.aws.profile)
    return replace(
        stands,
        timeout_s=asked.timeout_s,
        retry_until_s=asked.retry_until_s,
        release_timeout_s=asked.release_timeout_s,
        aws=aws,
    )


def _differing(one: object, other: object, names: Sequence[str]) -> list[str]:
    return [name for name in names if _differ(one, other, name)]


def _differ(one: object, other: object, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


def _topology(name: str, stands: Topology | None, asked: Topology | None) -> Iterator[str]:
    if stands is None or asked is None:
        yield _both(f"topology {name}", *_presence(stands, asked))
        return
    there = {group.name: group for group in stands.groups}
    wanted = {group.name: group for group in asked.groups}
    for group in dict.fromkeys((*there, *wanted)):
        if group not in there or group not in wanted:
            yield _both(f"{name}/{group}", *_presence(there.get(group), wanted.get(group)))
            continue
        for field in there[group].__struct_fields__:
            if _differ(there[group], wanted[group], field):
                yield _field(f"{name}/{group}.{field}", getattr(there[group], field), getattr(wanted[group], field))


def _field(name: str, stands: object, asked: object) -> str:
    # What boots a machine may hold a secret.
    return f"{name}: is another one" if name.endswith(".user_data") else _both(name, stands, asked)


def _presence(stands: object, asked: object) -> tuple[str, str]:
    return ("not there" if stands is None else "there"), ("not there" if asked is None else "there")


def _both(name: str, stands: Any, asked: Any) -> str:
    return f"{name}: {_shown(stands)}; asked: {_shown(asked)}"


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode() if not isinstance(value, str) else value
    return text if len(text) <= 80 else f"{text[:77]}..."
