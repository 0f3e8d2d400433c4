"""Leases: what the run holds has an end at the cloud, half an hour ahead, moved on while the run lasts (rule 8)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final

from pytest_capacity.backends.base import Backend, EndsNodes
from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.credentials import CredentialWatch
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.model import Change, Diagnosis, Held, HeldKey
from pytest_capacity.text import moment

#: How long a lease runs, and so how long anything bills after everybody is dead. Seconds.
LEASE: Final = 30 * 60.0

#: How long before an end that takes nodes along the run gives back what it holds: servers take a while to stop, and
#: what a test does last is not to be cut off by the cloud. Seconds.
LEAD: Final = 2 * 60.0

#: So far before what it was asked for lies the end of a cloud that counts in minutes, and it is as well. Seconds.
ROUNDING: Final = 60.0


@dataclass(eq=False)
class Leases:
    """Renews: each thing whose end the cloud enforces, and elsewhere one node a region, which bears it in its stamp.

    An extension may be refused: another user has what is leased next. It is requested again until the end. Where nodes
    go with the lease, tests are warned at the first refusal, and `over_at` lies before the end.
    """

    _backend: Backend
    _run_state: RunState
    _clock: Clock
    _pool: Executor
    _credentials: CredentialWatch
    #: What tests were warned of and that could not be extended since.
    _refused: set[HeldKey] = field(default_factory=set, init=False)

    @property
    def _ends_nodes(self) -> frozenset[str]:
        return self._backend.ends_nodes if isinstance(self._backend, EndsNodes) else frozenset()

    def renew(self, latest: float) -> None:
        """Extend what is past half of its lease, at most up to ``latest``."""
        now = self._clock.now()
        due = [
            held
            for held in self._renewable()
            if held.deadline is not None and held.deadline < latest - ROUNDING and held.deadline - now < LEASE / 2
        ]
        list(self._pool.map(lambda held: self._extend(held, latest), due))

    def over_at(self, latest: float) -> float:
        """Return when the run is over: at ``latest``, or before the first end that takes nodes along.

        As long as it can be extended such an end lies far ahead. It may be another's fault that it does not.
        """
        ends = (
            held.deadline
            for held in self._standing()
            if held.kind in self._ends_nodes and held.deadline is not None and held.deadline < latest - ROUNDING
        )
        return min((end - LEAD for end in ends), default=latest)

    def _standing(self) -> Sequence[Held]:
        return [held for held in self._run_state.held() if not self._run_state.accepted(held)]

    def _renewable(self) -> list[Held]:
        helds = self._standing()
        leased = [held for held in helds if held.kind in self._backend.leased]
        covered = {held.region for held in leased}
        for held in sorted((held for held in helds if held.kind == "node"), key=lambda held: held.id):
            if held.region not in covered:
                covered.add(held.region)
                leased.append(held)
        return leased

    def _extend(self, held: Held, latest: float) -> None:
        deadline = min(self._clock.now() + LEASE, latest)
        changed = asked(self._backend, lambda: self._backend.change(held, Change(deadline=deadline)))
        if isinstance(changed, Diagnosis):
            if changed.step not in ("back-off", "ask-again") and not self._credentials.report(changed):
                self._report(held, changed)
            if changed.step == "gone":
                self._look_for(held)
            return
        deadline = changed.deadline or deadline
        self._credentials.reset()
        named = {"kind": held.kind, "region": held.region, "id": held.id}
        self._run_state.note("renewed", held.subject, {**named, "deadline": deadline})
        if held.key in self._refused:
            self._refused.discard(held.key)
            words = f"{held.kind} {held.id} could be extended after all, until {moment(deadline)}"
            self._run_state.note("changed", held.subject, {"words": words})

    def _report(self, held: Held, diagnosis: Diagnosis) -> None:
        said = f"{diagnosis.code}: {diagnosis.words}"
        if held.kind not in self._ends_nodes or held.deadline is None:
            self._run_state.trouble(f"the lease of {held.kind} {held.id} could not be extended: {said}")
            return
        self._refused.add(held.key)
        self._run_state.warn(
            f"{held.kind} {held.id} ends at {moment(held.deadline)}, and could not be extended: {said}. "
            f"Its nodes end with it, so this run gives back what it holds from {moment(held.deadline - LEAD)} on, "
            "unless it can be extended before"
        )

    def _look_for(self, held: Held) -> None:
        """Look for what could not be renewed: ended from outside, it is no longer the run's to renew."""
        seen = asked(self._backend, lambda: self._backend.refresh([held]))
        if not isinstance(seen, Diagnosis) and seen[0].state == "gone":
            self._run_state.note_gone([held])
