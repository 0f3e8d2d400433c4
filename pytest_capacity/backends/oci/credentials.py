"""Credentials for Oracle: a config file with its profile, an API key, a security token, or a machine's principal."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import oci.auth.signers
import oci.config
import oci.exceptions
import oci.retry
import oci.signer
from msgspec import Struct

from pytest_capacity.backends.emulator_secret import SECRET_FILE
from pytest_capacity.backends.oci.settings import OciSettings
from pytest_capacity.errors import ConfigError

#: The config file of an emulator, in the folder of its secret, and the variable that names another.
EMULATED_CONFIG: Final = "oci.config"
EMULATED_CONFIG_FILE: Final = "PYTEST_CAPACITY_EMULATOR_OCI_CONFIG"

_DEFAULT_FILE: Final = "~/.oci/config"
#: The SDK's own would go on for three minutes on a machine that is not Oracle's. A metadata service that is there may
#: be busy (429), or not have its certificate yet (404), while its machine starts.
_METADATA_RETRIES: Final = (
    oci.retry.RetryStrategyBuilder(
        service_error_retry_config={429: [], 404: []},
        retry_base_sleep_time_seconds=0.2,
        retry_max_wait_between_calls_seconds=1,
        decorrelated_jitter=0.1,
    )
    .add_max_attempts(3)
    .add_total_elapsed_time(20)
    .get_retry_strategy()
)
_NO_PRINCIPAL: Final[Mapping[str, str]] = {
    "instance_principal": "there is no token of an instance at Oracle: its metadata service, or the service that "
    "gives the token, refused or did not answer. Use auth: instance_principal there, and auth: api_key elsewhere",
    "resource_principal": "there is no token of a resource at Oracle in the environment "
    "(OCI_RESOURCE_PRINCIPAL_VERSION and the variables that go with it). Use auth: resource_principal there, and "
    "auth: api_key elsewhere",
}


#: What a machine of Oracle's, or a function there, signs with: its own principal. To get its token takes calls.
PRINCIPALS: Final = ("instance_principal", "resource_principal")


class NoPrincipalError(Exception):
    """The machine has no principal, or its token could not be got."""


class Credentials(Struct, frozen=True):
    """What signs the requests, and whose it is."""

    #: One of the SDK's signers, hence ``Any``.
    signer: Any
    tenancy: str
    user: str = ""
    profile: str = ""
    #: When a security token ends; None: they do not end, or the SDK renews them.
    expires: float | None = None
    #: For the SDK's clients, which look for a region in it.
    config: Mapping[str, Any] = {}


def load(settings: OciSettings, emulated: bool, environ: Mapping[str, str]) -> Credentials:
    """Return the credentials that ``settings`` name. Only those of the machine's own principal take calls to get.

    Raise `ConfigError` naming the file, the profile and what is wrong there; `NoPrincipalError` of a principal.
    """
    if emulated:
        return _of_file(_emulated_file(environ), "DEFAULT", "auto", environ)
    auth = auth_of(settings, environ)
    if auth in PRINCIPALS:
        return _of_principal(auth)
    file = settings.config_file or environ.get("OCI_CLI_CONFIG_FILE") or environ.get("OCI_CONFIG_FILE") or _DEFAULT_FILE
    return _of_file(file, settings.profile or profile_of(environ) or "DEFAULT", auth, environ)


def profile_of(environ: Mapping[str, str]) -> str:
    """Return the profile that the environment names, as Oracle's command line reads it; "" where it names none."""
    return environ.get("OCI_CLI_PROFILE") or environ.get("OCI_CONFIG_PROFILE") or ""


def auth_of(settings: OciSettings, environ: Mapping[str, str]) -> str:
    """Return how the SDK proves who it is: by the settings, or as Oracle's command line reads it (``OCI_CLI_AUTH``)."""
    return settings.auth if settings.auth != "auto" else environ.get("OCI_CLI_AUTH", "").lower() or "auto"


def _of_principal(auth: str) -> Credentials:
    """Return those of the machine. The SDK renews their token, so they have no end."""
    try:
        if auth == "instance_principal":
            signer = oci.auth.signers.InstancePrincipalsSecurityTokenSigner(retry_strategy=_METADATA_RETRIES)
        else:
            signer = oci.auth.signers.get_resource_principals_signer()
    except Exception as error:
        # Whatever it is (of the SDK, of its copy of requests, of the environment): there are no credentials.
        words = next((str(one) for one in error.args if isinstance(one, str)), str(error))
        raise NoPrincipalError(f"{_NO_PRINCIPAL[auth]} ({type(error).__name__}: {words})") from error
    return Credentials(signer, signer.tenancy_id, user=auth)


def _emulated_file(environ: Mapping[str, str]) -> str:
    """Return the path of the file that the emulator wrote: no file of the user's own may reach an emulator."""
    named = environ.get(EMULATED_CONFIG_FILE)
    if named:
        return named
    secret = environ.get(SECRET_FILE)
    if not secret:
        raise ConfigError(
            [
                f"the OCI emulator checks signatures, and neither {EMULATED_CONFIG_FILE} nor {SECRET_FILE} says where "
                "its config file is. Its ready line has it: clouds.oci.config_file"
            ]
        )
    return str(Path(secret).with_name(EMULATED_CONFIG))


def _of_file(file: str, profile: str, auth: str, environ: Mapping[str, str]) -> Credentials:
    try:
        read = oci.config.from_file(file, profile)
    except oci.exceptions.ConfigFileNotFound as error:
        raise ConfigError(
            [
                f"oci.config_file: there is no file {Path(file).expanduser()}. Write one (`oci setup config`), name "
                "another (oci.config_file or OCI_CONFIG_FILE), or write `auth: instance_principal`"
            ]
        ) from error
    except oci.exceptions.ProfileNotFound as error:
        raise ConfigError(
            [f"oci.profile: {file} has no profile {profile!r}. Correct oci.profile or OCI_CLI_PROFILE, or add it there"]
        ) from error
    except (oci.exceptions.InvalidKeyFilePath, ValueError) as error:
        raise ConfigError([f"oci.config_file: profile {profile!r} of {file}: {error}"]) from error
    token_file = read.get("security_token_file")
    wanted = "security_token" if auth == "auto" and token_file else auth
    missing = [key for key in _needed(wanted) if not read.get(key)]
    if missing:
        raise ConfigError([f"oci.config_file: profile {profile!r} of {file} has no {', '.join(missing)}. Add it there"])
    if wanted != "security_token":
        try:
            oci.config.validate_config({**read, "region": read.get("region") or "us-ashburn-1"})
        except oci.exceptions.InvalidConfig as error:
            faults = ", ".join(f"{key} is {what}" for key, what in error.args[0].items())
            raise ConfigError(
                [f"oci.config_file: profile {profile!r} of {file}: {faults}. Correct it there"]
            ) from error
    phrase = read.get("pass_phrase") or environ.get("OCI_CLI_PASSPHRASE")
    try:
        return _with_key(read, profile, wanted, phrase)
    except (oci.exceptions.MissingPrivateKeyPassphrase, oci.exceptions.InvalidPrivateKey, OSError, ValueError) as error:
        raise ConfigError(
            [
                f"oci.config_file: the key of profile {profile!r} of {file} cannot be read: {error}. Name the right "
                "file (key_file), or its passphrase (pass_phrase there, or OCI_CLI_PASSPHRASE)"
            ]
        ) from error


def _needed(auth: str) -> tuple[str, ...]:
    if auth == "security_token":
        return ("tenancy", "key_file", "security_token_file")
    return ("tenancy", "user", "fingerprint", "key_file")


def _with_key(read: Mapping[str, Any], profile: str, auth: str, phrase: str | None) -> Credentials:
    if auth == "security_token":
        token = Path(read["security_token_file"]).expanduser().read_text(encoding="utf-8").strip()
        key = oci.signer.load_private_key_from_file(read["key_file"], phrase)
        signer: Any = oci.auth.signers.SecurityTokenSigner(token, key)
        return Credentials(signer, read["tenancy"], read.get("user") or "", profile, token_end(token), read)
    signer = oci.signer.Signer(read["tenancy"], read["user"], read["fingerprint"], read["key_file"], phrase)
    return Credentials(signer, read["tenancy"], read["user"], profile, None, read)


def token_end(token: str) -> float | None:
    """Return when a security token (a JSON Web Token) ends, in seconds since the epoch; None where that is missing."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return None
    end = claims.get("exp") if isinstance(claims, dict) else None
    return float(end) if isinstance(end, int | float) else None


def environment() -> Mapping[str, str]:
    """Return this process's environment."""
    return os.environ
