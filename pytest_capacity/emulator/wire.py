"""A call on its way through the emulator: what was asked, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct, field

from pytest_capacity.emulator.faults import Strike
from pytest_capacity.emulator.refusal import Refusal


class Asked(Struct, frozen=True, kw_only=True):
    """One call as it came in, read as far as the log and the faults need it."""

    operation: str
    region: str
    path: str = "/"
    form: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    zone: str | None = None
    type: str | None = None
    market: str | None = None
    strike: Strike = Strike()
    #: What is wrong with it already.
    refusal: Refusal | None = None


class Answer(Struct, frozen=True):
    """What is sent back."""

    status: int
    body: bytes
    error: str | None = None
    content_type: str = "text/xml;charset=UTF-8"


class Cloud(Protocol):
    """One service's wire."""

    @property
    def name(self) -> str:
        """The cloud that the log of calls names."""
        ...

    def ask(self, region: str, path: str, body: bytes) -> Asked:
        """Read a call, and see what the weather has for it."""
        ...

    def do(self, asked: Asked) -> Answer:
        """Let the call happen, as a whole or not at all."""
        ...
