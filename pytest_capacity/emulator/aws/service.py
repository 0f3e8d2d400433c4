"""The parts that the AWS services share here: their interface, and the form of those that take JSON."""

from __future__ import annotations

from typing import ClassVar, Protocol

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


class JsonService:
    """A service that takes JSON 1.1, the name of the operation in the header ``X-Amz-Target``; it only answers reads.

    A subclass names its operations, and the code and the key with which the service refuses.
    """

    operations: ClassVar[tuple[str, ...]]
    unknown: ClassVar[str]
    message_key: ClassVar[str]

    def read(self, request: HttpRequest, region: str) -> Asked:
        """Return the call's parts."""
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        asked = Asked(operation=operation, request=request, region=region, writes=False)
        try:
            params = request.json()
        except ValueError:
            params = None
        if operation not in self.operations or not isinstance(params, dict):
            words = f"The emulator knows {', '.join(self.operations)}, with a JSON object; not {operation}."
            asked.refusal = Refusal(self.unknown, words)
        else:
            asked.params = params
        return asked

    def refuse(self, refusal: Refusal, asked: Asked) -> HttpResponse:
        """Return a refusal in the service's form."""
        told = {"__type": refusal.code, self.message_key: refusal.message}
        return HttpResponse.of_json(told, refusal.http or 400, error=refusal.code)
