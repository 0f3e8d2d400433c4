"""Who we are to the cloud, and whether that is who the run belongs to."""

from __future__ import annotations

from collections.abc import Callable

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.alarm import Alarm
from pytest_capacity.engine.asking import asked
from pytest_capacity.engine.book import Book
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.make import FIRST_PAUSE, LAST_PAUSE
from pytest_capacity.model import Diagnosis, Identity


class Account:
    """Pins the run to one account: nothing is created, released or taken for gone in another.

    ``wanted`` is the account that the configuration insists on.
    """

    def __init__(self, backend: Backend, book: Book, clock: Clock, alarm: Alarm, wanted: str | None) -> None:
        self._backend = backend
        self._book = book
        self._clock = clock
        self._alarm = alarm
        self._wanted = wanted
        #: Whether this process has seen that its credentials are of the run's account.
        self._trusted = False
        #: The known end of the credentials that was looked into already.
        self._looked_into: float | None = None

    def pin(self, identity: Identity) -> str:
        """Make it the run's account; why that cannot be, or nothing."""
        stranger = self._stranger(identity)
        if not stranger:
            self._trusted = True
            self._book.note("identity", data=identity)
        return stranger

    def _stranger(self, identity: Identity) -> str:
        for source, pinned in (
            ("aws.account says", self._wanted),
            ("this run began in", self._book.identity.account if self._book.identity else None),
        ):
            if pinned and pinned != identity.account:
                return f"these credentials belong to account {identity.account}, but {source} {pinned}"
        return ""

    def is_ours(self, until: Callable[[], bool]) -> bool:
        """Whether the credentials are the run's own, asked until ``until``: in another one a listing says nothing."""
        pause = FIRST_PAUSE
        while not self._trusted:
            identity = asked(self._backend, self._backend.whoami)
            if not isinstance(identity, Diagnosis):
                stranger = self._stranger(identity)
                self._trusted = not stranger
                if stranger:
                    self._book.trouble(f"{stranger}, so nothing can be released. Use the credentials of that account")
            elif not self._alarm.hears(identity):
                self._book.trouble(f"the cloud does not say who we are: {identity.code}: {identity.words}")
            if not self._trusted:
                if until():
                    return False
                self._clock.wait(pause)
                pause = min(pause * 2, LAST_PAUSE)
        return True

    def has_ended(self) -> bool:
        """Whether the known end of the credentials has just passed. Quick; True once for each end."""
        expires = self._book.identity.expires if self._book.identity else None
        if expires is None or expires == self._looked_into or self._clock.now() < expires:
            return False
        self._looked_into = expires
        return True

    def look_again(self) -> None:
        """See whether the credentials still work; if not, the alarm sounds."""
        identity = asked(self._backend, self._backend.whoami)
        if not isinstance(identity, Diagnosis):
            self._book.note("identity", data=identity)
        else:
            self._alarm.hears(identity)
