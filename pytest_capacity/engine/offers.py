"""The offers of the zones to a topology: read once for each region, all of them side by side, ahead of the need."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from msgspec.structs import replace

from pytest_capacity import ladder
from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.calls import asked, refused
from pytest_capacity.engine.clock import Clock, Deadline
from pytest_capacity.engine.make import FIRST_PAUSE, LAST_PAUSE
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.errors import Refused, TimedOut
from pytest_capacity.model import Diagnosis, Offer, Request

T = TypeVar("T")

#: By region.
Offers = Mapping[str, Sequence[Offer]]

#: How long the first reads of a run are tried again while the cloud only says "not now". Seconds.
READING: Final = 60.0


@dataclass(eq=False)
class OfferReader:
    """Reads and caches. Safe to use from several threads."""

    _request: Request
    _backend: Backend
    _run_state: RunState
    _clock: Clock
    _pool: Executor
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _reads: dict[tuple[str, str], Future[Sequence[Offer]]] = field(default_factory=dict, init=False)

    def ahead(self, name: str) -> list[Future[Sequence[Offer]]]:
        """Begin to read what this topology needs, unless it is being read or was."""
        return [self._read(name, region) for region in self._regions(name)]

    def seen(self) -> Offers:
        """Return the zones of every region that has been read by now, for whichever topology. Does not wait."""
        with self._lock:
            done = [(region, read) for (_, region), read in self._reads.items() if read.done()]
        return {region: read.result() for region, read in done if read.exception() is None}

    def _regions(self, name: str) -> Sequence[str]:
        return ladder.regions(self._request, self._request.topologies[name])

    def forget(self, name: str) -> None:
        """Clear the cache of a topology, so that its next read is a new one."""
        with self._lock:
            self._reads = {key: read for key, read in self._reads.items() if key[0] != name}

    def read(self, name: str, deadline: Deadline) -> tuple[Offers, dict[str, Diagnosis]]:
        """Return the zones by region, and the regions that could not be read, reported while there is another.

        Raises `Refused` where none can.
        """
        self.ahead(name)
        found: dict[str, Sequence[Offer]] = {}
        failures: dict[str, Diagnosis] = {}
        for region in self._regions(name):
            answer = patiently(
                self._backend, self._clock, partial(self._result, name, region), deadline, partial(self._tell, region)
            )
            if isinstance(answer, Diagnosis):
                failures[region] = answer
            else:
                found[region] = [self._worded(offer) for offer in answer]
        for region, diagnosis in failures.items():
            told = refused(f"asked the cloud what the zones of {region} offer", self._backend.name, diagnosis)
            if not found:
                raise told
            self._run_state.trouble(f"{region} is left out: {told}")
        return found, failures

    def _worded(self, offer: Offer) -> Offer:
        worded = self._run_state.worded
        return replace(offer, why=worded(offer.why), unused={id_: worded(why) for id_, why in offer.unused.items()})

    def _tell(self, region: str, diagnosis: Diagnosis) -> None:
        said = {"code": diagnosis.code, "words": diagnosis.words}
        self._run_state.note("unread", data={"region": region, **said})

    def _result(self, name: str, region: str) -> Sequence[Offer]:
        try:
            return self._read(name, region).result()
        except Exception:
            with self._lock:
                self._reads.pop((name, region), None)
            raise

    def _read(self, name: str, region: str) -> Future[Sequence[Offer]]:
        with self._lock:
            if (name, region) not in self._reads:
                topology = self._request.topologies[name]
                self._reads[name, region] = self._pool.submit(self._backend.offers, region, topology)
            return self._reads[name, region]


def patiently(
    backend: Backend,
    clock: Clock,
    read: Callable[[], T],
    deadline: Deadline,
    tell: Callable[[Diagnosis], None] = lambda _: None,
    give_up: Callable[[Diagnosis], Diagnosis | None] = lambda _: None,
) -> T | Diagnosis:
    """Read, again and again while the answer is only "not now"; return at ``deadline`` the last answer.

    ``tell`` is called at the first such answer, and whenever it differs from the last. ``give_up`` is called each
    time, and what it returns ends the reading.
    """
    pause = FIRST_PAUSE
    told = ""
    while True:
        answer = asked(backend, read)
        if not isinstance(answer, Diagnosis) or answer.step not in ("back-off", "ask-again"):
            return answer
        if answer.code != told:
            tell(answer)
            told = answer.code
        if (end := give_up(answer)) is not None:
            return end
        try:
            deadline.wait(clock.jitter(pause))
        except TimedOut:
            return answer
        pause = min(pause * 2, LAST_PAUSE)


def check_zones(request: Request, offers: Offers) -> None:
    """Refuse zones that the account does not have, where all regions of the run were read. Raises `Refused`."""
    every = [offer for zones in offers.values() for offer in zones]
    missing = ladder.unknown(request.zones, every)
    if missing and every and offers.keys() >= set(ladder.regions_in_use(request)):
        known = ", ".join(offer.zone for offer in every)
        raise Refused(
            f"zones {', '.join(missing)} are not in {', '.join(offers)} for this account; it has: {known}. "
            "Nothing was created. Correct zones: or --capacity-zone"
        )
