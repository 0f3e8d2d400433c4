"""What is said when the credentials end while something is held: at once, loudly, with all that a person needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.expiry import Expiry
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.model import Diagnosis, Held


class CredentialWatch:
    """Sounds once, and again only after the credentials have worked in between.

    ``prices`` are USD an hour by instance type, as the user gave them; without any, no cost is named. ``ends`` says
    until when things stay if nobody removes them.
    """

    def __init__(
        self, backend: Backend, book: RunState, prices: Mapping[str, float], ends: Callable[[Sequence[Held]], Expiry]
    ) -> None:
        self._backend = backend
        self._book = book
        self._prices = prices
        self._ends = ends
        self._lock = threading.Lock()
        self._sounding = False

    def report(self, diagnosis: Diagnosis) -> bool:
        """Whether the diagnosis says that the credentials are no good; then the alarm sounds."""
        if diagnosis.kind != "auth":
            return False
        with self._lock:
            already, self._sounding = self._sounding, True
        if not already:
            self._book.trouble(self._words(diagnosis))
        return True

    def reset(self) -> None:
        """The credentials work."""
        with self._lock:
            self._sounding = False

    def _words(self, diagnosis: Diagnosis) -> str:
        helds = self._book.held()
        said = f"THE CREDENTIALS DO NOT WORK ANY MORE ({diagnosis.code}: {diagnosis.words})"
        if not helds:
            return f"{said}, and nothing is held that the journal knows of. Renew them"
        things = ", ".join(f"{held.kind} {held.id}" for held in helds)
        commands = "; ".join(self._backend.by_hand(helds))
        return (
            f"{said} while this run holds {things}{_cost(helds, self._prices)}{_until(self._ends(helds))}. "
            f"Put new ones in their place (files and profiles are read again), or remove it by hand: {commands}"
        )


def _cost(helds: Sequence[Held], prices: Mapping[str, float]) -> str:
    """A node in a reservation is not billed beside it."""
    reservations = {held.id for held in helds if held.kind == "reservation"}
    billed = [
        (held.facts.get("instance_type", ""), held.count)
        for held in helds
        if held.facts.get("instance_type") and held.facts.get("reservation_id") not in reservations
    ]
    known = [prices[instance_type] * count for instance_type, count in billed if instance_type in prices]
    if not known:
        return ""
    return f", for {'' if len(known) == len(billed) else 'at least '}{sum(known):.2f} USD an hour"


def _until(ends: Expiry) -> str:
    words = ""
    if ends.until is not None:
        at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ends.until))
        words = f", bound to end by {at} at the latest"
    if ends.endless:
        words += f", and nothing ends {', '.join(ends.endless)} by itself"
    return words
