"""The parts that the AWS services share here."""

from __future__ import annotations

from typing import Protocol

from pytest_capacity.emulator.face import Answer, Asked
from pytest_capacity.emulator.http import HttpRequest, HttpResponse
from pytest_capacity.emulator.refusal import Refusal


class Service(Protocol):
    """One service, for all regions."""

    def read(self, request: HttpRequest, region: str) -> Asked:
        """Return the call's parts."""
        ...

    def do(self, asked: Asked) -> Answer:
        """Carry out the call."""
        ...

    def refuse(self, refusal: Refusal, asked: Asked) -> HttpResponse:
        """Return a refusal, in AWS's words already, in the service's form."""
        ...
