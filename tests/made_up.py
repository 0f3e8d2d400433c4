"""What hypothesis makes up."""

from __future__ import annotations

from typing import Final

#: Letters of every kind: plain, quoting, YAML's own, blank, control, combining, right-to-left, outside the first plane.
#: All of Unicode would be no better, and takes each process seconds to lay out.
LETTERS: Final = (
    "abzAZ019-_.,:;/\\\"'`{}[]()<>&*!|%@#?=+~$ \t\r\n\x00\x07\x1b\x7f\x85\xa0\xadßéİſЖ中あ한אع"
    "\u0301\u200b\u200d\u202e\u2028\u2060\ufe0f\ufeff\ufffd\uffff🙂𝔞\U0010ffff"
)
