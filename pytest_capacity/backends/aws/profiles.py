"""What a profile of the SDK's files needs that a process without a terminal cannot give, and how its words name it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError
from botocore.session import Session
from botocore.utils import JSONFileCache

#: Where the AWS command line keeps the credentials of the roles that it has taken on.
CLI_CACHE: Final = "~/.aws/cli/cache"

#: Settings of a profile that say where its credentials come from (AWS SDKs and Tools Reference Guide).
_SOURCES: Final = (
    "credential_process",
    "credential_source",
    "source_profile",
    "role_arn",
    "mfa_serial",
    "web_identity_token_file",
    "sso_session",
    "sso_start_url",
    "login_session",
    "aws_access_key_id",
)


class MfaCodeNeededError(BotoCoreError):
    """A role that wants a code, which only a person can give."""

    fmt = "profile {profile!r} wants an MFA code of {serial}, and the AWS command line has no session of it that lasts"


class _CliCache(JSONFileCache):
    """The cache of the AWS command line, read alone: what we get ourselves is written nowhere."""

    def __init__(self) -> None:
        super().__init__(working_dir=os.path.expanduser(CLI_CACHE))  # noqa: PTH111 - a folder may not be there
        self._own: dict[str, Any] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._own or bool(super().__contains__(key))

    def __getitem__(self, key: str) -> Any:
        return self._own[key] if key in self._own else super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._own[key] = value


def serve_without_terminal(session: Session) -> None:
    """Let ``session`` use the roles that the AWS command line holds, and say so where it would ask for a code.

    The command line has the same cache, under the same keys: who has used a profile there need not be asked again.
    """
    provider = session.get_component("credential_provider").get_provider("assume-role")
    provider.cache = _CliCache()
    # A terminal that the keeper does not have would be read from: EOFError, without a word of the profile.
    provider._prompter = _refusing(session.profile or "default")  # noqa: SLF001 - botocore has no public way to it


def _refusing(profile: str) -> Callable[[str], str]:
    def prompter(prompt: str) -> str:
        serial = prompt.removeprefix("Enter MFA code for ").rstrip(": ")
        raise MfaCodeNeededError(profile=profile, serial=serial)

    return prompter


def describe(session: Session) -> str:
    """Return which profile of which file was used, and where its credentials come from; "" where it names nothing."""
    scoped: Mapping[str, Any] = session.get_scoped_config()
    sources = [key for key in _SOURCES if scoped.get(key)]
    if not sources and not session.profile:
        return ""
    file = Path(str(session.get_config_variable("config_file"))).expanduser()
    said = ", ".join(sources) or "nothing that gives credentials"
    return f"profile {session.profile or 'default'!r} in {file}: {said}"
