"""Errors of the API, and of the way to it, read by the table of Compute Engine."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from pytest_capacity.backends.diagnosis import Table, diagnose_exception, diagnose_parts
from pytest_capacity.backends.gce.operations import OperationFailed, answer_parts
from pytest_capacity.backends.gce.session import ApiError
from pytest_capacity.model import Diagnosis, Market, Piece

CLOUD: Final = "gce"


def diagnose_error(problem: BaseException, table: Table, market: Market | None = None) -> Diagnosis:
    """Return what ``problem`` means; ``market`` is the one that was tried.

    An error that did not come from the API is looked up by the names of its classes.
    """
    if isinstance(problem, ApiError):
        found = diagnose_parts(table, answer_parts(problem.body, problem.status), market)
        return replace(found, operation=problem.method)
    if isinstance(problem, OperationFailed):
        return replace(diagnose_parts(table, problem.parts, market), operation=problem.method)
    return diagnose_exception(table, problem)


def market_of(piece: Piece | None) -> Market | None:
    """Return the market that a piece is for; None where it is for none, or where there is no piece."""
    return piece.market or None if piece is not None else None
