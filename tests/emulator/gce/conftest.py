"""Calls as a client would make them, without one; their answers are compared with Google's description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.emulated import Emulator
from tests.emulator.gce.calls import Call
from tests.emulator.gce.discovery import wrong_answer
from tests.emulator.gce.wire import Exchange, recorded


@pytest.fixture
def exchanges() -> Iterator[list[Exchange]]:
    """What goes over the wire; every answer is as Google describes it, whatever was asked."""
    with recorded() as exchanges:
        yield exchanges
    assert not [fault for one in exchanges for fault in wrong_answer(one.verb, one.url, one.status, one.answer)]


@pytest.fixture
def call(emulator: Emulator) -> Call:
    """Makes one call below the project; the decoded answer, or, with ``refused``, its status, reason and words."""

    def make(verb: str, path: str, body: Any = None, refused: bool = False, **query: str) -> Any:
        url = f"{emulator.url}/compute/v1/projects/emulated-project/{path}".rstrip("/")
        headers = {"Authorization": f"Bearer {emulator.secret}"}
        answer = requests.request(verb, url, params=query, json=body, headers=headers, timeout=60)
        assert (answer.status_code >= 400) == refused, answer.text
        told = answer.json()
        return (answer.status_code, told["error"]["errors"][0]["reason"], told["error"]["message"]) if refused else told

    return make
