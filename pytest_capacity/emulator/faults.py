"""Which calls go wrong, and which are too many: counted faults and token buckets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.weather import Fault, Throttle


class Strike(Struct, frozen=True):
    """What the weather does to one call: delay it, refuse it, swallow its answer."""

    error: Fault | None = None
    delay_s: float = 0.0
    lose_reply: bool = False

    def refusal(self) -> Refusal | None:
        """The scripted error, as the cloud would say it."""
        if self.error is None or self.error.error is None:
            return None
        words = self.error.message or f"Scripted by the emulator's weather: {self.error.error}."
        return Refusal(self.error.error, words, self.error.http)


class Faults:
    """The scripted faults and how often each may still strike."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._left: list[tuple[Fault, list[int | None]]] = [(fault, [fault.times]) for fault in faults]

    def strike(
        self,
        operation: str,
        region: str,
        zone: str | None = None,
        type_: str | None = None,
        market: str | None = None,
        replay: bool = False,
    ) -> Strike:
        """Everything that hits this call, used up by one. At most one error strikes, the first.

        A ``replay`` asks again for what was given already (its client token says so): no error hits it, for the
        answer stands. Losing that answer, or delaying it, is the network's.
        """
        error: Fault | None = None
        delay_s, lose_reply = 0.0, False
        for fault, left in self._left:
            if left[0] == 0 or not fault.matches(operation, region, zone, type_, market):
                continue
            if fault.error is not None and (error is not None or replay):
                continue
            if left[0] is not None:
                left[0] -= 1
            error = fault if fault.error is not None else error
            delay_s += fault.delay_s
            lose_reply = lose_reply or fault.lose_reply
        return Strike(error=error, delay_s=delay_s, lose_reply=lose_reply)


class Buckets:
    """Token buckets by region and kind of call."""

    def __init__(self, throttles: Mapping[str, Throttle] | None = None) -> None:
        self._throttles = throttles or {}
        self._tokens: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, region: str, kind: str, now: float) -> bool:
        """Whether a call of this kind (``write`` or ``read``) may pass."""
        throttle = self._throttles.get(region)
        bucket = None if throttle is None else (throttle.write if kind == "write" else throttle.read)
        if bucket is None:
            return True
        tokens, since = self._tokens.get((region, kind), (bucket.burst, now))
        tokens = min(bucket.burst, tokens + (now - since) * bucket.per_second)
        passes = tokens >= 1
        self._tokens[region, kind] = (tokens - 1 if passes else tokens, now)
        return passes
