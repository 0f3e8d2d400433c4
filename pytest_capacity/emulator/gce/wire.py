"""Compute Engine's JSON: links, times, ids, errors, filters and pages."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pytest_capacity.emulator.gce.catalogue import PROJECT
from pytest_capacity.emulator.http import HttpRequest, HttpResponse
from pytest_capacity.emulator.refusal import Refusal

#: What every link begins with, whatever the address of the API is.
BASE: Final = "https://www.googleapis.com/compute/v1/"

#: RFC 1035, as the API requires of every name.
NAME: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")

#: Things on one page, unless the call sets another number, and at most.
PAGE: Final = 500

#: The HTTP status of a reason, or of an operation's error code.
STATUS: Final[Mapping[str, int]] = {
    "invalid": 400,
    "badRequest": 400,
    "required": 400,
    "resourceInUseByAnotherResource": 400,
    "resourceNotReady": 400,
    "authError": 401,
    "forbidden": 403,
    "quotaExceeded": 403,
    "rateLimitExceeded": 403,
    "notFound": 404,
    "alreadyExists": 409,
    "conditionNotMet": 412,
    "backendError": 503,
    "internalError": 500,
    "QUOTA_EXCEEDED": 403,
    "CONDITION_NOT_MET": 412,
    "RESOURCE_NOT_FOUND": 404,
    "ZONE_RESOURCE_POOL_EXHAUSTED": 503,
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS": 503,
    "RESOURCE_POOL_EXHAUSTED": 503,
    "VM_MIN_COUNT_NOT_REACHED": 503,
    "INTERNAL_ERROR": 500,
}
_DOMAINS: Final = {"quotaExceeded": "usageLimits", "rateLimitExceeded": "usageLimits"}


def link(path: str) -> str:
    """Return the self link of a path below the project: ``zones/us-central1-a``."""
    return f"{BASE}projects/{PROJECT}/{path}"


def last(text: object) -> str:
    """Return the name at the end of a link."""
    return str(text or "").rpartition("/")[2]


def path_of(text: object) -> str:
    """Return a link less its host: ``projects/P/zones/Z/...``; what is below a project as it stands."""
    return re.sub(r"^https?://[^/]+/compute/[^/]+/", "", str(text or "")).strip("/")


def time_text(seconds: float) -> str:
    """Return a time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def read_time(text: object) -> float:
    """Return the seconds since the epoch of an RFC 3339 time. Raise `Refusal`."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        raise invalid("resource", str(text), "must be a date-time") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def number_id(number: int) -> str:
    """Return the numeric id of the thing with that number, as JSON has it: a text."""
    return str(10**18 + number)


def fixed_id(name: str) -> str:
    """Return the numeric id of what is there from the start."""
    return str(int(hashlib.sha256(name.encode()).hexdigest()[:12], 16) + 10**15)


def fingerprint(value: object) -> str:
    """Return the fingerprint of labels, tags or metadata."""
    return base64.b64encode(hashlib.sha256(repr(value).encode()).digest()[:8]).decode()


def invalid(field: str, value: str, why: str) -> Refusal:
    """Return the refusal of a value."""
    return Refusal("invalid", f"Invalid value for field '{field}': '{value}'. {why}")


def missing(path: str) -> Refusal:
    """Return the refusal of a thing that is not there."""
    return Refusal("notFound", f"The resource '{path}' was not found")


def whole(value: object, field: str, least: int = 0) -> int:
    """Return an int64, which JSON has as a text. Raise `Refusal`."""
    try:
        number = int(str(value))
    except ValueError:
        raise invalid(field, str(value), "must be a number") from None
    if number < least:
        raise invalid(field, str(value), f"Value must be at least {least}.")
    return number


def error_answer(code: str, message: str, status: int | None = None) -> HttpResponse:
    """Return an answer that refuses a call."""
    http = status or STATUS.get(code, 503 if code.isupper() else 400)
    reason = {"message": message, "domain": _DOMAINS.get(code, "global"), "reason": code}
    body = {"error": {"code": http, "message": message, "errors": [reason]}}
    return HttpResponse.of_json(body, http, {"Vary": "Origin"}, code)


Item = Mapping[str, Any]

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<open>\()|(?P<close>\))|(?P<op>!=|>=|<=|=|:|<|>)|(?P<quoted>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')|"
    r"(?P<word>[^\s()=!<>:\"']+))"
)
_OPERATORS: Final = frozenset({"=", "!=", ":", "<", ">", "<=", ">=", "eq", "ne"})


class Filter:
    """A filter of the API: ``labels.run="x"``, ``name eq "pc-.*"``, ``(a) OR (b)``, ``-x``, ``NOT x``.

    Terms beside each other, with or without AND, must all hold. ``eq`` and ``ne`` take regular expressions for the
    whole value; ``=`` is equality, with ``*`` for anything; ``:`` is containment.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text.rstrip()):
            found = _TOKEN.match(text, at)
            if found is None or not found.lastgroup:
                raise self._bad()
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self._at = 0
        self._test = self._any() if self._tokens else (lambda item: True)
        if self._at < len(self._tokens):
            raise self._bad()

    def __call__(self, item: Item) -> bool:
        """Return whether an item passes."""
        return self._test(item)

    def _bad(self) -> Refusal:
        return invalid("filter", self._text, "Invalid list filter expression.")

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self) -> tuple[str, str]:
        token = self._next()
        self._at += 1
        return token

    def _any(self) -> Callable[[Item], bool]:
        tests = [self._all()]
        while self._next() == ("word", "OR"):
            self._take()
            tests.append(self._all())
        return lambda item: any(test(item) for test in tests)

    def _all(self) -> Callable[[Item], bool]:
        tests = [self._one()]
        while True:
            kind, text = self._next()
            if (kind, text) == ("word", "AND"):
                self._take()
            elif kind not in ("open", "word") or text == "OR":
                return lambda item: all(test(item) for test in tests)
            tests.append(self._one())

    def _one(self) -> Callable[[Item], bool]:
        kind, text = self._take()
        if kind == "open":
            test = self._any()
            if self._take()[0] != "close":
                raise self._bad()
            return test
        if kind != "word":
            raise self._bad()
        if text in ("NOT", "-"):
            inner = self._one()
            return lambda item: not inner(item)
        operator = self._take()[1]
        value_kind, value = self._take()
        if operator not in _OPERATORS or value_kind not in ("word", "quoted"):
            raise self._bad()
        # Values such as times and links hold signs that would end a word.
        while value_kind == "word" and self._next()[0] == "op":
            value += self._take()[1] + self._take()[1]
        return _comparison(text, operator, value[1:-1] if value_kind == "quoted" else value, self._bad)


def _comparison(field: str, operator: str, wanted: str, bad: Callable[[], Refusal]) -> Callable[[Item], bool]:
    if operator in ("eq", "ne"):
        try:
            pattern = re.compile(wanted)
        except re.error:
            raise bad() from None
        return lambda item: bool(pattern.fullmatch(_value(item, field))) == (operator == "eq")
    if operator in ("=", "!=", ":"):
        glob = re.compile(".*".join(re.escape(part) for part in wanted.split("*")))

        def test(item: Item) -> bool:
            value = _value(item, field)
            if operator == ":" and wanted == "*":
                return bool(value)
            hit = bool(glob.fullmatch(value)) or (operator == ":" and wanted.lower() in value.lower())
            return hit == (operator != "!=")

        return test
    signs: dict[str, Callable[[str, str], bool]] = {
        "<": lambda a, b: a < b,
        ">": lambda a, b: a > b,
        "<=": lambda a, b: a <= b,
        ">=": lambda a, b: a >= b,
    }
    return lambda item: signs[operator](_value(item, field), wanted)


def _value(item: Item, field: str) -> str:
    value: Any = item
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def list_answer(request: HttpRequest, kind: str, items: Iterable[Item], at: str) -> HttpResponse:
    """Return a list of one scope: filtered, ordered, paged."""
    page, following = _page(request, sorted(items, key=lambda item: str(item.get("name"))))
    return HttpResponse.of_json(
        {"kind": kind, "id": f"projects/{PROJECT}/{at}", "items": page, "selfLink": link(at), **following}
    )


def aggregated_answer(
    request: HttpRequest, kind: str, key: str, items: Mapping[str, Sequence[Item]], at: str
) -> HttpResponse:
    """Return a list of all scopes (``zones/us-central1-a``), with a warning in those that are empty."""
    flat = [{"scope": scope, **item} for scope in sorted(items) for item in items[scope]]
    page, following = _page(request, flat)
    scopes: dict[str, Any] = {
        scope: {
            "warning": {
                "code": "NO_RESULTS_ON_PAGE",
                "message": f"There are no results for scope '{scope}' on this page.",
                "data": [{"key": "scope", "value": scope}],
            }
        }
        for scope in items
    }
    for item in page:
        scope = item["scope"]
        if key not in scopes[scope]:
            scopes[scope] = {key: []}
        scopes[scope][key].append({name: value for name, value in item.items() if name != "scope"})
    return HttpResponse.of_json(
        {"kind": kind, "id": f"projects/{PROJECT}/{at}", "items": scopes, "selfLink": link(at), **following}
    )


def _page(request: HttpRequest, items: Iterable[Item]) -> tuple[list[Item], dict[str, str]]:
    passes = Filter(request.first("filter"))
    found = [item for item in items if passes(item)]
    if request.first("orderBy") == "creationTimestamp desc":
        found.sort(key=lambda item: str(item.get("creationTimestamp") or item.get("insertTime")), reverse=True)
    most = min(whole(request.first("maxResults", str(PAGE)), "maxResults"), PAGE) or PAGE
    begin = 0
    if token := request.first("pageToken"):
        try:
            begin = int(base64.urlsafe_b64decode(token).decode())
        except ValueError:
            raise invalid("pageToken", token, "The page token is invalid.") from None
    page = found[begin : begin + most]
    if begin + most >= len(found):
        return page, {}
    return page, {"nextPageToken": base64.urlsafe_b64encode(str(begin + most).encode()).decode()}
