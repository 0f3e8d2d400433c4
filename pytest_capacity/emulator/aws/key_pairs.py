"""Key pairs: the public halves that machines are launched with."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_ssh_public_key,
)

from pytest_capacity.emulator.aws.context import Context, render_tags, when
from pytest_capacity.emulator.aws.listing import Reading, choose
from pytest_capacity.emulator.aws.things import KeyPair
from pytest_capacity.emulator.refusal import Refusal

PublicKey = Ed25519PublicKey | RSAPublicKey

#: Lengths of RSA keys that can be imported (EC2 user guide, "Create a key pair using a third-party tool").
RSA_BITS: Final = (1024, 2048, 4096)


def import_(ctx: Context) -> dict[str, Any]:
    """Answer ImportKeyPair. The name is unique in the region; there is no client token."""
    name = _new_name(ctx)
    key = read_public_key(ctx.params["PublicKeyMaterial"])
    tags = ctx.tags_for("key-pair")["key-pair"]
    ctx.dry_run()
    pair = _add(ctx, name, key, _imported_fingerprint(key), tags)
    return {"KeyFingerprint": pair.fingerprint, **_named(pair)}


def create(ctx: Context) -> dict[str, Any]:
    """Answer CreateKeyPair: the private half is in the answer and nowhere else."""
    name = _new_name(ctx)
    type_ = ctx.params.get("KeyType", "rsa")
    if type_ not in ("rsa", "ed25519"):
        raise Refusal("InvalidParameterValue", f"Value ({type_}) for parameter KeyType is invalid.")
    if ctx.params.get("KeyFormat", "pem") != "pem":
        raise Refusal("UnsupportedOperation", "KeyFormat: the emulator knows pem.")
    tags = ctx.tags_for("key-pair")["key-pair"]
    ctx.dry_run()
    if type_ == "rsa":
        private = generate_private_key(public_exponent=65537, key_size=2048)
        pair = _add(ctx, name, private.public_key(), _created_fingerprint(private), tags)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    else:
        secret = Ed25519PrivateKey.generate()
        pair = _add(ctx, name, secret.public_key(), _imported_fingerprint(secret.public_key()), tags)
        pem = secret.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return {"KeyFingerprint": pair.fingerprint, "KeyMaterial": pem.decode("ascii"), **_named(pair)}


def delete(ctx: Context) -> dict[str, Any]:
    """Answer DeleteKeyPair, by name or id. One that is not there is deleted already; machines keep their keys."""
    name, id_ = ctx.params.get("KeyName"), ctx.params.get("KeyPairId")
    if not name and not id_:
        raise Refusal("MissingParameter", "The request must contain the parameter KeyName or KeyPairId")
    if name and id_:
        words = "The parameters KeyName and KeyPairId cannot be used together"
        raise Refusal("InvalidParameterCombination", words)
    ctx.dry_run()
    found = [one for one in ctx.key_pairs if one.name == name or one.id == id_]
    for one in found:
        ctx.world.remove(one)
    return {"Return": True, "KeyPairId": found[0].id if found else None}


def describe(ctx: Context) -> dict[str, Any]:
    """Answer DescribeKeyPairs. No pages: EC2 has none here."""
    ctx.dry_run()
    found = [one for one in ctx.key_pairs if one.visible(ctx.now)]
    names, ids = ctx.params.get("KeyNames", []), ctx.params.get("KeyPairIds", [])
    for name in names:
        if all(one.name != name for one in found):
            raise unknown(name)
    for id_ in ids:
        if all(one.id != id_ for one in found):
            raise unknown(id_)
    if names or ids:
        found = [one for one in found if one.name in names or one.id in ids]
    chosen = choose(found, ctx.params.get("Filters", []), _READINGS)
    return {"KeyPairs": [_render(one, bool(ctx.params.get("IncludePublicKey"))) for one in chosen]}


def by_name(ctx: Context, name: str) -> KeyPair:
    """Return a key pair of this region by its name."""
    for one in ctx.key_pairs:
        if one.name == name:
            return one
    raise unknown(name)


def unknown(name: str) -> Refusal:
    """Return EC2's words for a key pair that is not there."""
    return Refusal("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")


def read_public_key(material: bytes) -> PublicKey:
    """Return the key that was sent: OpenSSH's line, RFC 4716, or DER in base64 (EC2 user guide). Else refuse it."""
    try:
        key = _read_public_key(material.strip())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey | RSAPublicKey):
        raise Refusal("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
    if isinstance(key, RSAPublicKey) and key.key_size not in RSA_BITS:
        raise Refusal("InvalidKey.Format", f"RSA keys have 1024, 2048 or 4096 bits, not {key.key_size}")
    return key


def _read_public_key(material: bytes) -> object:
    if material.startswith(b"---- BEGIN SSH2 PUBLIC KEY ----"):
        lines = [line for line in material.splitlines()[1:-1] if b":" not in line]
        blob = base64.b64decode(b"".join(lines))
        type_ = blob[4 : 4 + int.from_bytes(blob[:4], "big")]
        return load_ssh_public_key(type_ + b" " + base64.b64encode(blob))
    if b" " in material:
        return load_ssh_public_key(material)
    try:
        return load_der_public_key(base64.b64decode(material, validate=True))
    except binascii.Error:
        raise ValueError from None


def _new_name(ctx: Context) -> str:
    name = str(ctx.params["KeyName"])
    if not name or len(name) > 255 or not name.isascii():
        words = f"Value ({name}) for parameter KeyName is invalid. It has 1 to 255 ASCII characters."
        raise Refusal("InvalidParameterValue", words)
    if any(one.name == name for one in ctx.key_pairs):
        raise Refusal("InvalidKeyPair.Duplicate", f"The keypair '{name}' already exists.")
    return name


def _add(ctx: Context, name: str, key: PublicKey, fingerprint: str, tags: dict[str, str]) -> KeyPair:
    line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    pair = KeyPair(
        **ctx.born("key"),
        tags=tags,
        name=name,
        type="rsa" if isinstance(key, RSAPublicKey) else "ed25519",
        fingerprint=fingerprint,
        public_key=f"{line} {name}",
    )
    ctx.world.add(pair)
    return pair


# Which digest of what: EC2 user guide, "Verify the fingerprint of your key pair". Unlike OpenSSH, EC2 pads the base64.


def _imported_fingerprint(key: PublicKey) -> str:
    if isinstance(key, Ed25519PublicKey):
        blob = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
        return base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode("ascii")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.md5(der, usedforsecurity=False).digest().hex(":")


def _created_fingerprint(key: RSAPrivateKey) -> str:
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return hashlib.sha1(der, usedforsecurity=False).digest().hex(":")


def _named(one: KeyPair) -> dict[str, Any]:
    return {"KeyName": one.name, "KeyPairId": one.id, "Tags": render_tags(one) or None}


def _render(one: KeyPair, public_key: bool) -> dict[str, Any]:
    return {
        **_named(one),
        "KeyType": one.type,
        "KeyFingerprint": one.fingerprint,
        "CreateTime": when(one.made),
        "PublicKey": one.public_key if public_key else None,
    }


_READINGS: Final[Mapping[str, Reading]] = {
    "key-name": lambda one: [one.name],
    "key-pair-id": lambda one: [one.id],
    "fingerprint": lambda one: [one.fingerprint],
}
