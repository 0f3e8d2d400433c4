"""Make one piece: intent, call, and the reading of what came back."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from pytest_capacity.backends.base import Backend
from pytest_capacity.backends.tokens import token
from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.clock import Clock, Deadline
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.errors import TimedOut
from pytest_capacity.model import Diagnosis, Held, Order, Piece

#: A thing this young may not be known everywhere in the cloud yet, so "no such thing" is not believed. Seconds.
YOUNG = 30.0

#: So long a new reservation may refuse launches as full though it is there (scylla-cluster-tests, issue 8839: seen
#: after two seconds). Seconds.
FILLING = 8.0

#: Pauses between asking again, seconds: doubling from the first to the last.
FIRST_PAUSE, LAST_PAUSE = 0.2, 8.0


class PieceRefused(Exception):
    """The cloud will not make this piece, for certain."""

    def __init__(self, piece: Piece, diagnosis: Diagnosis) -> None:
        super().__init__(f"{piece.kind} {piece.subject}: {diagnosis.code}: {diagnosis.words}")
        self.piece = piece
        self.diagnosis = diagnosis


@dataclass(eq=False)
class Maker:
    """Makes pieces, one logical create each (rules 1, 3 and 4 of the design)."""

    _backend: Backend
    _run_state: RunState
    _clock: Clock

    def make(self, piece: Piece, order: Order, deadline: Deadline) -> list[Held]:
        """Return what the piece is in the cloud, made now or by an earlier call with the same token.

        Raises `PieceRefused` when the cloud refuses; `Cancelled` or `TimedOut`, which may leave an intent open, for the
        release to settle; `JournalError` when the intent cannot be written, and then no call was made.
        """
        pause = FIRST_PAUSE
        while True:
            deadline.check()
            doubt = self._run_state.doubts.get(piece.subject)
            if doubt is None:
                piece = self._next_try(piece, order)
                self._run_state.intend("intent", piece.subject, _intent(piece))
            answer = self.ask(doubt or piece)
            if not isinstance(answer, Diagnosis):
                over = next((held for held in answer if held.state in ("failed", "gone")), None)
                if over is None:
                    return answer
                # A token gave back what is dead by now, or it failed at once: it is refused like what fails later.
                raise PieceRefused(piece, self._backend.diagnose(over, piece))
            if answer.step not in ("back-off", "ask-again") and not self._too_early(piece, answer):
                raise PieceRefused(piece, answer)
            try:
                deadline.wait(self._clock.jitter(pause))
            except TimedOut as error:
                said = f"the last answer for {piece.kind} in {piece.zone or piece.region}"
                raise TimedOut(f"{error}; {said} was {answer.code}: {answer.words}") from None
            pause = min(pause * 2, LAST_PAUSE)

    def ask(self, piece: Piece) -> list[Held] | Diagnosis:
        """Make one create call, and write its outcome to the journal.

        A call whose answer was lost before stays in doubt, unless this answer shows the outcome: what it made, or
        a refusal that comes only where the token is new. A throttle, say, comes before the token is looked at.
        """
        uncertain = piece.subject in self._run_state.uncertain
        helds = asked(self._backend, lambda: list(self._backend.create(piece)), piece)
        if isinstance(helds, Diagnosis):
            lost = helds.step == "ask-again" or (uncertain and not _of_a_new_token(helds))
            kind = "unknown" if lost else "refused"
            self._run_state.note(kind, piece.subject, {**_place(piece), **_words(helds)})
            return helds
        self._run_state.note(
            "created", piece.subject, {**_place(piece), "ids": [held.id for held in helds], "held": helds}
        )
        return helds

    def _next_try(self, piece: Piece, order: Order) -> Piece:
        """Return the piece with a new token: a definite refusal ended the logical create before (rule 3)."""
        tries = self._run_state.refusals.get(piece.subject, 0)
        if not tries:
            return piece
        return replace(
            piece, token=token(order.unique_run, piece.subject, piece.region, piece.zone, order.attempt, tries)
        )

    def _too_early(self, piece: Piece, answer: Diagnosis) -> bool:
        """Return whether what the piece needs is so new that the cloud does not know it everywhere yet."""
        needed = self._run_state.held(need.subject for need in piece.needs)
        if answer.step == "gone":
            return any(self._run_state.age(held) < YOUNG for held in needed)
        return answer.kind == "reservation-full" and any(self._run_state.age(held) < FILLING for held in needed)


def _of_a_new_token(diagnosis: Diagnosis) -> bool:
    """Return whether the cloud looked for the token first, which it does before capacity and quota are counted."""
    return diagnosis.step == "move-on" or diagnosis.kind.endswith("quota")


def _intent(piece: Piece) -> dict[str, object]:
    shown = {"count": piece.count, "group": piece.group, "instance_type": piece.instance_type}
    return {**_place(piece), **shown, "token": piece.token, "piece": piece}


def _place(piece: Piece) -> dict[str, object]:
    return {"kind": piece.kind, "region": piece.region, "zone": piece.zone}


def _words(diagnosis: Diagnosis) -> dict[str, object]:
    return {"step": diagnosis.step, "problem": diagnosis.kind, "code": diagnosis.code, "words": diagnosis.words}
