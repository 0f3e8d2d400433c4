"""How the World and the wires say no."""

from __future__ import annotations

from typing import Final

#: Codes that EC2 answers with something other than HTTP 400 (EC2 API reference, "Error codes": server errors are 5xx).
HTTP_STATUS: Final = {
    "InsufficientInstanceCapacity": 500,
    "InsufficientCapacity": 500,
    "InsufficientHostCapacity": 500,
    "InsufficientReservedInstanceCapacity": 500,
    "InternalError": 500,
    "InternalFailure": 500,
    "RequestLimitExceeded": 503,
    "Unavailable": 503,
    "ServiceUnavailable": 503,
    "AuthFailure": 401,
    "UnauthorizedOperation": 403,
    "OptInRequired": 401,
    "DryRunOperation": 412,
}


class Refusal(Exception):
    """The cloud says no: a code, its words, and the HTTP status that it comes with."""

    def __init__(self, code: str, message: str, http: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.http = http if http is not None else HTTP_STATUS.get(code, 400)
