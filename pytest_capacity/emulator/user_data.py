"""What stands in a machine's user data, whatever form it came in. Nothing of it is run."""

from __future__ import annotations

import email
import gzip
import zlib
from collections.abc import Iterator
from email.message import Message


def texts(user_data: bytes) -> Iterator[str]:
    """Its parts: those of a multipart message one by one, all else as a whole; gzip is taken off (cloud-init's
    documentation, "User data formats")."""
    if user_data.startswith(b"\x1f\x8b"):
        try:
            user_data = gzip.decompress(user_data)
        except (OSError, EOFError, zlib.error):
            return
    head = user_data[:4096].lower()
    if head.startswith((b"content-type:", b"mime-version:")):
        yield from _payloads(email.message_from_bytes(user_data))
    else:
        yield user_data.decode("utf-8", "replace")


def says_line(user_data: bytes, line: str) -> bool:
    """Whether a line of it is this one."""
    return any(one.strip() == line for text in texts(user_data) for one in text.splitlines())


def _payloads(message: Message) -> Iterator[str]:
    for part in message.walk():
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            yield payload.decode("utf-8", "replace")
