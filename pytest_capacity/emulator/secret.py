"""The secret of one start: without it any user of this machine could start processes as the emulator's user."""

from __future__ import annotations

import hmac
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from pytest_capacity.emulator.http import Headers
from pytest_capacity.emulator.private_folder import private_folder

#: What a file's mode gives to others than its owner.
_OTHERS: Final = 0o077


class SecretError(Exception):
    """The file that should hold the secret is invalid."""


def _read(path: str) -> str:
    """Return the secret that stands in a file of the user's."""
    try:
        text = Path(path).read_text(encoding="ascii").strip()
        mode = Path(path).stat().st_mode
    except (OSError, UnicodeDecodeError) as problem:
        raise SecretError(f"--secret-file {path}: {problem}") from None
    if not text:
        raise SecretError(f"--secret-file {path}: it is empty; write a secret into it")
    if mode & _OTHERS:
        raise SecretError(f"--secret-file {path}: other users may read or change it; run chmod 600 on it")
    return text


class Secret:
    """A text that every client of this emulator needs, and the file that contains it.

    A face checks requests with it: as the key of signatures, or as a bearer token. ``folder`` is private (0700) and is
    removed when the emulator ends; a face may write files for its clients there.
    """

    def __init__(self, text: str, file: Path, folder: Path) -> None:
        self.text = text
        self.file = file
        self.folder = folder

    @classmethod
    def make(cls, path: str | None) -> Secret:
        """Return the secret in the file ``path``, or a new one in a file that is made. Raise `SecretError`."""
        text = secrets.token_urlsafe(30)
        if path is not None:
            text = _read(path)
        folder = private_folder()
        file = folder / "secret" if path is None else Path(path).absolute()
        if path is None:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
                new.write(text)
        return cls(text, file, folder)

    def is_borne(self, headers: Headers) -> bool:
        """Return whether a request bears it: ``Authorization: Bearer SECRET``."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.equals(token.strip())

    def equals(self, text: str) -> bool:
        """Return whether ``text`` is the secret, in a time that does not depend on it."""
        return hmac.compare_digest(text.encode("utf-8", "replace"), self.text.encode())

    def remove(self) -> None:
        """Remove the folder, and the file if it is the emulator's."""
        shutil.rmtree(self.folder, ignore_errors=True)
