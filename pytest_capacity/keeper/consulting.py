"""Asks an owner of the run what its hooks decide; without an answer in time it is decided as if there were none.

An owner that leaves is not waited for: with the last one the run ends, and what it holds is to be released soon.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from pytest_capacity.engine.advice import Advice
from pytest_capacity.keeper.peer import Peer
from pytest_capacity.keeper.protocol import ADVISING, Advise, Consult, Topic
from pytest_capacity.ladder import Rung
from pytest_capacity.model import Diagnosis, Piece, Subject, Topology

#: How soon it is seen that the owner who was asked is gone. Seconds.
_SLICE: Final = 0.2


class Consulting(Advice):
    """The `Advice` of whichever owner offers it. ``owners``: those that are there now."""

    def __init__(self, owners: Callable[[], Sequence[Peer]]) -> None:
        self._owners = owners
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[threading.Event, list[Advise]]] = {}
        #: Called with what went wrong with a hook.
        self.complain: Callable[[str], None] = lambda words: None

    def rungs(self, topology: Topology, listed: Sequence[Rung]) -> Sequence[Rung]:
        """Return the rungs as the hook orders them; those that it leaves out are not tried."""
        asked = Consult(number=next(self._numbers), topic="ladder", topology=topology.name, rungs=tuple(listed))
        answer = self._ask(asked)
        if answer is None or answer.rungs is None:
            return listed
        return [listed[place] for place in dict.fromkeys(answer.rungs) if 0 <= place < len(listed)]

    def diagnose(self, diagnosis: Diagnosis, piece: Piece) -> Diagnosis | None:
        """Return what the hook makes of the refusal."""
        asked = Consult(
            number=next(self._numbers),
            topic="diagnose",
            topology=Subject.parse(piece.subject).topology,
            diagnosis=diagnosis,
            region=piece.region,
            zone=piece.zone,
            groups=piece.groups or ((piece.group,) if piece.group else ()),
        )
        answer = self._ask(asked)
        return answer.diagnosis if answer else None

    def take(self, answer: Advise) -> None:
        """Pass an owner's answer to the thread that waits for it."""
        waiting = self._waiting.get(answer.number)
        if waiting:
            done, answers = waiting
            answers.append(answer)
            done.set()

    def _ask(self, asked: Consult) -> Advise | None:
        adviser = next((peer for peer in self._owners() if asked.topic in peer.advises), None)
        if adviser is None:
            return None
        done, answers = threading.Event(), list[Advise]()
        self._waiting[asked.number] = (done, answers)
        adviser.send(asked)
        end = time.monotonic() + ADVISING
        while not done.wait(_SLICE) and time.monotonic() < end and adviser in self._owners():
            pass
        del self._waiting[asked.number]
        if not answers and adviser not in self._owners():
            return None
        if not answers:
            self.complain(
                f"{_HOOKS[asked.topic]} did not answer within {ADVISING:g} s, so it was decided without it. "
                "Make the hook faster"
            )
            return None
        if answers[0].fault:
            self.complain(f"{_HOOKS[asked.topic]}: {answers[0].fault}; it was decided without it. Mend the hook")
        return answers[0]


_HOOKS: Final[dict[Topic, str]] = {"ladder": "pytest_capacity_ladder", "diagnose": "pytest_capacity_diagnose"}
