"""What goes over the wire between a client that uses requests and the emulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from msgspec import Struct

from tests.emulator.gce.discovery import method_of, wrong_answer, wrong_request


class Exchange(Struct, frozen=True):
    """A request and its answer."""

    verb: str
    url: str
    body: Any
    status: int
    answer: Any

    @property
    def method(self) -> str:
        """The name of the method."""
        found = method_of(self.verb, self.url)
        return found[0] if found else ""

    @property
    def faults(self) -> list[str]:
        """What of it is not as Google describes it."""
        wrong = wrong_answer(self.verb, self.url, self.status, self.answer)
        return [*wrong_request(self.verb, self.url, self.body), *wrong]


@contextmanager
def recorded() -> Iterator[list[Exchange]]:
    """Every exchange of this process by requests; they happen as they would without."""
    exchanges: list[Exchange] = []
    send = requests.Session.send

    def sent(self: requests.Session, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        answer = send(self, request, **more)
        if "/compute/" not in str(request.url):
            return answer
        body = json.loads(request.body) if request.body else None
        told = answer.json() if answer.content else None
        exchanges.append(Exchange(str(request.method), str(request.url), body, answer.status_code, told))
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.Session, "send", sent)
        yield exchanges
