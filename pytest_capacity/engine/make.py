"""Make one piece: intent, call, and the reading of what came back."""

from __future__ import annotations

from msgspec.structs import replace

from pytest_capacity.backends.base import Backend
from pytest_capacity.backends.tokens import token
from pytest_capacity.engine.asking import asked
from pytest_capacity.engine.book import Book
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.halt import Halt
from pytest_capacity.model import Diagnosis, Held, Order, Piece

#: Pauses between asking again, seconds: doubling from the first to the last.
FIRST_PAUSE, LAST_PAUSE = 0.2, 8.0


class PieceRefused(Exception):
    """The cloud will not make this piece, for certain."""

    def __init__(self, piece: Piece, diagnosis: Diagnosis) -> None:
        super().__init__(f"{piece.kind} {piece.subject}: {diagnosis.code}: {diagnosis.words}")
        self.piece = piece
        self.diagnosis = diagnosis


class Maker:
    """Makes pieces, one logical create each (rules 1, 3 and 4 of the design)."""

    def __init__(self, backend: Backend, book: Book, clock: Clock) -> None:
        self._backend = backend
        self._book = book
        self._clock = clock

    def make(self, piece: Piece, order: Order, halt: Halt) -> list[Held]:
        """What the piece is in the cloud, made now or by an earlier call with the same token.

        Raises `PieceRefused` when the cloud says no; `Cancelled` or `TimedOut`, which may leave an intent open, for the
        release to settle; `JournalError` when the intent cannot be written, and then no call was made.
        """
        tries, pause = 0, FIRST_PAUSE
        open_intent = next((old for old in self._book.doubtful() if old.subject == piece.subject), None)
        piece = open_intent or piece
        while True:
            halt.check()
            if open_intent is None:
                self._book.intend("intent", piece.subject, _intent(piece))
            answer = self.ask(piece)
            if not isinstance(answer, Diagnosis):
                return answer
            if answer.step == "back-off":
                tries += 1
                open_intent = None
                piece = replace(
                    piece, token=token(order.run, piece.subject, piece.region, piece.zone, order.attempt, tries)
                )
            elif answer.step == "ask-again":
                open_intent = piece
            else:
                raise PieceRefused(piece, answer)
            halt.wait(self._clock.jitter(pause))
            pause = min(pause * 2, LAST_PAUSE)

    def ask(self, piece: Piece) -> list[Held] | Diagnosis:
        """One create call, its outcome in the journal."""
        helds = asked(self._backend, lambda: list(self._backend.create(piece)))
        if isinstance(helds, Diagnosis):
            kind = "unknown" if helds.step == "ask-again" else "refused"
            self._book.note(kind, piece.subject, {**_place(piece), **_words(helds)})
            return helds
        over = next((held for held in helds if held.state in ("failed", "gone")), None)
        self._book.note("created", piece.subject, {**_place(piece), "ids": [held.id for held in helds], "held": helds})
        if over is None:
            return helds
        return self._backend.diagnose(over)


def _intent(piece: Piece) -> dict[str, object]:
    shown = {"count": piece.count, "group": piece.group, "instance_type": piece.spec.get("InstanceType", "")}
    return {**_place(piece), **shown, "token": piece.token, "piece": piece}


def _place(piece: Piece) -> dict[str, object]:
    return {"kind": piece.kind, "region": piece.region, "zone": piece.zone}


def _words(diagnosis: Diagnosis) -> dict[str, object]:
    return {"step": diagnosis.step, "problem": diagnosis.kind, "code": diagnosis.code, "words": diagnosis.words}
