"""The timer in a machine's user data: the one thing in it that the emulator heeds.

A machine of the emulator runs nothing. But a machine that was told to end itself, and to be terminated when it does,
is a net under everything else, and one that is to be seen to hold. Two forms are understood: ``shutdown ... +MINUTES``,
and a difference between a time (seconds since the epoch) and now, in a script that shuts down.
"""

from __future__ import annotations

import base64
import re
from typing import Final

_AFTER: Final = re.compile(r"\bshutdown\b[^\n;&|]*\s\+(\d+)\b")
_AT: Final = re.compile(r"\b(\d{9,11}) *- *(?:\$\(date \+%s\)|\[DateTimeOffset\])")


def shutdown_at(user_data: str | None, running_at: float) -> float | None:
    """When the machine shuts itself down by its user data (in base64); None if it does not."""
    script = base64.b64decode(user_data or "").decode("utf-8", "replace")
    if "shutdown" not in script:
        return None
    at = _AT.search(script)
    if at is not None:
        return max(running_at, float(at.group(1)))
    after = _AFTER.search(script)
    return running_at + int(after.group(1)) * 60 if after is not None else None
