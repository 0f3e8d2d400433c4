"""Who we are to the cloud, and whether that is who the run belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.credentials import CredentialWatch
from pytest_capacity.engine.make import FIRST_PAUSE, LAST_PAUSE
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.model import Diagnosis, Identity

#: How often credentials are looked at that work longer than was said of them. Seconds.
LOOK_AGAIN: Final = 30.0


class Account:
    """Pins the run to one account: nothing is created, released or taken for gone in another.

    ``wanted`` is the setting that pins the account, and the account; two empty texts: none does.
    """

    def __init__(
        self, backend: Backend, book: RunState, clock: Clock, alarm: CredentialWatch, wanted: tuple[str, str]
    ) -> None:
        self._backend = backend
        self._book = book
        self._clock = clock
        self._alarm = alarm
        self._wanted = wanted
        #: Whether this process has seen that its credentials are of the run's account.
        self._trusted = False
        #: When to look again whether credentials still work that should have ended.
        self._look_at = 0.0

    def pin(self, identity: Identity) -> str:
        """Make it the run's account; why that cannot be, or nothing."""
        stranger = self._stranger(identity)
        if not stranger:
            self._trusted = True
            self._book.note("identity", data=identity)
        return stranger

    def _stranger(self, identity: Identity) -> str:
        return stranger(identity, self._wanted, self._book.identity)

    def is_ours(self, until: Callable[[], bool]) -> bool:
        """Whether the credentials are the run's own, asked until ``until``: in another one a listing says nothing."""
        pause, said = FIRST_PAUSE, ""
        while not self._trusted:
            identity = asked(self._backend, self._backend.whoami)
            if not isinstance(identity, Diagnosis):
                stranger = self._stranger(identity)
                self._trusted = not stranger
                if stranger and stranger != said:
                    said = stranger
                    self._book.trouble(f"{stranger}, so nothing can be released. Use the credentials of that account")
            elif not self._alarm.report(identity) and identity.code != said:
                said = identity.code
                self._book.trouble(f"the cloud does not say who we are: {identity.code}: {identity.words}")
            if not self._trusted:
                if until():
                    return False
                self._clock.wait(pause)
                pause = min(pause * 2, LAST_PAUSE)
        return True

    def has_ended(self) -> bool:
        """Whether the known end of the credentials is past, so that it is time to look. Quick; True now and then."""
        expires = self._book.identity.expires if self._book.identity else None
        now = self._clock.now()
        if expires is None or now < max(expires, self._look_at):
            return False
        self._look_at = now + LOOK_AGAIN
        return True

    def look_again(self) -> None:
        """See whether the credentials still work; if not, the alarm sounds."""
        identity = asked(self._backend, self._backend.whoami)
        if isinstance(identity, Diagnosis):
            self._alarm.report(identity)
            return
        self._alarm.reset()
        if identity != self._book.identity:
            self._book.note("identity", data=identity)


def stranger(identity: Identity, wanted: tuple[str, str], began: Identity | None = None) -> str:
    """Why this account is not the one that the configuration wants, or that the run began in; empty if it is."""
    setting, account = wanted
    for source, pinned in ((f"{setting} says", account), ("this run began in", began.account if began else None)):
        if pinned and pinned != identity.account:
            return f"these credentials belong to account {identity.account}, but {source} {pinned}"
    return ""
