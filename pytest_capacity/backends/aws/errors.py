"""botocore's exceptions, read by the table of AWS."""

from __future__ import annotations

import json
import re
from typing import Final

from botocore.exceptions import ClientError
from msgspec.structs import replace

from pytest_capacity.backends.aws.profiles import MfaCodeNeededError
from pytest_capacity.backends.aws.regions import ClosedRegionError, UnknownRegionError
from pytest_capacity.backends.diagnosis import Table, diagnose, diagnose_exception, packaged_table
from pytest_capacity.model import Diagnosis, Market

CLOUD: Final = "aws"

_ENCODED: Final = re.compile(r"Encoded authorization failure message: ([\w=+/-]+)")
_HIDDEN: Final = "(why is encoded; sts:DecodeAuthorizationMessage would tell)"
#: Values of a decoded message that are shown: there may be dozens, and those of the policy stand among the first.
_CONDITIONS: Final = 8


def diagnose_error(
    problem: BaseException, table: Table | None = None, market: Market | None = None, decoded: str = ""
) -> Diagnosis:
    """Return what ``problem`` means by ``table``, or by the packaged one; ``market`` is the one that was tried.

    ``decoded`` is what stands in the place of its encoded authorization message.

    An error that did not come from the service is looked up by the names of its classes.
    """
    table = table or packaged_table(CLOUD)
    if isinstance(problem, ClientError):
        error = problem.response.get("Error", {})
        status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        # An empty element comes out of botocore's parser as an empty mapping or None.
        found = diagnose(
            table,
            code=error.get("Code") or "",
            message=decoded_words(error.get("Message") or "", decoded),
            http=status,
            market=market,
        )
        return replace(found, operation=problem.operation_name)
    found = diagnose_exception(table, problem)
    if isinstance(problem, MfaCodeNeededError | ClosedRegionError):
        found = replace(found, remedy=found.remedy.format(**problem.kwargs))
    if isinstance(problem, ClosedRegionError | UnknownRegionError):
        found = replace(found, by="its other regions")
    return found


def encoded_reason(problem: object) -> str:
    """Return the encoded message in which EC2 hides why a policy denied a call; empty where there is none."""
    message = problem.response.get("Error", {}).get("Message") if isinstance(problem, ClientError) else ""
    found = _ENCODED.search(message or "")
    return found[1] if found else ""


def decoded_words(words: str, decoded: str) -> str:
    """Return ``words`` with what the encoded message says in its place, or without it where that is not known."""
    return _ENCODED.sub(f"({_summary(decoded)})" if decoded else _HIDDEN, words)


def _summary(decoded: str) -> str:
    """Return the statement, the action, and what the policy looked at, of a decoded message (JSON)."""
    try:
        reason = json.loads(decoded)
        context = reason.get("context", {})
        named = [one.get("statementId", "") for one in reason.get("matchedStatements", {}).get("items", [])]
        looked_at = [
            f"{one['key']}={','.join(value['value'] for value in one.get('values', {}).get('items', [])) or 'none'}"
            for one in context.get("conditions", {}).get("items", [])
        ]
    except (ValueError, KeyError, AttributeError, TypeError):
        return decoded
    parts = {
        "statement": ", ".join(filter(None, named)),
        "action": context.get("action", ""),
        "resource": context.get("resource", ""),
        "of the request": ", ".join(looked_at[:_CONDITIONS]),
    }
    return "decoded: " + "; ".join(f"{name} {value}" for name, value in parts.items() if value)


def code_of(problem: ClientError) -> str:
    """Return the service's own code."""
    return problem.response.get("Error", {}).get("Code", "")
