"""The emulator's API key, its config file, and the check of signatures (draft-cavage-http-signatures-08).

Security tokens are JSON Web Tokens that Oracle has signed, with the public half of the key that signs the requests in
their claim ``jwk``. Here the emulator's key stands for Oracle's: a test that plays the federation service of instance
principals signs with ``oci.key.pem``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

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
        self.token = _token(self._key)
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
        key = self._key_of(parts.get("keyId", ""), now) if parts.get("algorithm") == "rsa-sha256" else None
        if key is None:
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
        return _verify(key, request, covered, parts.get("signature", ""))

    def _key_of(self, named: str, now: float) -> rsa.RSAPublicKey | None:
        """Return the public key that verifies a request: ours, or that of a security token that is good."""
        if hmac.compare_digest(named.encode(), f"{TENANCY}/{USER}/{self.fingerprint}".encode()):
            return self._public
        claims = self._claims(named.removeprefix("ST$")) if named.startswith("ST$") else {}
        # Tokens of a resource write the tenancy with a prefix.
        if TENANCY not in (claims.get("tenant"), claims.get("res_tenant")) or float(claims.get("exp") or 0) <= now:
            return None
        try:
            return _public_key(json.loads(claims["jwk"]))
        except (KeyError, TypeError, ValueError):
            return None

    def _claims(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token, if our key has signed it."""
        try:
            head, body, mark = token.split(".")
            self._public.verify(_unpacked(mark), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
            claims = json.loads(_unpacked(body))
        except (InvalidSignature, ValueError):
            return {}
        return claims if isinstance(claims, dict) else {}


def _verify(key: rsa.RSAPublicKey, request: HttpRequest, covered: list[str], signature: str) -> str:
    target = f"{request.path}?{request.query_text}" if request.query_text else request.path
    lines = [
        f"(request-target): {request.method.lower()} {target}"
        if name == "(request-target)"
        else f"{name}: {request.headers.get(name, '')}"
        for name in covered
    ]
    try:
        text = "\n".join(lines).encode()
        key.verify(base64.b64decode(signature), text, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return "The signature does not belong to this request."
    return ""


def _token(key: rsa.RSAPrivateKey) -> str:
    """Return a token of the form that Oracle's have, for requests that the same key signs."""
    numbers = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "emulated"}
    jwk |= {name: _packed(_bytes_of(value)) for name, value in (("n", numbers.n), ("e", numbers.e))}
    end = int(datetime.now(UTC).timestamp() + _TOKEN_S)
    claims = {"sub": USER, "tenant": TENANCY, "exp": end, "jwk": json.dumps(jwk)}
    parts = ({"alg": "RS256", "kid": "emulated"}, claims)
    body = ".".join(_packed(json.dumps(part).encode()) for part in parts)
    return f"{body}.{_packed(key.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _public_key(jwk: Mapping[str, Any]) -> rsa.RSAPublicKey:
    exponent, modulus = (int.from_bytes(_unpacked(str(jwk[name]))) for name in ("e", "n"))
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _bytes_of(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _date(text: str) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return 0.0


def _private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
