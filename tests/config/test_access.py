"""`ssh:` and `collect:`: how nodes are reached, and when they need to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_capacity.backends import INSTALLED
from pytest_capacity.backends.aws.settings import section_of
from pytest_capacity.config.loading import load
from pytest_capacity.config.source import Overrides
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Ssh
from tests.config.files import GOOD, Loader, aws, db, static, with_


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key that only its owner can read."""
    path = tmp_path / "id"
    path.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("values", "ssh"),
    [
        (with_(), None),
        (with_(ssh=False), None),
        (with_(ssh="off"), None),
        (with_(ssh=True), Ssh()),
        (with_(ssh="yes"), Ssh()),
        (with_(ssh={}), Ssh()),
        (with_(collect="/var/log/x.log"), Ssh()),
        (db(ready="tcp:9042"), None),
        (db(ready="ssh"), Ssh()),
        (db(ready="cloud-init"), Ssh()),
        (db(ready="nodetool status"), Ssh()),
        (static(), Ssh()),
        (static(ssh=False), None),
        (aws(key_name="ci"), None),
    ],
)
def test_nodes_are_reached_where_something_asks_for_it(
    loading: Loader, values: dict[str, Any], ssh: Ssh | None
) -> None:
    """The section, a group that is ready when a login works, paths to fetch, or machines of one's own."""
    assert loading(values).ssh == ssh


def test_the_whole_section(loading: Loader, key: Path) -> None:
    """Every key of the reference arrives; a key's path is relative to the file, and absolute from here on."""
    section = {"user": "ubuntu", "port": 2222, "key": "id", "bastion": "me@[fe80::1]:22", "address": "private"}
    request = loading(with_(ssh=section, collect=["/var/log/*.log", "core.*", "core.*"]))
    assert request.ssh == Ssh(user="ubuntu", port=2222, key=str(key), bastion="me@[fe80::1]:22", address="private")
    assert request.collect == ("/var/log/*.log", "core.*")


def test_a_home_in_the_keys_path(loading: Loader, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell has it."""
    monkeypatch.setenv("HOME", str(key.parent))
    ssh = loading(with_(ssh={"key": "~/id"})).ssh
    assert ssh is not None
    assert ssh.key == str(key)


def test_without_a_file_a_key_is_looked_for_where_one_stands(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapping given in Python has no place of its own."""
    monkeypatch.chdir(key.parent)
    ssh = load(Overrides(), clouds=INSTALLED, path=None, environ={}, values=with_(ssh={"key": "id"})).ssh
    assert ssh is not None
    assert ssh.key == str(key)
    with pytest.raises(ConfigError, match=r"params: ssh\.key: 'di' cannot be read"):
        load(Overrides(), clouds=INSTALLED, path=None, environ={}, values=with_(ssh={"key": "di"}))


@pytest.mark.parametrize(
    ("values", "where", "remedy"),
    [
        (with_(ssh=7), "ssh: 7 is neither true nor false, nor keys and values", "{user: ubuntu"),
        (with_(ssh="maybe"), "ssh: 'maybe' is neither true nor false", "true or false"),
        (with_(ssh={"usr": "x"}), "ssh.usr: is not a known key", "Did you mean user?"),
        (with_(ssh={"user": "a@b"}), "ssh.user: 'a@b' does not have the right form", "ubuntu"),
        (with_(ssh={"user": "-oX"}), "ssh.user: '-oX' does not have the right form", "ubuntu"),
        (with_(ssh={"port": 70000}), "ssh.port: 70000 is not a port", "65535"),
        (with_(ssh={"port": True}), "ssh.port: True is not a port", "65535"),
        (with_(ssh={"address": "ipv6"}), "ssh.address: 'ipv6' is not one of auto, private, public", "Give one"),
        (with_(ssh={"bastion": "-oX"}), "ssh.bastion: '-oX' does not have the right form", "admin@bastion"),
        (with_(ssh={"bastion": "a b"}), "ssh.bastion: 'a b' does not have the right form", "admin@bastion"),
        (with_(ssh={"bastion": "a:99999"}), "ssh.bastion: 99999 is not a port", "65535"),
        (with_(ssh={"key": "none"}), "ssh.key: 'none' cannot be read: No such file", "relative to this file"),
        (with_(ssh={"key": "."}), "ssh.key: '.' cannot be read: Is a directory", "private key"),
        (with_(ssh={"key": "open"}), "ssh.key: 'open' can be read by others", "chmod 600 "),
        (with_(ssh={"key": "id.pub"}), "ssh.key: 'id.pub' is the public half", "without .pub"),
        (with_(collect=7), "collect: 7 is not a list", "[a, b]"),
        (with_(collect=["a\nb"]), "collect: 'a?b' holds a line break", "one path an entry"),
        (with_(ssh=False, collect="x"), "ssh: is false, and `collect` cannot do without", "`ssh: true`"),
        (
            {**db(ready="ssh"), "ssh": False},
            "ssh: is false, and the `ready` of default/db cannot do without",
            "`ssh: true`",
        ),
        ({**aws(key_name="ci"), "ssh": True}, "aws.key_name: is there, and not where its private half", "{key: PATH}"),
        ({**aws(key_name="ci"), "collect": "x"}, "aws.key_name: is there, and not where its private", "remove the key"),
    ],
)
def test_each_fault_names_file_key_and_remedy(
    loading: Loader, key: Path, values: dict[str, Any], where: str, remedy: str
) -> None:
    """One bad value is one line. ssh itself refuses a key that others can read, so we do at once."""
    opened = key.with_name("open")
    opened.write_text("secret of the key")
    opened.chmod(0o640)
    key.with_suffix(".pub").write_text("ssh-ed25519 AAAA me\n")
    assert "secret of the key" not in loading.refuses(values, where, remedy)


def test_a_key_pair_of_ones_own_goes_with_its_private_half(loading: Loader, key: Path) -> None:
    """Then nothing has to be made."""
    request = loading({**aws(key_name="ci"), "ssh": {"key": str(key)}})
    assert request.ssh is not None
    assert (section_of(request).key_name, request.ssh.key) == ("ci", str(key))


def test_a_key_that_cannot_be_read_is_one_fault(loading: Loader) -> None:
    """It is not said besides that a key is missing."""
    (fault,) = loading.faults({**aws(key_name="ci"), "ssh": {"key": "none"}})
    assert "ssh.key: 'none' cannot be read" in fault


def test_an_emulator_has_nothing_to_do_with_ones_own_machines(loading: Loader) -> None:
    """There is no cloud to stand in for; with one there is."""
    (fault,) = loading.faults(static(), Overrides(emulator=True))
    assert fault.startswith("--capacity-emulator: is given, and `backend: static` has no cloud")
    assert loading(GOOD, Overrides(emulator=True)).emulated
    (fault,) = loading.faults(static(), Overrides(regions=("a",), source={"regions": "--capacity-region"}))
    assert fault.startswith("--capacity-region: is given, and `backend: static`")


def test_an_emulator_that_does_not_speak_for_the_backend(loading: Loader) -> None:
    """It is refused; the run would find no cloud there, and say so in the words of the SDK."""
    fault, *_ = loading.faults({"backend": "blazar", "regions": ["RegionOne"]}, Overrides(emulator=True))
    assert fault.startswith("--capacity-emulator: is given, and the emulator does not speak for `backend: blazar`.")
    assert not [fault for fault in loading.faults({}, Overrides(emulator=True)) if "does not speak" in fault]
