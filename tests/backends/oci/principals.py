"""Stand-ins for what gives a machine at Oracle its token: the metadata service, and the federation service.

Both are one server of this machine. The SDK comes to the metadata service by ``OCI_METADATA_BASE_URL``, and to the
federation service by its own name, over TLS, through the server as its proxy. Tokens are signed with the emulator's
key, which stands for Oracle's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from tests.backends.oci.runs import TENANCY

FEDERATION: Final = "auth.us-ashburn-1.oraclecloud.com"
_IDENTITY: Final = "/opc/v2/identity"
_PARTS: Final = re.compile(r'(\w+)="([^"]*)"')


def new_key() -> rsa.RSAPrivateKey:
    """Return a key of the length that Oracle asks for."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey) -> bytes:
    """Return a private key as a file has it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def packed(data: bytes) -> str:
    """Return bytes as a JSON Web Token has them."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def issued(issuer: rsa.RSAPrivateKey, key: rsa.RSAPublicKey, end: float, **claims: Any) -> str:
    """Return a security token that ``issuer`` has signed, for requests that are signed with ``key``."""
    numbers = key.public_numbers()
    jwk = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "of-a-test"}
    jwk |= {name: packed(value.to_bytes((value.bit_length() + 7) // 8)) for name, value in _numbers(numbers).items()}
    said = {"sub": "ocid1.instance.oc1.iad.a", "iat": int(time.time()), "exp": int(end), "jwk": json.dumps(jwk)}
    parts = ({"alg": "RS256"}, {**said, **claims})
    body = ".".join(packed(json.dumps(part).encode()) for part in parts)
    return f"{body}.{packed(issuer.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _numbers(numbers: rsa.RSAPublicNumbers) -> Mapping[str, int]:
    return {"n": numbers.n, "e": numbers.e}


def certified(key: rsa.RSAPrivateKey, unit: str, *hosts: str) -> x509.Certificate:
    """Return a certificate that ``key`` has signed for itself."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, "a test")]
    attributes += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
    name, now = x509.Name(attributes), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256())


@dataclass
class Machine:
    """An instance at Oracle, as its metadata service and the federation service know it."""

    issuer: rsa.RSAPrivateKey
    #: Seconds for which the next token is good.
    token_s: float = 3600.0
    tenancy: str = TENANCY
    key: rsa.RSAPrivateKey = field(default_factory=new_key)
    #: Every path that was asked for, the first in front.
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.certificate = certified(self.key, f"opc-tenant:{self.tenancy}")
        self.authority = certified(new_key(), "")

    def metadata(self, path: str) -> bytes | None:
        """Return what the metadata service has there."""
        encoding = serialization.Encoding.PEM
        return {
            "/opc/v2/instance/region": b"iad",
            f"{_IDENTITY}/cert.pem": self.certificate.public_bytes(encoding),
            f"{_IDENTITY}/key.pem": pem(self.key),
            f"{_IDENTITY}/intermediate.pem": self.authority.public_bytes(encoding),
        }.get(path)

    def federate(self, headers: Mapping[str, str], body: bytes) -> bytes | None:
        """Return a token for the public key in ``body``; None where the machine's key has not signed the request."""
        parts = dict(_PARTS.findall(headers.get("authorization", "")))
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        lines = [
            f"{name}: post /v1/x509" if name == "(request-target)" else f"{name}: {headers.get(name, '')}"
            for name in parts.get("headers", "").split()
        ]
        mark = hashlib.sha1(self.certificate.public_bytes(serialization.Encoding.DER), usedforsecurity=False).digest()
        name = f"{self.tenancy}/fed-x509/{':'.join(f'{one:02X}' for one in mark)}"
        if parts.get("keyId") != name or headers.get("x-content-sha256") != digest:
            return None
        signature = base64.b64decode(parts["signature"])
        self.key.public_key().verify(signature, "\n".join(lines).encode(), padding.PKCS1v15(), hashes.SHA256())
        session = serialization.load_der_public_key(base64.b64decode(json.loads(body)["publicKey"]))
        assert isinstance(session, rsa.RSAPublicKey)
        token = issued(self.issuer, session, time.time() + self.token_s, tenant=self.tenancy)
        return json.dumps({"token": token}).encode()


def emulators_key(config_file: str) -> rsa.RSAPrivateKey:
    """Return the key that stands for Oracle's."""
    key = serialization.load_pem_private_key(Path(config_file).with_name("oci.key.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@contextmanager
def on(machine: Machine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Let this process be on ``machine``: its metadata service answers here, and the federation service too."""
    authority, key = folder / "authority.pem", new_key()
    certificate = certified(key, "", FEDERATION).public_bytes(serialization.Encoding.PEM)
    authority.write_bytes(pem(key) + certificate)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            machine.asked.append(self.path)
            good = self.headers.get("Authorization") == "Bearer Oracle"
            self._answer(machine.metadata(self.path) if good else None)

        def do_POST(self) -> None:
            machine.asked.append(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._answer(machine.federate(headers, body))

        def do_CONNECT(self) -> None:
            assert self.path == f"{FEDERATION}:443"
            self.send_response(200)
            self.end_headers()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority)
            with context.wrap_socket(self.connection, server_side=True) as self.connection:
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
                self.handle_one_request()
            self.close_connection = True

        def _answer(self, body: bytes | None) -> None:
            self.send_response(200 if body is not None else 401)
            content = body if body is not None else b'{"code": "NotAuthenticated", "message": "No."}'
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OCI_METADATA_BASE_URL", f"http://127.0.0.1:{server.server_port}/opc/v2")
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
        yield machine
        server.shutdown()
