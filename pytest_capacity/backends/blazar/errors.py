"""Errors of Blazar and Nova, and of the way to them, read by the table of OpenStack."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from pytest_capacity.backends.answers import read_answer
from pytest_capacity.backends.blazar.session import ApiError
from pytest_capacity.backends.diagnosis import Table, diagnose, diagnose_parts
from pytest_capacity.model import Diagnosis, ErrorPart, Market

CLOUD: Final = "blazar"


def diagnose_error(problem: BaseException, table: Table, market: Market | None = None) -> Diagnosis:
    """Return what ``problem`` means. One that did not come from a service is looked up by the names of its classes."""
    if isinstance(problem, ApiError):
        parts = read_answer(problem.body, problem.status) or (ErrorPart(str(problem.status), "", problem.status),)
        return replace(diagnose_parts(table, parts, market), operation=problem.operation)
    for kind in type(problem).__mro__:
        found = diagnose(table, code=kind.__name__, message=str(problem))
        if found.kind != "unknown":
            return replace(found, by="the SDK")
    return replace(diagnose(table, code=type(problem).__name__, message=str(problem)), by="the SDK")
