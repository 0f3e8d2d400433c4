"""The timer in a machine's user data: the only part of it that the emulator applies.

Nothing of it is run. But a machine that is set to end itself, and to be terminated when it does,
is the last protection after everything else, and must be shown to work. Two forms are read: ``shutdown ... +MINUTES``
and a difference between a time (seconds since the epoch) and now, in a script that shuts down. Of user data in parts
(MIME, as cloud-init takes it) the scripts are read.
"""

from __future__ import annotations

import re
from typing import Final

from pytest_capacity.emulator.user_data import parts

_AFTER: Final = re.compile(r"\bshutdown\b[^\n;&|]*\s\+(\d+)\b")
_AT: Final = re.compile(r"\b(\d{9,11}) *- *(?:\$\(date \+%s\)|\[DateTimeOffset\])")

#: Parts that cloud-init runs.
_SCRIPTS: Final = frozenset({"", "text/x-shellscript", "text/cloud-boothook"})


def shutdown_at(user_data: bytes, running_at: float) -> float | None:
    """Return when the machine shuts itself down by its user data; None if it does not."""
    ends = [_end(part.text, running_at) for part in parts(user_data) if part.type in _SCRIPTS]
    return min((end for end in ends if end is not None), default=None)


def _end(script: str, running_at: float) -> float | None:
    if "shutdown" not in script:
        return None
    at = _AT.search(script)
    if at is not None:
        return max(running_at, float(at.group(1)))
    after = _AFTER.search(script)
    return running_at + int(after.group(1)) * 60 if after is not None else None
