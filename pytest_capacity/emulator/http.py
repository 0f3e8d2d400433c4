"""The requests and the responses on the port: plain values, the same for every cloud."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

JSON: Final = "application/json"


class Headers(Mapping[str, str]):
    """Headers by name, in whatever case. Of a header that came several times the values are joined by commas."""

    def __init__(self, pairs: Sequence[tuple[str, str]] = ()) -> None:
        self._values: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            self._values[key] = f"{self._values[key]},{value}" if key in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True)
class HttpRequest:
    """A request, with its body read to the end."""

    method: str
    #: As it was sent, still percent-encoded, without the query.
    path: str
    #: Of the query: each name with all its values.
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    #: The query as it was sent; signatures are computed over it.
    query_text: str = ""

    @classmethod
    def make(cls, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes) -> HttpRequest:
        """Return the request for a target such as ``/path?a=1``."""
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True)
        return cls(method, parts.path or "/", query, Headers(headers), body, parts.query)

    def first(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        return self.query.get(name, [default])[0]

    def form(self) -> dict[str, str]:
        """Return the body as a form."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    def json(self) -> Any:
        """Return the body as JSON, an empty body as ``{}``. Raise `ValueError` if it is none."""
        return json.loads(self.body or b"{}")


@dataclass(frozen=True)
class HttpResponse:
    """An answer. ``error`` is the cloud's code of a refusal, for the log of calls."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON})
    error: str | None = None
    #: What follows in pieces while the connection stays open, in place of ``body``. An empty piece only proves that
    #: the client is still there.
    stream: Iterator[bytes] | None = None

    @classmethod
    def of_json(
        cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None, error: str | None = None
    ) -> HttpResponse:
        """Return a value as JSON."""
        return cls(status, json.dumps(value).encode(), {"Content-Type": JSON, **(headers or {})}, error)
