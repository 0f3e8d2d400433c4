"""Operations: what the API answers to a call that changes something, while the thing itself is made or removed.

An insert is answered with 200 and an operation that runs. Whether it went well stands in the operation once that is
DONE: in ``error.errors``, in ``httpErrorStatusCode`` and ``httpErrorMessage``, or, where the call was refused outright,
in the answer's ``error``. Each of the three may stand alone: google-cloud-compute takes an operation that has only the
first for a success.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_capacity.backends.answers import read_answer
from pytest_capacity.model import ErrorPart

DONE: Final = "DONE"

#: The operation by which Compute Engine takes a spot machine back ("Spot VMs", section "Preemption process").
PREEMPTED: Final = "compute.instances.preempted"


class OperationFailed(Exception):
    """An operation that was DONE, with errors, when it was answered: a call asked again says so at once."""

    def __init__(self, method: str, operation: Mapping[str, Any]) -> None:
        self.method = method
        self.parts = error_parts(operation)
        said = "; ".join(f"{part.code}: {part.message}" for part in self.parts)
        super().__init__(f"{method}: {said}")


def is_done(operation: Mapping[str, Any]) -> bool:
    """Return whether the operation has ended, its rollback included."""
    return operation.get("status") == DONE


def error_parts(operation: Mapping[str, Any]) -> tuple[ErrorPart, ...]:
    """Return every error of an operation; none where it succeeded or still runs."""
    if not is_done(operation):
        return ()
    http = operation.get("httpErrorStatusCode")
    http = int(http) if http else None
    parts = read_answer(operation.get("error") or {}, http)
    if parts:
        return parts
    if http and http >= 400:
        words = str(operation.get("httpErrorMessage") or f"HTTP {http}")
        return (ErrorPart(code=words if "_" in words else "", message=words, http=http),)
    return ()


def answer_parts(body: object, status: int) -> tuple[ErrorPart, ...]:
    """Return every error of an answer that is no success.

    The API says the same thing twice, once with its status as the code and once with a reason: the first says nothing
    more.
    """
    parts = read_answer(body, status)
    told = tuple(part for part in parts if not part.code.isdigit())
    return told or parts or (ErrorPart(message=f"HTTP {status}", http=status),)


def warnings(operation: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the warnings of an operation that succeeded: ``DISK_SIZE_LARGER_THAN_IMAGE_SIZE: ...``."""
    told = operation.get("warnings") or ()
    return tuple(f"{one.get('code', '')}: {one.get('message', '')}" for one in told if isinstance(one, Mapping))
