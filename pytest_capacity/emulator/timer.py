"""The timer in a machine's user data: the one thing in it that the emulator heeds.

A machine of the emulator runs nothing. But a machine that was told to end itself, and to be terminated when it does,
is a net under everything else, and one that is to be seen to hold. Two forms are understood: ``shutdown ... +MINUTES``,
and a difference between a time (seconds since the epoch) and now, in a script that shuts down. Of user data in parts
(MIME, as cloud-init takes it) the scripts are read.
"""

from __future__ import annotations

import base64
import email
import re
from collections.abc import Iterator
from typing import Final

_AFTER: Final = re.compile(r"\bshutdown\b[^\n;&|]*\s\+(\d+)\b")
_AT: Final = re.compile(r"\b(\d{9,11}) *- *(?:\$\(date \+%s\)|\[DateTimeOffset\])")

#: cloud-init looks so far for the header of a message.
_HEADERS: Final = 4096


def shutdown_at(user_data: str | None, running_at: float) -> float | None:
    """When the machine shuts itself down by its user data (in base64); None if it does not."""
    whole = base64.b64decode(user_data or "").decode("utf-8", "replace")
    ends = [_end(script, running_at) for script in _scripts(whole)]
    return min((end for end in ends if end is not None), default=None)


def _scripts(whole: str) -> Iterator[str]:
    if "mime-version:" not in whole[:_HEADERS].lower():
        yield whole
        return
    for part in email.message_from_string(whole).walk():
        if part.get_content_type() in ("text/x-shellscript", "text/cloud-boothook"):
            content = part.get_payload(decode=True)
            yield content.decode("utf-8", "replace") if isinstance(content, bytes) else ""


def _end(script: str, running_at: float) -> float | None:
    if "shutdown" not in script:
        return None
    at = _AT.search(script)
    if at is not None:
        return max(running_at, float(at.group(1)))
    after = _AFTER.search(script)
    return running_at + int(after.group(1)) * 60 if after is not None else None
