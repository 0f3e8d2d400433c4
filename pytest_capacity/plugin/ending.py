"""The end of a run: release and wait, and what Ctrl-C does to that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from pytest_capacity.errors import CapacityError
from pytest_capacity.keeper.protocol import Holding, Staying
from pytest_capacity.model import Receipt
from pytest_capacity.report.render import Line, held_lines
from pytest_capacity.text import clean


class Releases(Protocol):
    """The part of the keeper's owner that an ending needs."""

    @property
    def log(self) -> str: ...
    @property
    def pid(self) -> int: ...
    def release(self, *, failed: bool = False, beat: Callable[[], None] | None = None) -> Receipt | Staying: ...
    def held(self) -> Holding | None: ...


class Outcome(NamedTuple):
    """The receipt; or None, and ``words`` say why there is none and what is known instead."""

    receipt: Receipt | None
    words: tuple[Line, ...] = ()
    #: Nothing was released, on purpose: the session has other owners, or is kept.
    staying: Staying | None = None

    @property
    def good(self) -> bool:
        """Whether the end is as it should be."""
        return self.staying is not None or (self.receipt is not None and self.receipt.clean)


class Ending:
    """The release of one run.

    Ctrl-C is counted over the whole session. The second one leaves the release to the keeper, which goes on by itself;
    only where pytest is PID 1 it waits on, because there the keeper dies with it.
    """

    def __init__(self, *, emulated: bool = False, session: str | None = None, is_init: bool | None = None) -> None:
        self.interrupts = 0
        self._session = session
        self._emulated = emulated
        self._is_init = os.getpid() == 1 if is_init is None else is_init

    def interrupted(self) -> None:
        """Count a Ctrl-C."""
        self.interrupts += 1

    def release(
        self, owner: Releases, beat: Callable[[], None], say: Callable[[Iterable[Line]], None], *, failed: bool = False
    ) -> Outcome:
        """Release everything and wait until the cloud lists nothing any more, or the user has enough of waiting."""
        told = 0
        while True:
            try:
                if self.interrupts >= 2 and not self._is_init:
                    return self._leave(owner)
                if self.interrupts > told:
                    told = self.interrupts
                    say([self._notice()])
                answer = owner.release(failed=failed or self.interrupts > 0, beat=beat)
                return Outcome(None, staying=answer) if isinstance(answer, Staying) else Outcome(answer)
            except KeyboardInterrupt:
                self.interrupted()
            except CapacityError as error:
                return Outcome(None, _unconfirmed(error, owner))

    def _leave(self, owner: Releases) -> Outcome:
        try:
            holding = owner.held()
        except CapacityError:
            holding = None
        return Outcome(
            None, tuple(held_lines(holding, owner.pid, owner.log, emulated=self._emulated, session=self._session))
        )

    def _notice(self) -> Line:
        if self._is_init:
            what = "pytest is PID 1 here, and leaving would kill the keeper: waiting on until everything is gone"
        else:
            what = "press Ctrl-C again to leave that to the keeper"
        return Line(f"capacity: releasing what this run holds; {what}", "yellow")


def _unconfirmed(error: CapacityError, owner: Releases) -> tuple[Line, ...]:
    return (
        Line(f"the release could not be confirmed: {clean(str(error))}", "red"),
        Line(f"look into the keeper's log: {owner.log}", "red"),
    )
