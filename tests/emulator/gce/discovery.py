"""Google's own description of the API (the discovery document), and what of a call is not as it says.

The document comes with google-api-python-client. It says of every method its verb, path, query and bodies, and of every
body the names, types, formats and enumerations; of most fields it does not say whether they are required.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

_INTEGERS: Final = re.compile(r"-?\d+")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_TIMES: Final = frozenset({"creationTimestamp", "insertTime", "endTime", "deleteAtTime", "terminationTime"})
_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
}


@cache
def document() -> Mapping[str, Any]:
    """The discovery document of v1."""
    path = files("googleapiclient") / "discovery_cache" / "documents" / "compute.v1.json"
    read: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


@cache
def _methods() -> list[tuple[str, str, re.Pattern[str], Mapping[str, Any]]]:
    found = []
    for collection, resource in document()["resources"].items():
        for name, method in resource.get("methods", {}).items():
            pattern = re.compile("/compute/v1/" + re.sub(r"\{\+?(\w+)\}", r"(?P<\1>[^/]+)", method["path"]))
            found.append((f"{collection}.{name}", method["httpMethod"], pattern, method))
    return found


def method_of(verb: str, url: str) -> tuple[str, Mapping[str, Any]] | None:
    """Name and description of the method that a request is for."""
    path = urlsplit(url).path
    hits = [
        (name, method) for name, wanted, pattern, method in _methods() if wanted == verb and pattern.fullmatch(path)
    ]
    # ``images/family/F`` and the like are longer than what they could be taken for.
    return max(hits, key=lambda hit: len(hit[1]["path"])) if hits else None


def describe(name: str) -> Mapping[str, Any]:
    """The description of a method by its name: ``instances.insert``."""
    collection, _, method = name.partition(".")
    found: Mapping[str, Any] = document()["resources"][collection]["methods"][method]
    return found


def wrong_request(verb: str, url: str, body: object) -> list[str]:
    """What of a request is not as described."""
    found = method_of(verb, url)
    if found is None:
        return [f"no method has {verb} {urlsplit(url).path}"]
    name, method = found
    known = {key for key, one in method.get("parameters", {}).items() if one["location"] == "query"}
    extra = set(parse_qs(urlsplit(url).query)) - known - set(document()["parameters"])
    faults = [f"{name}: no query parameter {key!r}" for key in sorted(extra)]
    if body is None:
        return faults
    if "request" not in method:
        return [*faults, f"{name}: has a body"]
    return [*faults, *(f"{name}: {one}" for one in wrong_value(body, {"$ref": method["request"]["$ref"]}, "body"))]


def wrong_answer(verb: str, url: str, status: int, body: object) -> list[str]:
    """What of an answer is not as described."""
    found = method_of(verb, url)
    if found is None:
        return []
    name, method = found
    if status >= 400:
        return [f"{name}: {one}" for one in _wrong_error(status, body)]
    return [f"{name}: {one}" for one in wrong_value(body, {"$ref": method["response"]["$ref"]}, "answer")]


def _wrong_error(status: int, body: object) -> Iterator[str]:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        yield f"no error in {body!r}"
    elif error.get("code") != status or not error.get("message") or not error.get("errors"):
        yield f"not the form of an error with status {status}: {error!r}"
    elif not all({"message", "domain", "reason"} <= set(one) for one in error["errors"]):
        yield f"an error without message, domain or reason: {error!r}"


def wrong_value(value: object, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    """What of a value is not as its schema says, with where it stands."""
    if "$ref" in schema:
        schema = document()["schemas"][schema["$ref"]]
    wanted = schema.get("type", "any")
    if wanted == "any":
        return
    right = _TYPES[wanted]
    if not isinstance(value, right) or (wanted in ("integer", "number") and isinstance(value, bool)):
        yield f"{at}: {value!r} is no {wanted}"
    elif wanted == "object":
        assert isinstance(value, dict)
        yield from _wrong_object(value, schema, at)
    elif wanted == "array":
        assert isinstance(value, list)
        for number, item in enumerate(value):
            yield from wrong_value(item, schema["items"], f"{at}[{number}]")
    elif wanted == "string":
        assert isinstance(value, str)
        yield from _wrong_text(value, schema, at)


def _wrong_object(value: dict[str, Any], schema: Mapping[str, Any], at: str) -> Iterator[str]:
    fields, others = schema.get("properties", {}), schema.get("additionalProperties")
    for key, one in value.items():
        if key in fields:
            yield from wrong_value(one, fields[key], f"{at}.{key}")
        elif others is not None:
            yield from wrong_value(one, others, f"{at}.{key}")
        else:
            yield f"{at}: no field {key!r}"


def _wrong_text(value: str, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {', '.join(schema['enum'][:8])} ..."
    if schema.get("format") in ("int64", "uint64") and not _INTEGERS.fullmatch(value):
        yield f"{at}: {value!r} is no {schema['format']}"
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        yield f"{at}: {value!r} is not like {schema['pattern']}"
    if at.rpartition(".")[2] in _TIMES and not _TIME.fullmatch(value):
        yield f"{at}: {value!r} is no RFC 3339 time"
