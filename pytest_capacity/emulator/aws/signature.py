"""Signature Version 4: whether a request is signed with this emulator's secret.

Source: IAM user guide, "Create a signed AWS API request". The access key id is anybody's choice; the secret access key
is the emulator's secret. The time of the signature is not checked, for the emulator's clock may be far ahead.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from msgspec import Struct

from pytest_capacity.emulator.http import HttpRequest
from pytest_capacity.emulator.refusal import Refusal

ALGORITHM: Final = "AWS4-HMAC-SHA256"
_HEADER: Final = re.compile(
    rf"{ALGORITHM} Credential=([^/,\s]+)/(\d+)/([^/]+)/([^/]+)/aws4_request,"
    r"\s*SignedHeaders=([^,\s]+),\s*Signature=(\w+)"
)


class Scope(Struct, frozen=True):
    """For what a request is signed."""

    key: str
    date: str
    region: str
    service: str
    signed_headers: str
    signature: str


def read_scope(request: HttpRequest) -> Scope | None:
    """Return for what a request is signed; None if it is not."""
    found = _HEADER.match(request.headers.get("Authorization", ""))
    return None if found is None else Scope(*found.groups())


def check(request: HttpRequest, secret: str) -> Refusal | None:
    """Return the refusal of a request that is not signed with the secret."""
    scope = read_scope(request)
    if scope is None:
        words = "AWS was not able to validate the provided access credentials: the request is not signed (SigV4)"
        return Refusal("AuthFailure", words)
    if hmac.compare_digest(_sign(request, scope, secret), scope.signature):
        return None
    words = "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
    words += "Access Key and signing method: the secret access key is what stands in the emulator's secret file."
    # EC2 says AuthFailure where other services say SignatureDoesNotMatch.
    return Refusal("AuthFailure" if scope.service == "ec2" else "SignatureDoesNotMatch", words)


def _sign(request: HttpRequest, scope: Scope, secret: str) -> str:
    names = scope.signed_headers.split(";")
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names)
    query = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in parse_qsl(request.query_text, True))
    canonical = "\n".join(
        (
            request.method,
            quote(unquote(request.path), safe="/-_.~"),
            "&".join(f"{key}={value}" for key, value in query),
            headers,
            scope.signed_headers,
            hashlib.sha256(request.body).hexdigest(),
        )
    )
    place = f"{scope.date}/{scope.region}/{scope.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{ALGORITHM}\n{request.headers.get('X-Amz-Date', '')}\n{place}\n{digest}"
    key = f"AWS4{secret}".encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
