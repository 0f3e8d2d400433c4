"""The content of a machine's user data, in any of its forms. Nothing of it is run."""

from __future__ import annotations

import email
import gzip
import zlib
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

#: cloud-init looks so far for the header of a message.
_HEADERS: Final = 4096


class Part(Struct, frozen=True):
    """One part of it: its media type, as in the message (empty where there is no message), and its text."""

    type: str
    text: str


def parts(user_data: bytes) -> Iterator[Part]:
    """Yield those of a multipart message, all else as a whole; gzip is taken off (cloud-init's documentation,
    "User data formats")."""
    if user_data.startswith(b"\x1f\x8b"):
        try:
            user_data = gzip.decompress(user_data)
        except (OSError, EOFError, zlib.error):
            return
    if b"mime-version:" not in user_data[:_HEADERS].lower():
        yield Part("", user_data.decode("utf-8", "replace"))
        return
    for part in email.message_from_bytes(user_data).walk():
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            yield Part(part.get_content_type(), content.decode("utf-8", "replace"))


def says_line(user_data: bytes, line: str) -> bool:
    """Return whether a line of it is this one."""
    return any(one.strip() == line for part in parts(user_data) for one in part.text.splitlines())
