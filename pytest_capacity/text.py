"""Words of a cloud or a file, made fit for a terminal and a CI log."""

from __future__ import annotations

import re
import time
from typing import Final

#: Control characters, and those that turn the direction of text.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
#: Terminal escape sequences as a whole, so that their letters do not stay.
_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
# A line that starts with `::name::` is a command to GitHub's runner, and so is `##[name]` anywhere (Azure's `##vso[`).
_COMMAND: Final = re.compile(r"^(\s*):(?=:)", re.MULTILINE)
_OLD_COMMAND: Final = re.compile(r"##(?=\[|vso\[)")


def clean(words: str, *, limit: int | None = None, lines: bool = False) -> str:
    """``words`` without control characters and CI commands; on one line unless ``lines``, at most ``limit`` long."""
    text = _CONTROL.sub("", _ESCAPE.sub("", words.replace("\r\n", "\n").replace("\r", "\n")))
    if not lines:
        text = " ".join(text.split())
    text = _OLD_COMMAND.sub("# #", _COMMAND.sub(r"\1: ", text))
    return text if limit is None or len(text) <= limit else text[: limit - 1].rstrip() + "…"


def moment(at: float) -> str:
    """``2026-11-21 01:16:48 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
