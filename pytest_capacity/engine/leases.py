"""Leases: what is ours has an end at the cloud, half an hour ahead, which is moved on while the run lives (rule 8)."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Final

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.credentials import CredentialWatch
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.model import Change, Diagnosis, Held

#: How long a lease runs, and so how long anything bills after everybody is dead. Seconds.
LEASE: Final = 30 * 60.0


class Leases:
    """Renews: each thing whose end the cloud enforces, and elsewhere one node a region, which bears it in its stamp."""

    def __init__(
        self, backend: Backend, run_state: RunState, clock: Clock, pool: Executor, credentials: CredentialWatch
    ) -> None:
        self._backend = backend
        self._run_state = run_state
        self._clock = clock
        self._pool = pool
        self._credentials = credentials

    def renew(self, latest: float) -> None:
        """Extend what is past half of its lease, at most up to ``latest``."""
        now = self._clock.now()
        due = [
            held
            for held in self._renewable()
            if held.deadline is not None and held.deadline < latest and held.deadline - now < LEASE / 2
        ]
        list(self._pool.map(lambda held: self._extend(held, latest), due))

    def _renewable(self) -> list[Held]:
        helds = [held for held in self._run_state.held() if not self._run_state.accepted(held)]
        leased = [held for held in helds if held.kind in self._backend.leased]
        covered = {held.region for held in leased}
        for held in sorted((held for held in helds if held.kind == "node"), key=lambda held: held.id):
            if held.region not in covered:
                covered.add(held.region)
                leased.append(held)
        return leased

    def _extend(self, held: Held, latest: float) -> None:
        deadline = min(self._clock.now() + LEASE, latest)
        diagnosis = asked(self._backend, lambda: self._backend.change(held, Change(deadline=deadline)))
        if isinstance(diagnosis, Diagnosis):
            if diagnosis.step not in ("back-off", "ask-again") and not self._credentials.report(diagnosis):
                self._run_state.trouble(
                    f"the lease of {held.kind} {held.id} could not be extended: {diagnosis.code}: {diagnosis.words}"
                )
            if diagnosis.step == "gone":
                self._look_for(held)
            return
        self._credentials.reset()
        named = {"kind": held.kind, "region": held.region, "id": held.id}
        self._run_state.note("renewed", held.subject, {**named, "deadline": deadline})

    def _look_for(self, held: Held) -> None:
        """Look for what could not be renewed: ended from outside, it is no longer ours to renew."""
        seen = asked(self._backend, lambda: self._backend.refresh([held]))
        if not isinstance(seen, Diagnosis) and seen[0].state == "gone":
            self._run_state.note_gone([held])
