"""Release: request the removal of things, and continue until the cloud no longer lists them (rules 5, 6 and 7)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.clock import Clock, poll_pause
from pytest_capacity.engine.credentials import CredentialWatch
from pytest_capacity.engine.make import YOUNG, Maker
from pytest_capacity.engine.run_state import RunState, by_kind_and_region
from pytest_capacity.model import Diagnosis, Held, HeldKey, Piece, Unread

#: So long after a create call a complete listing that lacks what it would have made says that it made nothing. Seconds;
#: far above what a call and the cloud's own delay can take together.
HORIZON: Final = 600.0


#: After so many looks it will be long, hours perhaps, and pauses are: seconds.
PERSISTENT: Final = 60
LONG_PAUSE: Final = 30.0


class Scope:
    """The things to release: all of the run, or, where ``subjects`` are given, their outcomes, or else ``keys`` alone.

    Of ``unlisted`` something may exist that the journal does not know of: it is looked for in ``regions`` by the stamp.
    """

    def __init__(
        self,
        run_state: RunState,
        subjects: Collection[str] | None = None,
        unlisted: Collection[str] = (),
        regions: Iterable[str] = (),
        keys: Collection[HeldKey] | None = None,
    ) -> None:
        self._run_state = run_state
        self._keys = keys
        self._subjects = () if subjects is None and keys is not None else subjects
        self._regions = frozenset(regions)
        self.unlisted = frozenset(unlisted)
        self.whole = subjects is None and keys is None
        #: What the cloud has refused to remove, for certain.
        self.refused: list[Diagnosis] = []

    @property
    def regions(self) -> list[str]:
        """Return the regions in which to look for it by the stamp."""
        return sorted(self._run_state.regions if self.whole else self._regions)

    def has(self, subject: str) -> bool:
        """Return whether what came of ``subject`` is to be released."""
        return self._subjects is None or subject in self._subjects

    def held(self) -> list[Held]:
        """Return what of it is held."""
        if self._keys is not None:
            return [held for held in self._run_state.held() if held.key in self._keys]
        return [held for held in self._run_state.held() if self.has(held.subject)]

    def doubts(self) -> list[Piece]:
        """Return what of it may or may not exist."""
        return [piece for piece in self._run_state.doubtful() if self.has(piece.subject)]

    def accepted(self) -> bool:
        """Return whether the cloud has accepted to remove all of it."""
        return not self.doubts() and all(map(self._run_state.accepted, self.held()))


@dataclass(eq=False)
class Releaser:
    """Releases scopes. One may be at work on several at once, on different threads."""

    _backend: Backend
    _run_state: RunState
    _clock: Clock
    _maker: Maker
    _pool: Executor
    _credentials: CredentialWatch
    #: What the last listing of the whole run could not read.
    unread: tuple[Unread, ...] = field(default=(), init=False)

    def release(self, scope: Scope, until: Callable[[], bool], wake: threading.Event | None = None) -> bool:
        """Release ``scope`` and wait until the cloud confirms it. True: nothing is left. False: ``until`` ended it.

        ``wake`` ends a pause, so that ``until`` is called at once.

        Only what was requested to be removed and is still there is looked at. At the end the whole run, and an attempt
        of which something may exist unknown to the journal, is confirmed by a listing of what bears the stamp. Where no
        node is being removed, the first look at the whole run is that listing, since all may be gone by then.
        """
        looks = 0
        while True:
            self._settle(scope.doubts())
            listed = self._round(scope, first=looks == 0)
            looks += 1
            enough = until()
            if not listed and (enough or not scope.held()):
                listed = self._confirm(scope)
            if listed and not scope.held() and not scope.doubts():
                return True
            if enough:
                return False
            self._clock.wait(poll_pause(looks) if looks < PERSISTENT else LONG_PAUSE, wake)

    def _round(self, scope: Scope, *, first: bool) -> bool:
        """Request the removal of all that may go now, and look at it; return whether all of the scope was listed last.

        What may go only after other things is requested as soon as the listing shows these gone.
        """
        tried: set[HeldKey] = set()
        listed = False
        while now := [held for held in self._backend.releasable(scope.held()) if held.key not in tried]:
            tried.update(held.key for held in now)
            batches = self._batches(held for held in now if not self._run_state.accepted(held))
            list(self._pool.map(lambda helds: self._release(helds, scope), batches))
            still = {held.key: held for held in scope.held()}
            if listed := scope.whole and first and not any(held.kind == "node" for held in still.values()):
                listed, first = self._list(scope), False
            elif not self._look([held for held in now if held.key in still]):
                return self._confirm(scope)  # What cannot be looked at may be listed.
        return listed

    def _confirm(self, scope: Scope) -> bool:
        """Return whether nothing of the scope is known to be there by a listing, where one is needed."""
        return self._list(scope) if scope.whole or scope.unlisted else True

    def _settle(self, doubts: Sequence[Piece]) -> None:
        """Repeat each doubtful create call with its token: what it made is then known, and released like the rest."""
        for piece, answer in zip(doubts, self._pool.map(self._maker.ask, doubts), strict=True):
            if not isinstance(answer, Diagnosis) or piece.subject not in self._run_state.doubts:
                continue
            if answer.step != "back-off" and not self._credentials.report(answer):
                self._run_state.trouble(
                    f"still unknown whether a create call went through ({answer.code}: {answer.words})"
                )

    def _batches(self, helds: Iterable[Held]) -> list[list[Held]]:
        batches = []
        for alike in by_kind_and_region(helds):
            size = self._backend.batch.get(alike[0].kind, 1)
            batches += [alike[start : start + size] for start in range(0, len(alike), size)]
        return batches

    def _release(self, helds: list[Held], scope: Scope) -> None:
        answer = asked(self._backend, lambda: list(self._backend.release(helds)))
        if isinstance(answer, Diagnosis):
            self._refused(helds, answer, scope)
            return
        self._credentials.reset()
        before = {held.key: held for held in helds}
        if leaving := [held for held in answer if held.state in ("leaving", "gone")]:
            self._run_state.note_releasing(leaving)
        # The listing at the end confirms it.
        self._run_state.note_gone([held for held in answer if held.state == "gone"])
        steps = [held for held in answer if held.state not in ("leaving", "gone") and held != before.get(held.key)]
        if steps:
            self._run_state.note("state", data={"held": steps})

    def _refused(self, helds: list[Held], diagnosis: Diagnosis, scope: Scope) -> None:
        if diagnosis.step == "gone" and len(helds) > 1:
            for held in helds:
                self._release([held], scope)
        elif diagnosis.step == "gone" and self._run_state.age(helds[0]) > YOUNG:
            self._run_state.note_gone(helds)
        elif diagnosis.step not in ("back-off", "gone") and not self._credentials.report(diagnosis):
            if diagnosis.step != "ask-again":
                scope.refused.append(diagnosis)
            self._complain(helds, diagnosis)

    def _complain(self, helds: list[Held], diagnosis: Diagnosis) -> None:
        things = ", ".join(held.id for held in helds[:5]) + (" ..." if len(helds) > 5 else "")
        self._run_state.trouble(
            f"{helds[0].kind} {things} in {helds[0].region} could not be released: "
            f"{diagnosis.code}: {diagnosis.words.rstrip('.')}. "
            f"It is tried again; by hand: {'; '.join(self._backend.by_hand(helds))}"
        )

    def _look(self, helds: Sequence[Held]) -> bool:
        """Look at these things in the cloud, and record those that are gone. Return whether all could be read."""
        return all(list(self._pool.map(self._refresh, by_kind_and_region(helds))))

    def _refresh(self, helds: list[Held]) -> bool:
        seen = asked(self._backend, lambda: self._backend.refresh(helds))
        if isinstance(seen, Diagnosis):
            self._unreadable(seen)
            return False
        # That the cloud does not list it proves nothing of what it never accepted to remove.
        accepted = {held.key for held in helds if self._run_state.accepted(held)}
        over = [held for held in seen if held.state == "gone" or (held.state == "unseen" and held.key in accepted)]
        self._run_state.note_gone(over)
        return True

    def _list(self, scope: Scope) -> bool:
        """List what bears the run's stamp; return whether all of it could be read."""
        regions = scope.regions
        found = asked(self._backend, lambda: list(self._backend.inventory(self._run_state.run, regions)))
        if isinstance(found, Diagnosis):
            found = [Unread(region, "everything", found.words) for region in regions]
        unread = [one for one in found if isinstance(one, Unread)]
        listed = {one.key: one for one in found if isinstance(one, Held)}
        if scope.whole:
            self.unread = tuple(unread)
        for part in unread:
            self._run_state.trouble(f"{part.kind} in {part.region or 'every region'} could not be listed: {part.why}")
        self._adopt(scope, [held for held in listed.values() if held.state != "gone"])
        missing = [held for held in scope.held() if held.key not in listed and not _is_unread(held, unread)]
        never_accepted = [held for held in missing if not self._run_state.accepted(held)]
        self._run_state.note_gone([held for held in missing if held not in never_accepted])
        self._look(never_accepted)
        if not unread:
            self._close_old(scope.doubts())
        return not unread

    def _close_old(self, doubts: Sequence[Piece]) -> None:
        """Settle create calls made long ago whose things a whole listing does not show: they made nothing."""
        for piece in doubts:
            if self._clock.now() - self._run_state.asked.get(piece.subject, self._clock.now()) > HORIZON:
                words = f"not listed {HORIZON:g} s after the call"
                self._run_state.note("refused", piece.subject, {"kind": piece.kind, "step": "gone", "words": words})

    def _adopt(self, scope: Scope, listed: Sequence[Held]) -> None:
        """Adopt what has the run's whole stamp and was not known: a lost answer or a refused call made it (rule 7)."""
        known = {held.key for held in self._run_state.held()}
        for held in listed:
            if not held.subject and scope.whole:
                self._run_state.trouble(
                    f"{held.kind} {held.id} in {held.region} bears this run's id and not our whole stamp, so it is not "
                    f"touched. If it is yours: {'; '.join(self._backend.by_hand([held]))}"
                )
            elif held.subject and scope.has(held.subject) and held.key not in known:
                self._run_state.note("created", held.subject, {"kind": held.kind, "ids": [held.id], "held": [held]})

    def _unreadable(self, diagnosis: Diagnosis) -> None:
        if diagnosis.step != "back-off" and not self._credentials.report(diagnosis):
            self._run_state.trouble(
                f"what is being released could not be looked at: {diagnosis.code}: {diagnosis.words}"
            )


def _is_unread(held: Held, unread: Sequence[Unread]) -> bool:
    return any(part.region in ("", held.region) and part.kind in (held.kind, "everything") for part in unread)
