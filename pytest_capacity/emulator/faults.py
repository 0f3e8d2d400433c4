"""Which calls go wrong, and which are too many: counted faults and token buckets."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.weather import Fault, Throttle


class Strike(Struct, frozen=True):
    """The effect of the weather on one call: delay it, refuse it, drop its answer."""

    error: Fault | None = None
    delay_s: float = 0.0
    lose_reply: bool = False
    #: Set once the faults that struck are replaced: the delay is over then.
    lifted: threading.Event = field(default_factory=threading.Event)

    def refusal(self) -> Refusal | None:
        """Return the scripted error that the call is refused with; None for one that comes later."""
        return None if self.error is None or self.error.late else _refusal(self.error)

    def late(self) -> Refusal | None:
        """Return the scripted error that comes when what the call began ends."""
        return _refusal(self.error) if self.error is not None and self.error.late else None


def _refusal(fault: Fault) -> Refusal | None:
    if fault.error is None:
        return None
    words = fault.message or f"Scripted by the emulator's weather: {fault.error}."
    return Refusal(fault.error, words, fault.http, scripted=True)


class Faults:
    """The scripted faults and how often each may still strike, until others take their place."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._lifted = threading.Event()
        self._left: list[tuple[Fault, list[int | None]]] = [(fault, [fault.times]) for fault in faults]

    def strike(
        self,
        cloud: str,
        operation: str,
        region: str,
        zone: str | None = None,
        type_: str | None = None,
        market: str | None = None,
        replay: bool = False,
    ) -> Strike:
        """Return everything that hits this call, used up by one. At most one error strikes, the first.

        A ``replay`` repeats a request that was answered already (same client token): no error hits it, for the
        answer stands. A lost or delayed answer is the network's.
        """
        error: Fault | None = None
        delay_s, lose_reply = 0.0, False
        for fault, left in self._left:
            if left[0] == 0 or not fault.matches(cloud, operation, region, zone, type_, market):
                continue
            if fault.error is not None and (error is not None or replay):
                continue
            if left[0] is not None:
                left[0] -= 1
            error = fault if fault.error is not None else error
            delay_s += fault.delay_s
            lose_reply = lose_reply or fault.lose_reply
        return Strike(error=error, delay_s=delay_s, lose_reply=lose_reply, lifted=self._lifted)

    def lift(self) -> None:
        """End the delays of the calls that were struck: these faults are replaced."""
        self._lifted.set()


class Buckets:
    """Token buckets by region and kind of call."""

    def __init__(self, throttles: Mapping[Place, Throttle] | None = None) -> None:
        self._throttles = throttles or {}
        self._tokens: dict[tuple[Place, str], tuple[float, float]] = {}

    def take(self, place: Place, kind: str, now: float) -> bool:
        """Return whether a call of this kind (``write`` or ``read``) may pass."""
        throttle = self._throttles.get(place)
        bucket = None if throttle is None else (throttle.write if kind == "write" else throttle.read)
        if bucket is None:
            return True
        tokens, since = self._tokens.get((place, kind), (bucket.burst, now))
        tokens = min(bucket.burst, tokens + (now - since) * bucket.per_second)
        passes = tokens >= 1
        self._tokens[place, kind] = (tokens - 1 if passes else tokens, now)
        return passes
