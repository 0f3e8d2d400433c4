"""The user's known_hosts files, with lines of any kind in them."""

from __future__ import annotations

import base64
import logging
import subprocess
from pathlib import Path

import paramiko
import pytest

from pytest_capacity.errors import NodeError
from pytest_capacity.remote.hostkeys import HostKeys
from pytest_capacity.remote.keys import make_key_pair

NAME = "[db1.example.com]:2222"


class Known:
    """The user's file, and two keys."""

    def __init__(self, home: Path) -> None:
        self.file = home / ".ssh" / "known_hosts"
        self.file.parent.mkdir()
        self.key, self.other = (self._made(home / name) for name in ("key", "other"))
        self.line, self.other_line = (f"{NAME} {key.get_name()} {key.get_base64()}" for key in (self.key, self.other))

    def check(self, *lines: str | bytes) -> None:
        """Hold `key` against a file of these lines."""
        self.file.write_bytes(b"".join(line.encode() + b"\n" if isinstance(line, str) else line for line in lines))
        HostKeys(None, NAME, "db-0").check(self.key)

    def _made(self, path: Path) -> paramiko.PKey:
        return paramiko.Ed25519Key(data=base64.b64decode(make_key_pair(path).split()[1]))


@pytest.fixture(name="known")
def _known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Known:
    monkeypatch.setenv("HOME", str(tmp_path))
    return Known(tmp_path)


@pytest.mark.parametrize(
    "odd",
    [
        "other ssh-rsa AAAAB3NzaC1",
        "|1|zz|yy ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ",
        "@cert-authority *.example.com ssh-rsa AAAAB3NzaC1yc2E=",
        "no line at all",
        "sk ssk-unheard-of AAAA",
        b"# Stra\xdfe\n",
        "\0",
        f"{NAME} ssh-ed25519",
        f"{NAME} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ",
        f"{NAME} ssh-unheard-of AAAA",
        f"{NAME} ecdsa-sha2-nistp256 AAAA",
    ],
)
def test_an_invalid_line_is_skipped(known: Known, odd: str | bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A line that cannot be read is skipped without a log record, as ssh does: users' files are old and edited."""
    caplog.set_level(logging.DEBUG)
    known.check(odd, known.line)
    with pytest.raises(NodeError, match=r"is not in ~/\.ssh/known_hosts"):
        known.check(odd)
    assert caplog.records == []


def test_an_invalid_salt_is_skipped(known: Known) -> None:
    """A hashed name with an invalid salt is skipped."""
    known.check(known.other_line.replace(NAME, "|1|zz"), known.line)


def test_a_machine_may_have_several_keys_of_a_kind(known: Known) -> None:
    """An address may have several keys of one type, and any other key is refused."""
    known.check(known.other_line, known.line)
    with pytest.raises(NodeError, match=r"and was ssh-ed25519 SHA256:.* before, so it is not used"):
        known.check(known.other_line)


@pytest.mark.parametrize("blank", [" ", "\t"])
def test_a_revoked_key_is_refused(known: Known, blank: str) -> None:
    """A revoked key is refused, even where another line has it as valid."""
    with pytest.raises(NodeError, match="is revoked in your known_hosts"):
        known.check(f"@revoked{blank}{known.line}", known.line)
    known.check(f"@revoked{blank}{known.other_line}", known.line)


def test_names_that_are_hashed(known: Known) -> None:
    """Hashed names are found, as Debian's ssh writes them."""
    known.file.write_text(f"{known.line}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known.file], check=True, capture_output=True)
    assert NAME not in known.file.read_text()
    HostKeys(None, NAME, "db-0").check(known.key)
