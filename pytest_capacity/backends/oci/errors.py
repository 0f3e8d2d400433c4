"""The SDK's exceptions, read by the table of OCI."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace
from oci.exceptions import ServiceError

from pytest_capacity.backends.diagnosis import Table, diagnose, diagnose_exception
from pytest_capacity.model import Diagnosis, Market

CLOUD: Final = "oci"

#: What Oracle answers for a thing that is not there, and for one that we may not see: it does not reveal which.
_HIDDEN: Final = 404


def diagnose_error(problem: BaseException, table: Table, market: Market | None = None) -> Diagnosis:
    """Return what ``problem`` means; what did not come from the service is looked up by the names of its classes."""
    if isinstance(problem, ServiceError):
        code, words = str(problem.code or ""), str(problem.message or "")
        found = diagnose(table, code=code, message=words, http=problem.status, market=market)
        return replace(found, operation=problem.operation_name or "")
    return diagnose_exception(table, problem, _words(problem), market)


def _words(problem: BaseException) -> str:
    """Return the message: the SDK wraps what `requests` raised, and adds a link to its handbook."""
    inner = problem.args[0] if problem.args and isinstance(problem.args[0], BaseException) else problem
    return str(inner.args[0] if inner.args else inner)


def is_hidden(problem: BaseException) -> bool:
    """Return whether Oracle answers that a thing does not exist, or is not visible to us."""
    return isinstance(problem, ServiceError) and problem.status == _HIDDEN
