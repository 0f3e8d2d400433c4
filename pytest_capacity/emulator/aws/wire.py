"""EC2's query protocol: forms in, XML out, both by botocore's description of the API."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from xml.sax.saxutils import escape

from moto.core.parse import EC2QueryParser
from moto.core.utils import get_service_model

from pytest_capacity.emulator.refusal import Refusal

NAMESPACE: Final = "http://ec2.amazonaws.com/doc/2016-11-15/"

#: What older descriptions of the API do not have everywhere yet; an SDK that old would not read it.
_NEWER: Final = frozenset({"AvailabilityZoneId"})


def parse(operation: str, form: Mapping[str, str]) -> dict[str, Any]:
    """Return a call's parameters, typed as in botocore. Refuse an unknown operation or a missing parameter."""
    model = get_service_model("ec2")
    if operation not in model.operation_names:
        raise Refusal("InvalidAction", f"The action {operation} is not valid for this web service.")
    shape = model.operation_model(operation).input_shape
    try:
        params: dict[str, Any] = EC2QueryParser(model.operation_model(operation)).parse({"values": form})
    except (ValueError, OverflowError) as problem:
        raise Refusal("InvalidParameterValue", f"A parameter cannot be read: {problem}") from None
    for name in shape.required_members if shape is not None else ():
        if name not in params:
            raise Refusal("MissingParameter", f"The request must contain the parameter {name}")
    for name in form:
        if name not in ("Action", "Version") and not _known(shape, name.split(".")):
            raise Refusal("UnknownParameter", f"The parameter {name} is not recognized")
    return params


def _known(shape: Any, path: Sequence[str]) -> bool:
    """Return whether a form's key (``TagSpecification.1.Tag.1.Key``) is in the API's description."""
    if not path or shape is None:
        return not path
    if shape.type_name == "list":
        return path[0].isdigit() and _known(shape.member, path[1:])
    if shape.type_name != "structure":
        return False
    for name, member in shape.members.items():
        told = member.serialization.get("queryName") or member.serialization.get("name", name)
        if told[0].upper() + told[1:] == path[0]:
            return _known(member, path[1:])
    return False


def render(operation: str, answer: Mapping[str, Any], request_id: str) -> bytes:
    """Return the XML of an answer. A key that is not in the API is an error of the emulator: `KeyError`."""
    shape = get_service_model("ec2").operation_model(operation).output_shape
    body = "" if shape is None else _structure(shape, answer)
    tag = f"{operation}Response"
    text = f'<{tag} xmlns="{NAMESPACE}"><requestId>{request_id}</requestId>{body}</{tag}>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def render_refusal(refusal: Refusal, request_id: str) -> bytes:
    """Return the XML of a refusal."""
    error = f"<Error><Code>{escape(refusal.code)}</Code><Message>{escape(refusal.message)}</Message></Error>"
    text = f"<Response><Errors>{error}</Errors><RequestID>{request_id}</RequestID></Response>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def timestamp(seconds: float) -> datetime:
    """Return a time of the World in the type that the renderer takes."""
    return datetime.fromtimestamp(seconds, UTC)


def _structure(shape: Any, value: Mapping[str, Any]) -> str:
    parts = []
    for name, one in value.items():
        if name in _NEWER and name not in shape.members:
            continue
        member = shape.members[name]
        if one is not None:
            tag = member.serialization.get("name", name)
            parts.append(f"<{tag}>{_value(member, one)}</{tag}>")
    return "".join(parts)


def _value(shape: Any, value: Any) -> str:
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, value)
    if kind == "list":
        tag = shape.member.serialization.get("name", "item")
        return "".join(f"<{tag}>{_value(shape.member, one)}</{tag}>" for one in value)
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "timestamp":
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"
    if kind == "blob":
        return base64.b64encode(value).decode("ascii")
    return escape(str(value))
