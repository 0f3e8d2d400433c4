"""The emulator's API key, its config file, and the check of signatures (draft-cavage-http-signatures-08)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pytest_capacity.emulator.http import HttpRequest
from pytest_capacity.emulator.secret import Secret

TENANCY: Final = "ocid1.tenancy.oc1..aaaaaaaaemulatedtenancy"
USER: Final = "ocid1.user.oc1..aaaaaaaaemulateduser"
REGION: Final = "us-ashburn-1"

#: What a signature must cover, and what of a body too (API documentation, "Request Signatures").
#: A client that cannot set ``date`` sends ``x-date``.
_ALWAYS: Final = ("(request-target)", "host")
_DATES: Final = ("date", "x-date")
_WITH_BODY: Final = ("content-length", "content-type", "x-content-sha256")
#: Seconds by which the clocks may differ.
_SKEW: Final = 300.0
#: A security token is good for an hour.
_TOKEN_S: Final = 3600.0
_PARTS: Final = re.compile(r'(\w+)="([^"]*)"')


class Signatures:
    """A key pair of one start, and the files with which a client signs.

    ``oci.config`` has two profiles: DEFAULT with the API key, TOKEN with a security token, as ``oci session
    authenticate`` writes one.
    """

    def __init__(self, secret: Secret) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = self._key.public_key()
        der = self._public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        digest = hashlib.md5(der, usedforsecurity=False).hexdigest()
        self.fingerprint = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
        self.token = _token(secret.text)
        self.config_file = self._write(secret.folder)

    def _write(self, folder: Path) -> Path:
        key_file, token_file, config = folder / "oci.key.pem", folder / "oci.token", folder / "oci.config"
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        common = f"tenancy={TENANCY}\nregion={REGION}\nfingerprint={self.fingerprint}\nkey_file={key_file}\n"
        _private(key_file, pem)
        _private(token_file, self.token.encode())
        text = f"[DEFAULT]\nuser={USER}\n{common}\n[TOKEN]\n{common}security_token_file={token_file}\n"
        _private(config, text.encode())
        return config

    def why_wrong(self, request: HttpRequest, now: float) -> str:
        """Return what is wrong with the signature of a request; empty where nothing is."""
        given = request.headers.get("authorization", "")
        if not given.startswith("Signature "):
            return "The required information to complete authentication was not provided or was incorrect."
        parts = dict(_PARTS.findall(given))
        if parts.get("algorithm") != "rsa-sha256" or not self._knows(parts.get("keyId", "")):
            return "The key of the signature is not known here."
        covered = parts.get("headers", "").lower().split()
        dated = next((name for name in _DATES if name in covered), "")
        has_body = request.method in ("POST", "PUT", "PATCH")
        missing = [name for name in (*_ALWAYS, *(_WITH_BODY if has_body else ())) if name not in covered]
        if missing or not dated:
            missing += [] if dated else ["date"]
            return f"The signature does not cover {', '.join(missing)}."
        if has_body and not hmac.compare_digest(
            request.headers.get("x-content-sha256", ""),
            base64.b64encode(hashlib.sha256(request.body).digest()).decode(),
        ):
            return "x-content-sha256 is not the digest of the body."
        if abs(_date(request.headers.get(dated, "")) - now) > _SKEW:
            return "The date of the request is more than five minutes off."
        return self._verify(request, covered, parts.get("signature", ""))

    def _knows(self, key: str) -> bool:
        known = f"{TENANCY}/{USER}/{self.fingerprint}", f"ST${self.token}"
        return any(hmac.compare_digest(key.encode(), one.encode()) for one in known)

    def _verify(self, request: HttpRequest, covered: list[str], signature: str) -> str:
        target = f"{request.path}?{request.query_text}" if request.query_text else request.path
        lines = [
            f"(request-target): {request.method.lower()} {target}"
            if name == "(request-target)"
            else f"{name}: {request.headers.get(name, '')}"
            for name in covered
        ]
        try:
            text = "\n".join(lines).encode()
            self._public.verify(base64.b64decode(signature), text, padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return "The signature does not belong to this request."
        return ""


def _token(secret: str) -> str:
    """A token of the form that Oracle's have: what is signed here is the request, so nothing of it need be verified."""
    end = int(datetime.now(UTC).timestamp() + _TOKEN_S)
    parts = ({"alg": "RS256", "kid": "emulated"}, {"sub": USER, "tenant": TENANCY, "exp": end})
    body = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    mark = hashlib.sha256(f"{secret}{body}".encode()).digest()
    return f"{body}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"


def _date(text: str) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return 0.0


def _private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
