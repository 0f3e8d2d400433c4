"""Resource Manager's refusals and azure-core's exceptions, read by the table of Azure."""

from __future__ import annotations

import re
from typing import Final

from msgspec.structs import replace

from pytest_capacity.backends.azure.session import ArmError
from pytest_capacity.backends.diagnosis import Table, diagnose_exception, diagnose_parts, packaged_table
from pytest_capacity.model import Diagnosis, Market

#: A resource group that is on its way out takes all that is in it along.
GOING: frozenset[str] = frozenset({"ResourceGroupBeingDeleted"})

#: What azure-identity says of each credential that it tried: a line, which may go on below.
_TRIED: Final = re.compile(r"^\t(\w+): (?:\1 )?(?:authentication unavailable\. )?(.+)", re.MULTILINE)


def diagnose_error(problem: BaseException, table: Table | None = None, market: Market | None = None) -> Diagnosis:
    """Return what ``problem`` means by ``table``, or by the packaged one; ``market`` is the one that was tried.

    An error that did not come from Azure is looked up by the names of its classes.
    """
    table = table or packaged_table("azure")
    if isinstance(problem, ArmError):
        return replace(diagnose_parts(table, problem.parts, market), operation=problem.operation)
    return diagnose_exception(table, problem, _without_guides(str(problem)))


def _without_guides(words: str) -> str:
    """Return the words of an exception; where many credentials were tried, the first sentence about each of them.

    azure-identity writes two to four thousand characters, most of them addresses of guides.
    """
    tried = [f"{name} ({re.split(r'[.] |[.]$', said)[0]})" for name, said in _TRIED.findall(words)]
    return f"none of these gave a token: {', '.join(tried)}" if tried else words


def is_gone(error: ArmError) -> bool:
    """Return whether the refusal means that the thing is not there, or is deleted with its resource group."""
    return error.http == 404 or bool(error.codes & GOING)
