"""Words of a cloud or a file, made fit for a terminal and a CI log."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Final

#: Control characters, and those that turn the direction of text.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
#: Terminal escape sequences as a whole, so that their letters do not stay.
_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
# A line that starts with `::name::` is a command to GitHub's runner, and so is `##[name]` anywhere (or `##vso[`).
_COMMAND: Final = re.compile(r"^(\s*):(?=:)", re.MULTILINE)
#: What a line begins with, and its continuations too: who says it, and the spaces that show what it belongs to.
_LEAD: Final = re.compile(r"(capacity: )?( *)")
_COMMAND_INDENT: Final = 4
#: Columns; in fewer, half of the lines would be indentation.
_NARROWEST: Final = 40
_OLD_COMMAND: Final = re.compile(r"##(?=\[|vso\[)")


def clean(words: str, *, limit: int | None = None, lines: bool = False) -> str:
    """Return ``words`` without control characters and CI commands, on one line unless ``lines``, cut to ``limit``."""
    text = _CONTROL.sub("", _ESCAPE.sub("", words.replace("\r\n", "\n").replace("\r", "\n")))
    if not lines:
        text = " ".join(text.split())
    text = _OLD_COMMAND.sub("# #", _COMMAND.sub(r"\1: ", text))
    return text if limit is None or len(text) <= limit else text[: limit - 1].rstrip() + "…"


def width_of(stream: IO[str] | None, environ: Mapping[str, str]) -> int | None:
    """Return the columns that ``stream`` has: ``COLUMNS``, or those of its terminal.

    None for a file or a pipe: lines that are searched, in a CI's log above all, stay whole there.
    """
    try:
        if not environ.get("COLUMNS", "").isdigit() and (stream is None or not stream.isatty()):
            return None
    except ValueError:  # It is closed.
        return None
    return max(_NARROWEST, shutil.get_terminal_size().columns)


def fold(text: str, width: int | None) -> Iterator[str]:
    """Yield ``text`` as lines of at most ``width`` columns, the later ones indented below the first.

    A word that is longer than that, an address or a path, stays whole; so does a command that is to be copied, which
    stands four spaces in.
    """
    lead = _LEAD.match(text)
    assert lead is not None
    if width is None or len(text) <= width or len(lead[2]) >= _COMMAND_INDENT:
        yield text
        return
    yield from textwrap.wrap(
        text[lead.end() :],
        width,
        initial_indent=lead[0],
        subsequent_indent=f"{lead[0]}    ",
        break_long_words=False,
        break_on_hyphens=False,
    ) or [text]


def fold_all(lines: Iterable[str], width: int | None) -> Iterator[str]:
    """Yield each of ``lines`` as `fold` does."""
    for line in lines:
        yield from fold(line, width)


def on_screen(words: str) -> str:
    """Return an error as lines that are no wider than the terminal, where there is one."""
    return "\n".join(fold_all(words.splitlines(), width_of(sys.__stderr__, os.environ)))


def distance(one: str, other: str) -> int:
    """Return how many slips lie between two words: a letter too many, too few, another one, or two that changed places.

    difflib counts letters in common, and so may prefer a word with other letters to the one with two of them swapped.
    """
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, its in enumerate(other, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != its))
            if i > 1 and j > 1 and (letter, one[i - 2]) == (other[j - 2], its):
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return which of ``known`` was probably meant by ``word``: a slip or two away, whatever the case; "" for none.

    Also empty where ``word`` itself is known.
    """
    far = max(2, len(word) // 6)
    near = [(distance(word.lower(), one.lower()), one) for one in known if abs(len(one) - len(word)) <= far]
    slips, best = min(near, default=(0, ""))
    return best if 0 < slips <= far else ""


def moment(at: float) -> str:
    """Return ``2026-11-21 01:16:48 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
