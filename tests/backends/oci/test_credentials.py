"""The credentials of a real OCI: config files, sessions, keys, and what is wrong with them."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from msgspec.structs import replace
from oci.exceptions import ServiceError

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.oci.session import WrongTenancyError
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import NodeGroup, Request
from tests.backends.oci.runs import COMPARTMENT, LOADER, SETTINGS, TENANCY, request
from tests.backends.oci.test_backend import opened
from tests.emulated import Emulator


def real(emulator: Emulator, group: NodeGroup = LOADER, **settings: Any) -> Request:
    """A request that is not emulated, so that credentials are the user's, and whose endpoint is the emulator's."""
    given = replace(SETTINGS, **settings)
    return request(emulator, group, settings=given, emulated=False)


def test_an_api_key_of_a_config_file(emulator: Emulator, config_file: str) -> None:
    """The tenancy and user of the profile, and the compartment of the settings."""
    identity = opened(real(emulator, config_file=config_file)).whoami()
    assert (identity.account, identity.place, identity.profile) == (TENANCY, COMPARTMENT, "DEFAULT")
    assert identity.who.startswith("ocid1.user.")
    assert identity.expires is None


def test_a_config_file_of_the_environment(
    emulator: Emulator, config_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``OCI_CONFIG_FILE`` and ``OCI_CLI_PROFILE`` count where the settings name nothing."""
    monkeypatch.setenv("OCI_CONFIG_FILE", config_file)
    monkeypatch.setenv("OCI_CLI_PROFILE", "TOKEN")
    assert opened(real(emulator)).whoami().profile == "TOKEN"


def test_a_security_token_has_an_end(emulator: Emulator, config_file: str) -> None:
    """A session of ``oci session authenticate`` signs with its token, and says until when it is good."""
    identity = opened(real(emulator, config_file=config_file, profile="TOKEN")).whoami()
    assert identity.account == TENANCY
    assert identity.expires is not None


@pytest.fixture
def session(config_file: str, tmp_path: Path) -> Path:
    """A config file whose session has ended; the folder has its ``token``, to be written anew."""
    text = Path(config_file).read_text(encoding="utf-8").partition("[TOKEN]")[2]
    lines = [line for line in text.splitlines() if not line.startswith("security_token_file=")]
    (tmp_path / "config").write_text("\n".join(["[DEFAULT]", *lines, f"security_token_file={tmp_path / 'token'}"]))
    (tmp_path / "token").write_text(_token(time.time() - 60))
    return tmp_path


def _token(end: float) -> str:
    parts: tuple[dict[str, Any], ...] = ({"alg": "RS256"}, {"exp": end}, {})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def test_a_new_session_is_read_when_the_old_one_has_ended(emulator: Emulator, config_file: str, session: Path) -> None:
    """A token that was written anew in the meantime is used for the call that was refused, and from then on."""
    backend = opened(real(emulator, config_file=str(session / "config")))
    with pytest.raises(ServiceError, match="NotAuthenticated"):
        backend.whoami()
    (session / "token").write_bytes(Path(config_file).with_name("oci.token").read_bytes())
    assert backend.whoami().account == TENANCY
    refused = len([call for call in emulator.calls() if call["error"]])
    assert backend.regions()
    assert len([call for call in emulator.calls() if call["error"]]) == refused == 2


def test_a_session_of_another_tenancy_is_refused(emulator: Emulator, session: Path) -> None:
    """There nothing of this run would be found, and all of it be taken for gone."""
    backend = opened(real(emulator, config_file=str(session / "config")))
    config = session / "config"
    config.write_text(config.read_text().replace(TENANCY, "ocid1.tenancy.oc1..aaaaaaaaanother"))
    (session / "token").write_text(_token(time.time() + 60))
    with pytest.raises(WrongTenancyError, match="this run began in") as refused:
        backend.whoami()
    assert backend.diagnose(refused.value).kind == "auth"


def test_a_key_with_a_passphrase(
    emulator: Emulator, config_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read with the passphrase of the environment, and refused in words without."""
    own = tmp_path / "config"
    key = serialization.load_pem_private_key(Path(config_file).with_name("oci.key.pem").read_bytes(), None)
    closed = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"open sesame"),
    )
    (tmp_path / "key.pem").write_bytes(closed)
    text = Path(config_file).read_text(encoding="utf-8").partition("[TOKEN]")[0]
    own.write_text(text.replace(str(Path(config_file).with_name("oci.key.pem")), str(tmp_path / "key.pem")))
    asked = real(emulator, config_file=str(own))
    with pytest.raises(ConfigError, match="pass_phrase there, or OCI_CLI_PASSPHRASE"):
        open_backend(asked)
    monkeypatch.setenv("OCI_CLI_PASSPHRASE", "open sesame")
    assert opened(asked).whoami().account == TENANCY


@pytest.mark.parametrize(
    ("content", "settings", "words"),
    [
        (None, {}, "there is no file"),
        ("[DEFAULT]\n", {"profile": "NIGHTLY"}, "has no profile 'NIGHTLY'"),
        ("[DEFAULT]\nuser=u\n", {}, "has no tenancy, fingerprint, key_file"),
        ("[DEFAULT]\nuser=u\ntenancy=t\nfingerprint=f\nkey_file=/nowhere.pem\n", {}, "/nowhere.pem"),
    ],
)
def test_a_config_file_that_is_no_good(
    emulator: Emulator, tmp_path: Path, content: str | None, settings: dict[str, Any], words: str
) -> None:
    """The refusal names the file and what is wrong with it, before any call."""
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=words) as refused:
        open_backend(real(emulator, config_file=str(file), **settings))
    assert str(file) in str(refused.value)
    assert emulator.calls() == []


def test_a_fingerprint_that_is_none(emulator: Emulator, config_file: str, tmp_path: Path) -> None:
    """What the SDK would find malformed at the first call is said at the start."""
    text = re.sub("fingerprint=..:", "fingerprint=zz:", Path(config_file).read_text(encoding="utf-8"))
    (tmp_path / "config").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="fingerprint is malformed"):
        open_backend(real(emulator, config_file=str(tmp_path / "config")))


def test_a_wrong_signature_is_no_lack_of_rights(emulator: Emulator, config_file: str, tmp_path: Path) -> None:
    """Keys of another start are refused as such, and the run stops with what to do."""
    text = re.sub("fingerprint=..:", "fingerprint=zz:", Path(config_file).read_text(encoding="utf-8"))
    text = text.replace("zz:", "00:" if "fingerprint=00:" not in Path(config_file).read_text() else "01:")
    (tmp_path / "config").write_text(text, encoding="utf-8")
    backend = opened(real(emulator, config_file=str(tmp_path / "config")))
    with pytest.raises(ServiceError) as refused:
        backend.whoami()
    diagnosis = backend.diagnose(refused.value)
    assert (diagnosis.kind, diagnosis.step, diagnosis.operation) == ("auth", "stop", "ListAvailabilityDomains")
