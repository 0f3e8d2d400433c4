"""Ctrl-C while a run is being released."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pytest_capacity.errors import CapacityError, KeeperError
from pytest_capacity.keeper.protocol import Holding
from pytest_capacity.model import Receipt
from pytest_capacity.plugin.ending import Ending
from pytest_capacity.report.render import Line

RECEIPT = Receipt(run="r1")


class Owner:
    """Releases after so many Ctrl-C."""

    log = "/log"
    pid = 42

    def __init__(self, *outcomes: BaseException | Receipt) -> None:
        self._outcomes = list(outcomes)

    def release(self, *, failed: bool = False, beat: Callable[[], None] | None = None) -> Receipt:
        """The next outcome."""
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Receipt):
            return outcome
        raise outcome

    def held(self) -> Holding | None:
        """A keeper that has died."""
        raise KeeperError("gone")


class Heard:
    """What was said."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, said: Iterable[Line]) -> None:
        self.texts += [line.text for line in said]


def nothing() -> None:
    """No live lines."""


def test_the_first_interrupt_says_what_a_second_one_does() -> None:
    """And the release is waited for."""
    heard = Heard()
    outcome = Ending(is_init=False).release(Owner(KeyboardInterrupt(), RECEIPT), nothing, heard)
    assert outcome.receipt is RECEIPT
    assert heard.texts == [
        "capacity: releasing what this run holds; press Ctrl-C again to leave that to the keeper",
    ]


def test_the_second_interrupt_leaves_the_release_to_the_keeper() -> None:
    """With its pid and log; even where the keeper does not answer any more."""
    ending = Ending(is_init=False)
    ending.interrupts = 1
    heard = Heard()
    outcome = ending.release(Owner(KeyboardInterrupt()), nothing, heard)
    assert outcome.receipt is None
    assert [line.text for line in outcome.words] == [
        "what is held could not be asked in time",
        "the keeper (pid 42) goes on releasing; its log: /log",
    ]


def test_as_pid_1_no_interrupt_ends_the_wait() -> None:
    """Leaving would end the keeper with the container."""
    heard = Heard()
    owner = Owner(KeyboardInterrupt(), KeyboardInterrupt(), KeyboardInterrupt(), RECEIPT)
    assert Ending(is_init=True).release(owner, nothing, heard).receipt is RECEIPT
    assert len(heard.texts) == 3
    assert all("PID 1" in text for text in heard.texts)


def test_a_release_that_fails_is_said() -> None:
    """There is no receipt, and the log is named."""
    outcome = Ending(is_init=False).release(Owner(CapacityError("boom")), nothing, Heard())
    assert outcome.receipt is None
    assert [line.text for line in outcome.words] == [
        "the release could not be confirmed: boom",
        "look into the keeper's log: /log",
    ]
