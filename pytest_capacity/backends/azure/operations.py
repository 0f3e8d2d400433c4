"""Long operations: the two ways in which Resource Manager reports the state of one.

``Azure-AsyncOperation``: a body with a ``status``, answered 200 whether it goes on, has succeeded or has failed.
``Location``: 202 while it goes on, then the answer that the call would have had; a failure has its HTTP status.
https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from pytest_capacity.backends.answers import read_answer
from pytest_capacity.backends.azure.session import Answer, Arm, ArmError
from pytest_capacity.model import ErrorPart

_ENDS: Final = {"succeeded": "succeeded", "failed": "failed", "canceled": "failed", "cancelled": "failed"}

#: A poll of an operation may be refused like any call; these refusals are not about the operation itself.
_OF_THE_POLL: Final = frozenset({401, 403, 408, 429, 500, 502, 503, 504})


class Outcome(Struct, frozen=True):
    """The state of an operation. ``forgotten``: Azure has no record of it any more; only the thing itself shows it."""

    state: Literal["running", "succeeded", "failed", "forgotten"]
    parts: tuple[ErrorPart, ...] = ()
    retry_after: float = 0.0


def poll(arm: Arm, url: str) -> Outcome:
    """Return the state of the operation at ``url``, by one call. Raise errors that are not about the operation."""
    try:
        answer = arm.follow(url)
    except ArmError as error:
        if error.http in _OF_THE_POLL:
            raise
        return Outcome("forgotten") if error.http == 404 else Outcome("failed", error.parts)
    return read_outcome(answer)


def read_outcome(answer: Answer) -> Outcome:
    """Return the state in the answer to a poll."""
    status = answer.body.get("status")
    if isinstance(status, str):
        end = _ENDS.get(status.lower())
        if end == "failed":
            wrapped = answer.body.get("error") or {"code": status, "message": f"the operation has ended as {status}"}
            return Outcome("failed", read_answer({"error": wrapped}, answer.status))
        return Outcome("succeeded" if end else "running", (), answer.retry_after)
    return Outcome("running" if answer.status == 202 else "succeeded", (), answer.retry_after)
