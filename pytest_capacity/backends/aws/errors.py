"""botocore's exceptions, read by the table of AWS."""

from __future__ import annotations

from typing import Final

from botocore.exceptions import ClientError
from msgspec.structs import replace

from pytest_capacity.backends.diagnosis import Table, diagnose, packaged_table
from pytest_capacity.model import Diagnosis, Market

CLOUD: Final = "aws"


def diagnose_error(problem: BaseException, table: Table | None = None, market: Market | None = None) -> Diagnosis:
    """Return what ``problem`` means by ``table``, or by the packaged one; ``market`` is the one that was tried.

    An error that did not come from the service is looked up by the names of its classes.
    """
    table = table or packaged_table(CLOUD)
    if isinstance(problem, ClientError):
        error = problem.response.get("Error", {})
        status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        # An empty element comes out of botocore's parser as an empty mapping or None.
        found = diagnose(
            table, code=error.get("Code") or "", message=error.get("Message") or "", http=status, market=market
        )
        return replace(found, operation=problem.operation_name)
    return replace(_by_class(problem, table), by="the SDK")


def _by_class(problem: BaseException, table: Table) -> Diagnosis:
    for kind in type(problem).__mro__:
        found = diagnose(table, code=kind.__name__, message=str(problem))
        if found.kind != "unknown":
            return found
    return diagnose(table, code=type(problem).__name__, message=str(problem))


def code_of(problem: ClientError) -> str:
    """Return the service's own code."""
    return problem.response.get("Error", {}).get("Code", "")
