"""Give back: ask the cloud to remove things, and go on until it no longer lists them (rules 5, 6 and 7)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from itertools import groupby
from typing import Final

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.credentials import CredentialWatch
from pytest_capacity.engine.make import YOUNG, Maker
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.model import Diagnosis, Held, Piece, State, Unread

#: Pauses between rounds, seconds. The first looks come fast, since a test's end waits for them.
PAUSES: Final = (0.2, 0.3, 0.5, 1.0, 2.0, 5.0)

#: So long after a create call a complete listing that lacks what it would have made says that it made nothing. Seconds;
#: far above what a call and the cloud's own delay can take together.
HORIZON: Final = 600.0


class Scope:
    """What to release: all of the run, or the pieces of one attempt (``default/2/``) less the subjects to ``keep``."""

    def __init__(self, book: RunState, prefix: str = "", keep: Collection[str] = ()) -> None:
        self._book = book
        self._prefix = prefix
        self._keep = keep
        self.whole = not prefix

    def _has(self, subject: str) -> bool:
        return subject.startswith(self._prefix) and subject not in self._keep

    def held(self) -> list[Held]:
        """What of it is held."""
        return [held for held in self._book.held() if self._has(held.subject)]

    def doubts(self) -> list[Piece]:
        """What of it may or may not exist."""
        return [piece for piece in self._book.doubtful() if self._has(piece.subject)]

    def accepted(self) -> bool:
        """Whether the cloud has accepted to remove all of it."""
        return not self.doubts() and all(self._book.accepted(held.id) for held in self.held())


class Releaser:
    """Releases scopes. One may be at work on several at once, on different threads."""

    def __init__(
        self, backend: Backend, book: RunState, clock: Clock, maker: Maker, pool: Executor, alarm: CredentialWatch
    ) -> None:
        self._backend = backend
        self._book = book
        self._clock = clock
        self._maker = maker
        self._pool = pool
        self._alarm = alarm
        #: What the last listing of the whole run could not read.
        self.unread: tuple[Unread, ...] = ()

    def release(self, scope: Scope, until: Callable[[], bool], wake: threading.Event | None = None) -> bool:
        """Release ``scope`` and wait for the cloud's word. True: nothing is left. False: ``until`` said enough.

        ``wake`` ends a pause, so that ``until`` is asked at once.

        The whole run is confirmed by a listing of everything that bears its stamp; an attempt by looking at its things.
        """
        rounds = 0
        while True:
            self._settle(scope.doubts())
            self._ask(scope.held())
            everything_read = self._list(scope) if scope.whole else self._look_at_accepted(scope)
            if everything_read and not scope.held() and not scope.doubts():
                return True
            if until():
                return False
            self._clock.wait(PAUSES[min(rounds, len(PAUSES) - 1)], wake)
            rounds += 1

    def _settle(self, doubts: Sequence[Piece]) -> None:
        """Ask each doubtful create again, with its token: what it made comes back, to be released like the rest."""
        for piece, answer in zip(doubts, self._pool.map(self._maker.ask, doubts), strict=True):
            if not isinstance(answer, Diagnosis) or piece.subject not in self._book.doubts:
                continue
            if answer.step != "back-off" and not self._alarm.report(answer):
                self._book.trouble(f"still unknown whether a create call went through ({answer.code}: {answer.words})")

    def _ask(self, helds: Sequence[Held]) -> None:
        """Ask for the removal of what may go now: kinds in the backend's order, as many in a call as it takes."""
        for kinds in self._backend.release_order:
            of_kinds = [held for held in helds if held.kind in kinds]
            if of_kinds:
                waiting = [held for held in of_kinds if not self._book.accepted(held.id)]
                list(self._pool.map(self._release, self._batches(waiting)))
                return

    def _batches(self, helds: Iterable[Held]) -> list[list[Held]]:
        batches = []
        for (kind, _), group in groupby(sorted(helds, key=_kind_and_region), key=_kind_and_region):
            like, size = list(group), self._backend.batch.get(kind, 1)
            batches += [like[start : start + size] for start in range(0, len(like), size)]
        return batches

    def _release(self, helds: list[Held]) -> None:
        diagnosis = asked(self._backend, lambda: self._backend.release(helds))
        if diagnosis:
            if diagnosis.step == "gone" and len(helds) > 1:
                list(map(self._release, ([held] for held in helds)))
            elif diagnosis.step == "gone" and self._clock.now() - self._book.born.get(helds[0].id, 0) > YOUNG:
                self._gone(helds)
            elif diagnosis.step not in ("back-off", "gone") and not self._alarm.report(diagnosis):
                self._complain(helds, diagnosis)
            return
        self._alarm.reset()
        self._book.note("releasing", helds[0].subject, {"kind": helds[0].kind, "ids": [held.id for held in helds]})

    def _complain(self, helds: list[Held], diagnosis: Diagnosis) -> None:
        things = ", ".join(held.id for held in helds[:5]) + (" ..." if len(helds) > 5 else "")
        self._book.trouble(
            f"{helds[0].kind} {things} in {helds[0].region} could not be released: "
            f"{diagnosis.code}: {diagnosis.words.rstrip('.')}. "
            f"It is tried again; by hand: {'; '.join(self._backend.by_hand(helds))}"
        )

    def _look_at_accepted(self, scope: Scope) -> bool:
        accepted = [held for held in scope.held() if self._book.accepted(held.id)]
        return self._look(accepted, {"gone", "unseen"})

    def _look(self, helds: Sequence[Held], over: Collection[State]) -> bool:
        """Look at these things in the cloud; those in a state that is ``over`` are gone. Whether all could be read."""
        groups = [list(group) for _, group in groupby(sorted(helds, key=_kind_and_region), key=_kind_and_region)]
        return all(list(self._pool.map(lambda group: self._refresh(group, over), groups)))

    def _refresh(self, helds: list[Held], over: Collection[State]) -> bool:
        seen = asked(self._backend, lambda: self._backend.refresh(helds))
        if isinstance(seen, Diagnosis):
            self._unreadable(seen)
            return False
        self._gone([held for held in seen if held.state in over])
        return True

    def _list(self, scope: Scope) -> bool:
        """List what bears the run's stamp; whether all of it could be read."""
        regions = sorted(self._book.regions)
        found = asked(self._backend, lambda: list(self._backend.inventory(self._book.run, regions)))
        if isinstance(found, Diagnosis):
            found = [Unread(region, "everything", found.words) for region in regions]
        unread = [one for one in found if isinstance(one, Unread)]
        listed = {one.id: one for one in found if isinstance(one, Held)}
        self.unread = tuple(unread)
        for part in unread:
            self._book.trouble(f"{part.kind} in {part.region} could not be listed: {part.why}")
        self._adopt([held for held in listed.values() if held.state != "gone"])
        read = [held for held in scope.held() if not _is_unread(held, unread)]
        missing = [held for held in read if held.id not in listed]
        never_accepted = [held for held in missing if not self._book.accepted(held.id)]
        self._gone([held for held in missing if held not in never_accepted])
        # Not listed is no proof for what was never accepted for removal; that the cloud shows it as over is.
        self._look(never_accepted, {"gone"})
        if not unread:
            self._close_old(scope.doubts())
        return not unread

    def _close_old(self, doubts: Sequence[Piece]) -> None:
        """A create call that was made long ago, and whose thing a whole listing does not show, made nothing."""
        for piece in doubts:
            if self._clock.now() - self._book.asked.get(piece.subject, self._clock.now()) > HORIZON:
                words = f"not listed {HORIZON:g} s after the call"
                self._book.note("refused", piece.subject, {"kind": piece.kind, "step": "gone", "words": words})

    def _adopt(self, listed: Sequence[Held]) -> None:
        """Things with our whole stamp that we did not know of: what a lost answer made (rule 7)."""
        known = {held.id for held in self._book.held()}
        for held in listed:
            if not held.subject:
                self._book.trouble(
                    f"{held.kind} {held.id} in {held.region} bears this run's id and not our whole stamp, so it is not "
                    f"touched. If it is yours: {'; '.join(self._backend.by_hand([held]))}"
                )
            elif held.id not in known:
                self._book.note("created", held.subject, {"kind": held.kind, "ids": [held.id], "held": [held]})

    def _gone(self, helds: Sequence[Held]) -> None:
        for kind, group in groupby(sorted(helds, key=_kind_and_region), key=lambda held: held.kind):
            self._book.note("gone", data={"kind": kind, "ids": [held.id for held in group]})

    def _unreadable(self, diagnosis: Diagnosis) -> None:
        if diagnosis.step != "back-off" and not self._alarm.report(diagnosis):
            self._book.trouble(f"what is being released could not be looked at: {diagnosis.code}: {diagnosis.words}")


def _kind_and_region(held: Held) -> tuple[str, str]:
    return held.kind, held.region


def _is_unread(held: Held, unread: Sequence[Unread]) -> bool:
    return any(part.region == held.region and part.kind in (held.kind, "everything") for part in unread)
