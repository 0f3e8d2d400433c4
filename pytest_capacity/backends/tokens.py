"""Client tokens: one logical create has one, and a later try of the same piece has another."""

from __future__ import annotations

import hashlib
import json


def token(run: str, subject: str, region: str, zone: str, attempt: int, tries: int = 0) -> str:
    """Return the token of one logical create: 43 ASCII characters, the same for the same arguments, on every machine.

    Region and zone are part of it because a cloud honours a token within one of them only: it may take the same
    token in another zone for a second create. ``tries`` counts the
    definite refusals so far; after an unknown outcome it stays as it is.
    """
    identity = json.dumps([run, subject, region, zone, attempt, tries], separators=(",", ":"))
    return "pc-" + hashlib.sha256(identity.encode()).hexdigest()[:40]


def fit(value: str, limit: int) -> str:
    """Return ``value``, or if it is longer its beginning and a hash of the whole, ``limit`` characters in all.

    Two long values that begin alike stay two values. ``limit`` is at least 16.
    """
    if len(value) <= limit:
        return value
    mark = hashlib.sha256(value.encode()).hexdigest()[:12]
    return f"{value[: limit - len(mark) - 1]}~{mark}"
