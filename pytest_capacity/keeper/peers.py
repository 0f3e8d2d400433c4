"""Which processes are connected, and what follows when one goes: a run ends with its last owner, unless it is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from pytest_capacity.errors import InUse
from pytest_capacity.keeper.peer import Peer
from pytest_capacity.keeper.protocol import Staying
from pytest_capacity.model import Request


class Keep(Protocol):
    """Until when the run is kept after this owner, the last one; None: it is not."""

    def __call__(self, peer: Peer, *, failed: bool) -> float | None: ...


class Peers:
    """The keeper's peers. An owner that has connected keeps the run alive; *admitted* it has a say in how it ends.

    ``end`` is called, with the reason, when the run is over, and sets ``over``: within the lock, so that none enters
    in between.
    """

    def __init__(self, over: threading.Event, end: Callable[[str], None], keep: Keep, *, shared: bool) -> None:
        self._over = over
        self._end = end
        self._keep = keep
        self._shared = shared
        self._lock = threading.RLock()
        self._peers: set[Peer] = set()
        self._owners: set[Peer] = set()
        self.had_owners = False
        #: While no owner is there: when the run ends.
        self.kept_until: float | None = None
        #: Set once the last owner has hung up.
        self.no_owner = threading.Event()

    def enter(self, peer: Peer) -> bool:
        """Let a peer in; False: it is an owner of a session that is over."""
        with self._lock:
            if peer.role == "owner":
                if self._over.is_set() and self._shared:
                    return False
                self._owners.add(peer)
                self.had_owners = True
            self._peers.add(peer)
            return True

    def admit(self, peer: Peer, wish: Request) -> bool:
        """Note that this owner asks for what stands; return whether the run was kept until now."""
        with self._lock:
            peer.wish = wish
            was_kept, self.kept_until = self.kept_until is not None, None
            return was_kept

    def everybody(self) -> Sequence[Peer]:
        """Return all that are connected."""
        with self._lock:
            return list(self._peers)

    def owners(self) -> Sequence[Peer]:
        """Return those that keep the run alive."""
        with self._lock:
            return list(self._owners)

    def is_alone(self, peer: Peer) -> bool:
        """Return whether this is the only owner."""
        with self._lock:
            return self._owners <= {peer}

    def leave(self, peer: Peer, *, failed: bool, keep: bool) -> Staying | None:
        """Let an owner that has done with the run go. None: it was the last one, and everything is to be released."""
        with self._lock:
            goes_on = not self._over.is_set()
            others = self._owners - {peer}
            until = self._keep(peer, failed=failed) if goes_on and keep and self._is_last(peer) else None
            if until is None and not (others and goes_on):
                self.kept_until = None
                self._end(f"{peer.name} asked for the release")
                return None
            self._owners.discard(peer)
            if until is None:
                return Staying(others=len(others))
            self.kept_until = until
            return Staying(until=until)

    def _is_last(self, peer: Peer) -> bool:
        # One that was not admitted yet may be refused, and has no say in how long the run is kept.
        return not any(owner.wish for owner in self._owners - {peer})

    def clear(self, what: str, *, force: bool) -> None:
        """End the run for a process that is no owner. Raise `InUse` while owners are there, unless by ``force``."""
        with self._lock:
            if self._owners and not force:
                users = ", ".join(str(pid) for pid in sorted(owner.pid for owner in self._owners))
                raise InUse(f"{what} is in use by process {users}. Wait for its end, or release it with --force")
            self._end("another process asked for the release")

    def extend(self, until: float) -> float | None:
        """Keep it until then, if it is being kept; until when it is."""
        with self._lock:
            if self.kept_until is not None:
                self.kept_until = until
            return self.kept_until

    def lost(self, peer: Peer, *, crashed: bool) -> None:
        """Forget a peer. A crash counts as a failure, and so does an owner that left without a word."""
        with self._lock:
            self._peers.discard(peer)
            owned = peer in self._owners
            if owned and self._is_last(peer) and not self._over.is_set() and self.kept_until is None:
                self.kept_until = self._keep(peer, failed=True)
            self._owners.discard(peer)
            if owned and not self._owners:
                self.no_owner.set()
                if not self._over.is_set() and self.kept_until is None:
                    self._end(f"owner {peer.name} (pid {peer.pid}) is gone{' without a goodbye' if crashed else ''}")

    def end_if_overdue(self, now: float) -> None:
        """End a run that was kept long enough."""
        with self._lock:
            if self.kept_until is not None and now >= self.kept_until and not self._owners:
                self._end("it was kept as long as it was to be, and no owner came")
