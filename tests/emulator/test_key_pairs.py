from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import asyncssh
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.emulated import Emulator
from tests.emulator.asking import only, refused, run, tagged

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from tests.emulator.conftest import Connect

#: A public key whose fingerprint `ssh-keygen -l` told.
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X"


def ed25519() -> bytes:
    return asyncssh.generate_private_key("ssh-ed25519").export_public_key()


def test_a_public_key_is_imported(emulator: Emulator, ec2: EC2Client) -> None:
    """With its tags, an id, and the digest that OpenSSH shows, padded as EC2 pads it."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    tags = tagged("key-pair", run="r1")
    made = ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=key.export_public_key(), TagSpecifications=tags)
    shown = key.get_fingerprint().removeprefix("SHA256:")
    assert (made["KeyName"], made["KeyFingerprint"].rstrip("=")) == ("ours", shown)
    assert len(base64.b64decode(made["KeyFingerprint"], validate=True)) == 32
    assert (made["KeyPairId"][:4], len(made["KeyPairId"]), made["Tags"]) == ("key-", 21, tags[0]["Tags"])
    (pair,) = ec2.describe_key_pairs()["KeyPairs"]
    assert (pair["KeyType"], pair["KeyPairId"], pair["Tags"]) == ("ed25519", made["KeyPairId"], made["Tags"])
    assert "PublicKey" not in pair
    (pair,) = ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
    assert pair["PublicKey"].split()[:2] == key.export_public_key().decode().split()[:2]
    (held,) = emulator.held()
    assert (held["kind"], held["id"], held["name"]) == ("key-pair", made["KeyPairId"], "ours")
    assert (held["tags"], emulator.world()["bill"]["usd"]) == ({"run": "r1"}, 0)


def test_a_fingerprint_of_ed25519_is_that_of_ssh_keygen(ec2: EC2Client) -> None:
    """A known key, with what `ssh-keygen -l` says of it."""
    made = ec2.import_key_pair(KeyName="known", PublicKeyMaterial=ED25519.encode())
    assert made["KeyFingerprint"] == "SvzqXV/w1JLsbntg1WRzuMw9vHAaDQHjIKLlxH0h1EM="


def test_an_rsa_key_is_fingerprinted_by_where_it_comes_from(ec2: EC2Client) -> None:
    """Imported: MD5 of the public key in DER. Made by EC2: SHA-1 of the private one, which is in the answer."""
    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    imported = ec2.import_key_pair(KeyName="imported", PublicKeyMaterial=key.export_public_key())
    der = key.export_public_key("pkcs8-der")
    assert imported["KeyFingerprint"] == hashlib.md5(der).digest().hex(":")
    made = ec2.create_key_pair(KeyName="made")
    private = load_pem_private_key(made["KeyMaterial"].encode(), None)
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert made["KeyFingerprint"] == hashlib.sha1(der).digest().hex(":")
    assert [one["KeyType"] for one in ec2.describe_key_pairs()["KeyPairs"]] == ["rsa", "rsa"]


def test_a_made_ed25519_key_can_be_read(ec2: EC2Client) -> None:
    """The private half is OpenSSH's, and belongs to the public one."""
    made = ec2.create_key_pair(KeyName="made", KeyType="ed25519")
    private = asyncssh.import_private_key(made["KeyMaterial"])
    (pair,) = ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
    assert private.export_public_key().decode().split()[:2] == pair["PublicKey"].split()[:2]


@pytest.mark.parametrize("form", ["openssh", "rfc4716", "der"])
def test_a_key_may_come_in_three_forms(ec2: EC2Client, form: str) -> None:
    """OpenSSH's line, RFC 4716, and DER in base64 are the same key."""
    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    material = base64.b64encode(key.export_public_key("pkcs8-der")) if form == "der" else key.export_public_key(form)
    ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=material)
    (pair,) = ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
    assert pair["PublicKey"].split()[1] == key.export_public_key().decode().split()[1]


def test_a_name_is_unique_in_its_region(connect: Connect) -> None:
    """The same name again is refused, whatever the key; in another region and after deletion it is not."""
    ec2 = connect()
    ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=ed25519())
    with refused("InvalidKeyPair.Duplicate") as said:
        ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=ed25519())
    assert said.words == "The keypair 'ours' already exists."
    with refused("InvalidKeyPair.Duplicate"):
        ec2.create_key_pair(KeyName="ours")
    assert connect("eu-west-1").import_key_pair(KeyName="ours", PublicKeyMaterial=ed25519())
    ec2.delete_key_pair(KeyName="ours")
    assert ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=ed25519())


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: b"ours",
        lambda: b"ssh-ed25519 nonsense",
        lambda: b"---- BEGIN SSH2 PUBLIC KEY ----\n!\n---- END SSH2 PUBLIC KEY ----",
        lambda: base64.b64encode(b"no DER"),
        lambda: asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key(),
        lambda: asyncssh.generate_private_key("ssh-rsa", key_size=3072).export_public_key(),
        lambda: asyncssh.generate_private_key("ssh-ed25519").export_private_key(),
    ],
    ids=["empty", "word", "base64", "rfc4716", "der", "ecdsa", "rsa-3072", "private"],
)
def test_what_is_no_key_of_ec2s_is_refused(emulator: Emulator, ec2: EC2Client, make: Callable[[], bytes]) -> None:
    """Only ed25519, and RSA of 1024, 2048 and 4096 bits."""
    with refused("InvalidKey.Format"):
        ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=make())
    assert emulator.held() == []


def test_wrong_input_is_refused(emulator: Emulator, ec2: EC2Client) -> None:
    """Names, types, tags of other things, and no name at all; a dry run makes and deletes nothing."""
    with refused("InvalidParameterValue"):
        ec2.import_key_pair(KeyName="k" * 256, PublicKeyMaterial=ed25519())
    with refused("InvalidParameterValue"):
        ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=ed25519(), TagSpecifications=tagged("instance", run="r1"))
    with refused("InvalidParameterValue"):
        ec2.create_key_pair(KeyName="ours", KeyType="dsa")  # type: ignore[arg-type]
    with refused("UnsupportedOperation"):
        ec2.create_key_pair(KeyName="ours", KeyFormat="ppk")
    with refused("MissingParameter"):
        ec2.delete_key_pair()
    with refused("DryRunOperation", 412):
        ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=ed25519(), DryRun=True)
    assert emulator.held() == []
    ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=ed25519())
    with refused("DryRunOperation", 412):
        ec2.delete_key_pair(KeyName="ours", DryRun=True)
    assert len(emulator.held("key-pair")) == 1


def test_deletion(emulator: Emulator, ec2: EC2Client) -> None:
    """By name or id. One that is not there is deleted already."""
    a = ec2.import_key_pair(KeyName="a", PublicKeyMaterial=ed25519())
    b = ec2.import_key_pair(KeyName="b", PublicKeyMaterial=ed25519())
    assert ec2.delete_key_pair(KeyName="a")["KeyPairId"] == a["KeyPairId"]
    assert ec2.delete_key_pair(KeyPairId=b["KeyPairId"])["Return"] is True
    assert emulator.held() == []
    again = ec2.delete_key_pair(KeyPairId=b["KeyPairId"])
    assert (again["Return"], "KeyPairId" in again) == (True, False)
    assert ec2.delete_key_pair(KeyName="never")["Return"] is True


def test_listing(ec2: EC2Client) -> None:
    """By name, by id, by filter and by tag."""
    for name in ("a-1", "a-2", "b"):
        ec2.import_key_pair(
            KeyName=name, PublicKeyMaterial=ed25519(), TagSpecifications=tagged("key-pair", run=name, mine="1")
        )
    pairs = ec2.describe_key_pairs()["KeyPairs"]
    assert [pair["KeyName"] for pair in pairs] == ["a-1", "a-2", "b"]
    assert ec2.describe_key_pairs(KeyNames=["b"])["KeyPairs"] == pairs[2:]
    assert ec2.describe_key_pairs(KeyPairIds=[pairs[1]["KeyPairId"]])["KeyPairs"] == [pairs[1]]
    assert ec2.describe_key_pairs(Filters=only("key-name", "a-*"))["KeyPairs"] == pairs[:2]
    assert ec2.describe_key_pairs(Filters=only("key-pair-id", pairs[0]["KeyPairId"]))["KeyPairs"] == pairs[:1]
    assert ec2.describe_key_pairs(Filters=only("fingerprint", pairs[0]["KeyFingerprint"]))["KeyPairs"] == pairs[:1]
    assert ec2.describe_key_pairs(Filters=only("tag:run", "b"))["KeyPairs"] == pairs[2:]
    assert ec2.describe_key_pairs(Filters=only("tag-key", "mine"))["KeyPairs"] == pairs
    with refused("InvalidKeyPair.NotFound"):
        ec2.describe_key_pairs(KeyNames=["z"])
    with refused("InvalidKeyPair.NotFound"):
        ec2.describe_key_pairs(KeyPairIds=["key-00000000000000000"])
    with refused("InvalidParameterValue"):
        ec2.describe_key_pairs(Filters=only("colour", "red"))


def test_new_ones_are_missing_from_listings_for_a_while(emulator: Emulator, ec2: EC2Client) -> None:
    """Eventual consistency: the name is taken at once, though."""
    emulator.weather(consistency_s=60)
    ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=ed25519())
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    with refused("InvalidKeyPair.Duplicate"):
        ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=ed25519())
    emulator.weather(clock={"advance_s": 61})
    assert len(ec2.describe_key_pairs()["KeyPairs"]) == 1


def test_tags_come_and_go(ec2: EC2Client) -> None:
    """CreateTags, DeleteTags and DescribeTags know key pairs."""
    id_ = ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=ed25519())["KeyPairId"]
    ec2.create_tags(Resources=[id_], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    ec2.delete_tags(Resources=[id_], Tags=[{"Key": "a"}])
    (tag,) = ec2.describe_tags(Filters=only("resource-type", "key-pair"))["Tags"]
    assert (tag["ResourceId"], tag["Key"], tag["Value"]) == (id_, "b", "2")
    with refused("InvalidKeyPair.NotFound"):
        ec2.create_tags(Resources=["key-00000000000000000"], Tags=[{"Key": "a", "Value": "1"}])


def test_a_machine_remembers_its_key_and_user_data(ec2: EC2Client) -> None:
    """Also when the key pair is deleted; a launch with one that is not there is refused."""
    ec2.import_key_pair(KeyName="ours", PublicKeyMaterial=ed25519())
    (node,) = run(ec2, KeyName="ours", UserData="#!/bin/sh\ntrue\n")
    ec2.delete_key_pair(KeyName="ours")
    listed = ec2.describe_instances(Filters=only("key-name", "ours"))["Reservations"][0]["Instances"]
    assert [one["InstanceId"] for one in listed] == [node["InstanceId"]]
    told = ec2.describe_instance_attribute(InstanceId=node["InstanceId"], Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(told) == b"#!/bin/sh\ntrue\n"
    with refused("InvalidKeyPair.NotFound") as said:
        run(ec2, KeyName="ours")
    assert said.words == "The key pair 'ours' does not exist"
