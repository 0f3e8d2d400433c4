"""Whose credentials these are, whether that is who the run belongs to, and what to say when they stop working."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pytest_capacity.backends import provider
from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.calls import asked, refused
from pytest_capacity.engine.clock import Clock, Deadline
from pytest_capacity.engine.make import FIRST_PAUSE, LAST_PAUSE
from pytest_capacity.engine.offers import patiently
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.engine.unreachable import hopeless
from pytest_capacity.errors import Refused
from pytest_capacity.model import Diagnosis, Held, Identity, Request
from pytest_capacity.text import moment

#: How often credentials are looked at that work longer than was said of them. Seconds.
LOOK_AGAIN: Final = 30.0


class Expiry(NamedTuple):
    """Until when what is still there stays without a release.

    ``until``: when the last of those that end by themselves is gone; ``endless``: the ids of the others.
    """

    until: float | None
    endless: tuple[str, ...]


@dataclass(eq=False)
class CredentialWatch:
    """Reports once, and again only after the credentials have worked in between.

    ``prices`` are USD an hour by instance type, as the user gave them; without any, no cost is named. ``ends`` is
    the time until which things stay without a release.
    """

    _backend: Backend
    _run_state: RunState
    _prices: Mapping[str, float]
    _ends: Callable[[Sequence[Held]], Expiry]
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _sounding: bool = field(default=False, init=False)

    def report(self, diagnosis: Diagnosis) -> bool:
        """Return whether the diagnosis is that the credentials are invalid, and report them if so."""
        if diagnosis.kind != "auth":
            return False
        with self._lock:
            already, self._sounding = self._sounding, True
        if not already:
            self._run_state.trouble(self._words(diagnosis))
        return True

    def reset(self) -> None:
        """Record that the credentials work."""
        with self._lock:
            self._sounding = False

    def _words(self, diagnosis: Diagnosis) -> str:
        helds = self._run_state.held()
        said = f"THE CREDENTIALS DO NOT WORK ANY MORE ({diagnosis.code}: {diagnosis.words})"
        if not helds:
            return f"{said}, and nothing is held that the journal knows of. Renew them"
        things = ", ".join(f"{held.kind} {held.id}" for held in helds)
        commands = "; ".join(self._backend.by_hand(helds))
        return (
            f"{said} while this run holds {things}{_cost(helds, self._prices)}{_until(self._ends(helds))}. "
            f"Put new ones in their place (files and profiles are read again), or remove it by hand: {commands}"
        )


def _cost(helds: Sequence[Held], prices: Mapping[str, float]) -> str:
    """Return what the nodes cost an hour, in words. A node in a reservation is not billed beside it."""
    reservations = {held.id for held in helds if held.kind == "reservation"}
    billed = [
        (held.facts.get("instance_type", ""), held.count)
        for held in helds
        if held.facts.get("instance_type") and held.facts.get("reservation_id") not in reservations
    ]
    known = [prices[instance_type] * count for instance_type, count in billed if instance_type in prices]
    if not known:
        return ""
    return f", for {'' if len(known) == len(billed) else 'at least '}{sum(known):.2f} USD an hour"


def _until(ends: Expiry) -> str:
    words = ""
    if ends.until is not None:
        words = f", bound to end by {moment(ends.until)} at the latest"
    if ends.endless:
        words += f", and nothing ends {', '.join(ends.endless)} by itself"
    return words


@dataclass(eq=False)
class Account:
    """Pins the run to one account: nothing is created, released or taken for gone in another.

    ``wanted`` is the setting that pins the account, and the account; two empty texts: none does.
    """

    _backend: Backend
    _run_state: RunState
    _clock: Clock
    _credentials: CredentialWatch
    _wanted: tuple[str, str]
    #: Whether this process has seen that its credentials are of the run's account.
    _trusted: bool = field(default=False, init=False)
    #: When to look again whether credentials still work that should have ended.
    _look_at: float = field(default=0.0, init=False)

    def pin(self, identity: Identity) -> None:
        """Make it the run's account. Raise `Refused` where it is another one."""
        check_account(identity, self._wanted, self._run_state.identity)
        self._trusted = True
        self._run_state.note("identity", data=identity)

    def is_ours(self, until: Callable[[], bool]) -> bool:
        """Return whether these are the run's credentials, repeated until ``until``: others' listings prove nothing."""
        pause, said = FIRST_PAUSE, ""
        while not self._trusted:
            identity = asked(self._backend, self._backend.whoami)
            if not isinstance(identity, Diagnosis):
                other = _stranger(identity, self._wanted, self._run_state.identity)
                self._trusted = not other
                if other and other != said:
                    said = other
                    self._run_state.trouble(f"{other}, so nothing can be released. Use the credentials of that account")
            elif not self._credentials.report(identity) and identity.code != said:
                said = identity.code
                self._run_state.trouble(f"the cloud does not say who we are: {identity.code}: {identity.words}")
            if not self._trusted:
                if until():
                    return False
                self._clock.wait(pause)
                pause = min(pause * 2, LAST_PAUSE)
        return True

    def has_ended(self) -> bool:
        """Return whether the known end is past, so that it is time to look. Quick; True now and then."""
        expires = self._run_state.identity.expires if self._run_state.identity else None
        now = self._clock.now()
        if expires is None or now < max(expires, self._look_at):
            return False
        self._look_at = now + LOOK_AGAIN
        return True

    def look_again(self) -> None:
        """Check the credentials with the cloud, and report them if they do not work."""
        identity = asked(self._backend, self._backend.whoami)
        if isinstance(identity, Diagnosis):
            self._credentials.report(identity)
            return
        self._credentials.reset()
        if identity != self._run_state.identity:
            self._run_state.note("identity", data=identity)


def who_we_are(request: Request, backend: Backend, clock: Clock, deadline: Deadline) -> Identity:
    """Return whose credentials these are. Raise `Refused` with the cloud's words where it does not say."""
    endpoint = provider(request.backend).endpoint_of(request, os.environ)
    identity = patiently(backend, clock, backend.whoami, deadline, give_up=hopeless(endpoint, clock))
    if isinstance(identity, Diagnosis):
        raise refused("asked the cloud who we are", backend.name, identity)
    return identity


def check_account(identity: Identity, wanted: tuple[str, str], began: Identity | None = None) -> None:
    """Raise `Refused` for another account than ``wanted``, or than the one that the run began in."""
    if other := _stranger(identity, wanted, began):
        raise Refused(f"{other}. Nothing was created. Use the credentials of that account")


def _stranger(identity: Identity, wanted: tuple[str, str], began: Identity | None) -> str:
    """Return why this account is not the configured one, or the one that the run began in; empty if it is."""
    setting, account = wanted
    for source, pinned in ((f"{setting} says", account), ("this run began in", began.account if began else None)):
        if pinned and pinned != identity.account:
            return f"these credentials belong to account {identity.account}, but {source} {pinned}"
    if began and began.place and began.place != identity.place:
        return f"these credentials work in {identity.place or 'no place'}, but this run began in {began.place}"
    return ""
