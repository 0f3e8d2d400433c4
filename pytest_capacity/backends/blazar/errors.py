"""Errors of Blazar and Nova, and of the way to them, read by the table of OpenStack."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from pytest_capacity.backends.answers import read_answer
from pytest_capacity.backends.blazar.session import ApiError
from pytest_capacity.backends.diagnosis import Table, diagnose_exception, diagnose_parts
from pytest_capacity.model import Diagnosis, ErrorPart, Market

CLOUD: Final = "blazar"


def diagnose_error(problem: BaseException, table: Table, market: Market | None = None) -> Diagnosis:
    """Return what ``problem`` means. One that did not come from a service is looked up by the names of its classes."""
    if isinstance(problem, ApiError):
        parts = read_answer(problem.body, problem.status) or (ErrorPart(str(problem.status), "", problem.status),)
        return replace(diagnose_parts(table, parts, market), operation=problem.operation)
    return diagnose_exception(table, problem)
