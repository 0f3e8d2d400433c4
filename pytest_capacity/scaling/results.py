"""The immediate answer to a request for a change: the keys of the seeds' service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pytest_capacity.scaling.model import OpsRequest

#: The message, as the seeds' service says it.
CREATED: Final = "OpsRequest created, reconciler will monitor progress"
PATCHED: Final = "Storage patched, reconciler will monitor the volumes"


def result_of(requests: Sequence[OpsRequest]) -> dict[str, Any]:
    """Return name, uid and type of the first request, and the requested change; of several their names and types."""
    first = requests[0]
    result: dict[str, Any] = {
        "ops_request_name": first.name,
        "ops_request_uid": first.uid,
        "ops_type": first.kind,
        "message": PATCHED if first.via == "patch" else CREATED,
    }
    for request in requests:
        result |= request.wanted
    if len(requests) > 1:
        result["ops_request_names"] = [request.name for request in requests]
        result["ops_types"] = [request.kind for request in requests]
    return result
