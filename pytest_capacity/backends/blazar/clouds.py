"""Where Keystone is and with which credentials: clouds.yaml as openstacksdk reads it, or the ``OS_*`` variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from msgspec import Struct

from pytest_capacity.backends.blazar.settings import BlazarSettings
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Request

#: What openstacksdk looks for after the current directory's.
_PLACES: Final = ("~/.config/openstack", "/etc/openstack")

#: Variables that are no part of ``auth``.
_NOT_AUTH: Final = frozenset(
    {"cloud", "client_config_file", "auth_type", "region_name", "cacert", "cert", "key", "interface"}
    | {"identity_api_version", "endpoint_type", "insecure"}
)


class Cloud(Struct, frozen=True):
    """What a session is made of. ``region`` is the catalog's."""

    auth_type: str
    auth: Mapping[str, Any]
    region: str
    verify: bool | str
    cert: tuple[str, str] | None


def read_cloud(region: str, request: Request, settings: BlazarSettings) -> Cloud:
    """Return the cloud of ``region``, which is a name, or ``cloud/name``. Raises `ConfigError`."""
    named, _, name = region.rpartition("/")
    chosen = named or settings.cloud
    entry = _entry(chosen, settings) if chosen else _environment(os.environ)
    auth = {key: value for key, value in dict(entry.get("auth") or {}).items() if value is not None}
    if request.endpoint:
        auth["auth_url"] = request.endpoint
    if not auth.get("auth_url"):
        raise ConfigError(
            ["no Keystone is named: set blazar.cloud (an entry of clouds.yaml), OS_CLOUD, or OS_AUTH_URL and the rest"]
        )
    auth_type = str(entry.get("auth_type") or ("v3applicationcredential" if _has_application(auth) else "password"))
    cert, key = entry.get("cert"), entry.get("key")
    return Cloud(
        auth_type=auth_type,
        auth=auth,
        region=name,
        verify=_verify(entry),
        cert=(str(cert), str(key)) if cert and key else None,
    )


def _has_application(auth: Mapping[str, Any]) -> bool:
    return "application_credential_id" in auth or "application_credential_name" in auth


def _verify(entry: Mapping[str, Any]) -> bool | str:
    if str(entry.get("verify", True)).lower() in ("false", "0", "no") or entry.get("insecure"):
        return False
    return str(entry["cacert"]) if entry.get("cacert") else True


def _environment(environ: Mapping[str, str]) -> dict[str, Any]:
    words = {name.removeprefix("OS_").lower(): value for name, value in environ.items() if name.startswith("OS_")}
    auth = {key: value for key, value in words.items() if key not in _NOT_AUTH and value}
    return {"auth": auth, **{key: words[key] for key in ("auth_type", "cacert", "cert", "key") if words.get(key)}}


def _entry(name: str, settings: BlazarSettings) -> dict[str, Any]:
    path = _file(settings)
    clouds = _read(path).get("clouds") or {}
    if name not in clouds:
        known = ", ".join(map(str, clouds)) or "none"
        raise ConfigError([f"{path} has no cloud {name!r}. It has: {known}"])
    secure = path.with_name("secure.yaml")
    hidden = (_read(secure).get("clouds") or {}).get(name) or {} if secure.is_file() else {}
    entry = {**clouds[name], **hidden}
    entry["auth"] = {**(clouds[name].get("auth") or {}), **(hidden.get("auth") or {})}
    return entry


def _file(settings: BlazarSettings) -> Path:
    given = settings.clouds_file or os.environ.get("OS_CLIENT_CONFIG_FILE")
    if given:
        return Path(given).expanduser()
    for place in _PLACES:
        found = Path(place).expanduser() / "clouds.yaml"
        if found.is_file():
            return found
    raise ConfigError(
        [f"clouds.yaml is in none of {', '.join(_PLACES)} and the current directory. Set blazar.clouds_file"]
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        # The parser's own words may quote a line with a password.
        raise ConfigError([f"{path} cannot be read as YAML ({type(error).__name__}). Correct it"]) from None
    return found if isinstance(found, dict) else {}
