"""What an API server answers when it refuses: a ``Status`` object (``apimachinery/pkg/api/errors``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple


class Cause(NamedTuple):
    """One fault of a request's body."""

    reason: str
    message: str
    field: str


class StatusError(Exception):
    """A refusal. ``status`` is the object that is the answer's body."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
        if details:
            self.status["details"] = details

    @property
    def reason(self) -> str:
        """Return its machine-readable reason."""
        return str(self.status["reason"])

    @property
    def body(self) -> bytes:
        """Return the answer's body."""
        return json.dumps(self.status).encode()


class NoSuchPath(Exception):
    """The server has no such path: answered by the text ``404 page not found``, which is no JSON."""


def bad_request(message: str) -> StatusError:
    """Return the refusal of a request that cannot be read."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """Return the refusal of a caller who is not authenticated."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def not_found(group: str, plural: str, name: str) -> StatusError:
    """Return the refusal of a name that is not there."""
    full = f"{plural}.{group}" if group else plural
    return StatusError(404, "NotFound", f'{full} "{name}" not found', name=name, group=group, kind=plural)


def already_exists(group: str, plural: str, name: str) -> StatusError:
    """Return the refusal of a name that is taken."""
    full = f"{plural}.{group}" if group else plural
    return StatusError(409, "AlreadyExists", f'{full} "{name}" already exists', name=name, group=group, kind=plural)


def conflict(group: str, plural: str, name: str) -> StatusError:
    """Return the refusal of a change to a version that is not the newest."""
    full = f"{plural}.{group}" if group else plural
    words = (
        f'Operation cannot be fulfilled on {full} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    return StatusError(409, "Conflict", words, name=name, group=group, kind=plural)


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """Return the refusal of a body with these faults."""
    listed = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    words = listed[0] if len(listed) == 1 else f"[{', '.join(listed)}]"
    return StatusError(
        422,
        "Invalid",
        f'{kind}.{group} "{name}" is invalid: {words}',
        name=name,
        group=group,
        kind=kind,
        causes=[{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes],
    )


def forbidden(webhook: str, words: str) -> StatusError:
    """Return a webhook's refusal that is no list of faults (controller-runtime answers 403)."""
    return StatusError(403, "Forbidden", f'admission webhook "{webhook}" denied the request: {words}')


def gone(words: str) -> StatusError:
    """Return the refusal of a watch from too long ago."""
    return StatusError(410, "Expired", words)
