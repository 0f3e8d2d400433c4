"""The face of a cloud: the interface between the server, the World and one cloud's wire.

A face is a folder here with a module ``face`` that has ``make(world, secret) -> Face``; `faces` finds it by that, and
leaves it out where the libraries that it needs are not installed. No shared module names a cloud.

The life of a call, each step in the server unless `Face` is named:

1. `Face.claims` finds the face whose request this is. A request that none claims is answered with 404.
2. The call waits half of ``latency_ms``.
3. `Face.read` reads it, with the World's lock held: operation, region, zone, type, market, token. It only reads. What
   cannot be read is not an exception but `Asked.refusal` (a `Refusal` that it raises is put there).
4. `Face.check` verifies the signature or token with `Secret`. A wrong one is refused at once, before any weather.
5. Faults strike (not those of a ``replay``: a token that was answered before), and the call waits their ``delay_s``,
   or until the faults are replaced.
6. With the lock held: what is due happens (`World.settle`), then the first of `Asked.refusal`, too many calls, a
   scripted error refuses the call; otherwise `Face.do` happens, as a whole or not at all. It raises `Refusal`, its own
   or the World's kinds (module ``refusal``), and has then changed nothing. It returns the answer, or a function without
   arguments that makes the answer, and is called without the lock (rendering that takes long).
7. `Face.refuse` puts a refusal in the cloud's form. A scripted one (``refusal.scripted``) keeps its code and text;
   `Refusal.http` is None where the face has to know the status.
8. The call is written to the log of ``/_world``, waits the other half of the latency, and is answered, or its
   connection is closed (``lose_reply``).

An exception that is no `Refusal` is a defect of the emulator: the traceback goes to standard error, and the client gets
501 with the code ``EmulatorDefect`` in the face's form, which is no cloud's answer.

The World for a face's author (the lock is held in `read`, `do` and in what `World.begin` calls):

* `World.born` gives the arguments that every new thing takes: ``Machine(**world.born("x"), id=..., kind=..., ...)``.
  ``id`` is unique over all clouds: a full path where names are. Subclass a thing to keep more or to list states in the
  cloud's words (override ``state``; ``stage`` stays neutral).
* Names: make the id of the name and its scope, and ask `World.check_new`; `World.need` finds a live one or raises.
* Capacity: `Room.seats` (or `Room.check` for reservations) raises `OverQuota`, `NoStock`, `ReservationFull`;
  then `World.add_machine`, `World.add_reservation`, in the same call. A machine in a reservation has
  ``reservation_id``, and neither counts against the stock nor bills; a reservation with several types is several
  `Reservation`s with one ``container``.
* Late answers: ``world.begin(Operation(**world.born("x"), id=..., kind="operation", verb="insert", target=...,
  done_at=now + world.seconds("operation_s", "x"), error=asked.strike.late() or refusal, then=finish))``. ``finish``
  is called once when it ends, well or not: there the thing comes to exist, or goes. A cloud that reports its lack of
  stock late catches `NoStock` and puts it there as ``error``. What is to hold capacity meanwhile is added before.
* Retries: `World.once` makes things once for a token and raises `TokenReused` for another request with it. Set
  `Asked.replay` where the token is known (``key in world.tokens``).
* Conditional changes: `World.check_version` against ``thing.version``; count ``version`` up with each change.
* Ends: `World.leave`, `World.stop`, `World.start`, `World.change_type`, `World.end_reservation`, `World.resize`,
  `World.remove`; `World.remove_contents` for a container whose removal takes all in it along. ``machine.cause`` and
  ``machine.error`` say why it went; ``taken_at`` that it has notice of preemption.
* Money: machines and reservations bill by `Catalogue.price`; an `Other` bills its ``hourly`` (disks, addresses,
  a lease). ``least_s`` is the catalogue's.
* Shells: a machine with ``public_keys`` gets an SSH server when it runs, at ``/_world/ssh``. The neutral fields
  ``private_ip``, ``public_ip``, ``user``, ``hostname``, ``domain``, ``user_data`` shape it; give ``ssh_delay_s`` and
  ``cloud_init_s`` from `World.seconds`, and `timer.shutdown_at` for a machine that ends itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_capacity.emulator.catalogue import Catalogue
from pytest_capacity.emulator.faults import Strike
from pytest_capacity.emulator.http import HttpRequest, HttpResponse
from pytest_capacity.emulator.refusal import Refusal

#: The answer, or what makes it when the lock is let go.
Answer = HttpResponse | Callable[[], HttpResponse]


@dataclass(kw_only=True)
class Asked:
    """One call as a face has read it."""

    #: The cloud's own name of the operation, one of `Catalogue.operations`.
    operation: str
    request: HttpRequest
    #: Empty for a call about no region or about all.
    region: str = ""
    zone: str | None = None
    type: str | None = None
    market: str | None = None
    token: str | None = None
    dry_run: bool = False
    #: Whether it asks again, by its token, for what was given already.
    replay: bool = False
    #: Whether it changes something: which bucket of the throttle it takes from.
    writes: bool = True
    #: What is wrong with it already.
    refusal: Refusal | None = None
    #: What the face has read, for itself.
    params: Mapping[str, Any] = field(default_factory=dict)
    #: What the weather does to it; the server sets it.
    strike: Strike = field(default_factory=Strike)


class Face(Protocol):
    """One cloud's wire."""

    @property
    def name(self) -> str:
        """Return the cloud's name in weather and log."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """Return what the cloud offers."""
        ...

    def claims(self, request: HttpRequest) -> bool:
        """Return whether a request is for this cloud, by its path or headers."""
        ...

    def read(self, request: HttpRequest) -> Asked:
        """Return the call's parts. It changes nothing."""
        ...

    def check(self, asked: Asked) -> Refusal | None:
        """Return a refusal if the request does not bear the emulator's secret."""
        ...

    def do(self, asked: Asked) -> Answer:
        """Carry out the call. Raise `Refusal` if it is refused."""
        ...

    def refuse(self, refusal: Refusal, asked: Asked) -> HttpResponse:
        """Return a refusal in the cloud's form."""
        ...

    def ready(self, url: str) -> Mapping[str, Any]:
        """Return what a client needs to know besides the URL and the secret: account, project, files."""
        ...

    def warm(self) -> None:
        """Load what the first call would otherwise wait for."""
        ...
