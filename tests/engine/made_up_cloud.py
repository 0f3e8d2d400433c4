"""A cloud in memory, with the habits of clouds that are not EC2, and a clock that passes when it is waited on.

Habits are switched on one by one: creates that fail after they were accepted, one call that makes several things, a
release in steps, things that stay of a refused call, stamps in names, fixed deadlines, lists over all regions, machines
that are replaced by maintenance.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_capacity.backends import register
from pytest_capacity.backends.base import Backend, Provider, in_order
from pytest_capacity.backends.diagnosis import Table, diagnose_held, diagnose_parts, make_table
from pytest_capacity.backends.tokens import token
from pytest_capacity.engine import Engine
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.journal import Journal
from pytest_capacity.model import (
    Change,
    Diagnosis,
    ErrorPart,
    Held,
    HeldKey,
    Identity,
    Need,
    NodeGroup,
    Offer,
    Order,
    Piece,
    Request,
    Subject,
    Topology,
    Unread,
)


class MadeUpProvider(Provider):
    """The first face: the engine asks it for the pinned account and for how long refusals are remembered."""

    name = "made-up"

    def open(self, request: Request) -> Backend:
        raise NotImplementedError("each test opens its own cloud")


register(MadeUpProvider())

REGION: Final = "north"
ZONES: Final = ("1", "2")

TABLE: Final[Table] = make_table(
    "made-up",
    [
        {
            "code": ["NO_SPOT"],
            "class": "spot-capacity",
            "scope": "type+zone+market",
            "step": "move-on",
            "market": "spot",
        },
        {"code": ["POOL_EXHAUSTED"], "class": "capacity-zone", "scope": "type+zone", "step": "move-on"},
        {"code": ["QUOTA"], "class": "quota", "scope": "region", "step": "move-on"},
        {"code": ["BUSY"], "class": "throttle", "scope": "none", "step": "back-off"},
        {"code": ["LOST"], "class": "timeout", "scope": "none", "step": "ask-again"},
        {"code": ["NOT_FOUND"], "class": "missing", "scope": "none", "step": "gone"},
        {"code": ["FORBIDDEN"], "class": "denied", "scope": "none", "step": "stop"},
        {"code": ["OPERATION_FAILED"], "class": "transient", "scope": "none", "step": "ask-again", "vague": True},
    ],
)

#: From leaf to root: a network card waits for its node, a reservation for both, a lease for all.
ORDER: Final = (frozenset({"node"}), frozenset({"card"}), frozenset({"reservation"}), frozenset({"lease"}))


class CloudError(Exception):
    """What this cloud's SDK raises."""

    def __init__(self, code: str, words: str = "") -> None:
        super().__init__(f"{code}: {words}")
        self.part = ErrorPart(code, words or code)


class PassingClock:
    """Passes as fast as it is waited on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 1_000_000.0

    def now(self) -> float:
        return self._now

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        time.sleep(0.001)  # The other threads get on with what they do.
        with self._lock:
            self._now += seconds
        return bool(wake and wake.is_set())

    def jitter(self, seconds: float) -> float:
        return seconds


class Thing(Struct):
    """What exists in the cloud."""

    held: Held
    run: str
    ready_at: float
    fails: tuple[ErrorPart, ...] = ()
    gone_at: float | None = None


class Habits(Struct, kw_only=True):
    """What this cloud does otherwise than EC2."""

    #: Seconds from the acceptance to the end of an operation.
    takes_s: float = 0.0
    #: Zone and kind: how it fails after it was accepted; and how it is refused at once.
    late: Mapping[tuple[str, str], tuple[ErrorPart, ...]] = field(default_factory=dict)
    refuses: Mapping[tuple[str, str], str] = field(default_factory=dict)
    #: How many creates of that kind go through before they are refused or fail.
    after: Mapping[str, int] = field(default_factory=dict)
    lease: bool = False
    cards: bool = False
    steps: bool = False
    stop_s: float = 0.0
    #: A refused node leaves itself behind, failed.
    leftover_nodes: bool = False
    named: bool = False
    #: A listing covers every region at once, or cannot be read.
    global_list: bool = False
    unlisted: bool = False
    place: str = ""
    leased: frozenset[str] = frozenset({"reservation"})
    #: Of these kinds nodes go with the end; with which code an extension is refused.
    ends_nodes: frozenset[str] = frozenset()
    unextended: str = ""


class MadeUpCloud:
    """The cloud's side: what there is, and the calls that were made."""

    def __init__(self, clock: PassingClock) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.things: dict[HeldKey, Thing] = {}
        self.by_token: dict[str, list[Held]] = {}
        self.calls: list[tuple[str, str]] = []
        self.made: dict[str, int] = {}
        #: What was asked to go while something that it waits for was there.
        self.in_use: list[str] = []
        self.numbers = count(1)

    def now_as(self, held: Held) -> Held:
        """The thing as it is now."""
        thing = self.things.get(held.key)
        if thing is None:
            return replace(held, state="unseen")
        if thing.gone_at is not None:
            return replace(thing.held, state="gone" if self.clock.now() >= thing.gone_at else "leaving")
        if self.clock.now() < thing.ready_at:
            return replace(thing.held, state="creating")
        if thing.fails:
            return replace(thing.held, state="failed", parts=thing.fails)
        return replace(thing.held, state="ready")

    def standing(self) -> list[Held]:
        """All that exists, in whatever state."""
        with self.lock:
            return [held for thing in self.things.values() if (held := self.now_as(thing.held)).state != "gone"]

    def called(self, operation: str) -> int:
        """How many calls of ``operation`` were made."""
        return sum(name == operation for name, _ in self.calls)


class MadeUpBackend:
    """The other side: a `Backend`."""

    name: str = "made-up"
    default_user: str = "user"
    batch: Mapping[str, int] = {}

    def __init__(self, cloud: MadeUpCloud, request: Request, habits: Habits) -> None:
        self.cloud = cloud
        self.request = request
        self.habits = habits
        self.leased = habits.leased
        self.ends_nodes = habits.ends_nodes
        self.leftovers = frozenset({"node"}) if habits.leftover_nodes else frozenset[str]()

    def whoami(self) -> Identity:
        return Identity(account="acme", place=self.habits.place)

    def regions(self) -> Sequence[str]:
        return [REGION, "south"]

    def offers(self, region: str, topology: Topology) -> Sequence[Offer]:
        # Zones bear the same names in every region.
        return [Offer(region=region, zone=zone, ok=True, aliases=(f"{region}-{zone}",)) for zone in ZONES]

    def family(self, instance_type: str) -> str:
        return instance_type

    def plan(self, order: Order) -> Sequence[Sequence[Piece]]:
        zone = order.placement.zone
        rounds: list[list[Piece]] = [[], []]
        groups = order.topology.groups
        reserved = [group for group in groups if group.reserve is not False and group.market != "spot"]
        if self.habits.lease and reserved:
            rounds[0].append(self._piece(order, "lease", "all", groups=tuple(group.name for group in reserved)))
        for group in groups:
            needs: list[Need] = []
            if group in reserved:
                if self.habits.lease:
                    needs.append(Need("reservation", rounds[0][0].subject, group.name))
                else:
                    made = self._piece(order, "reservation", group.name, group=group.name, count=group.count)
                    rounds[0].append(made)
                    needs.append(Need("reservation", made.subject))
            for number in range(group.count if order.launch else 0):
                own = list(needs)
                if self.habits.cards:
                    card = self._piece(order, "card", f"{group.name}/{number}", group=group.name)
                    rounds[0].append(card)
                    own.append(Need("card", card.subject))
                label = f"{group.name}/{group.instance_type}/{group.market}/{number}"
                rounds[1].append(
                    self._piece(
                        order,
                        "node",
                        label,
                        group=group.name,
                        needs=tuple(own),
                        instance_type=group.instance_type,
                        market=group.market or "on-demand",
                        spec={"name": f"{group.name}-{number}"},
                    )
                )
        assert all(piece.zone == zone for pieces in rounds for piece in pieces)
        return [pieces for pieces in rounds if pieces]

    def _piece(self, order: Order, kind: str, label: str, **more: Any) -> Piece:
        place = order.placement
        subject = str(Subject(order.topology.name, order.series or order.attempt, place.zone, kind, label))
        seed = token(order.unique_run, subject, place.region, place.zone, order.attempt)
        return Piece(kind=kind, subject=subject, region=place.region, zone=place.zone, token=seed, **more)

    def create(self, piece: Piece) -> Sequence[Held]:
        cloud, habits = self.cloud, self.habits
        with cloud.lock:
            cloud.calls.append(("create", piece.subject))
            if piece.token in cloud.by_token:
                return [cloud.now_as(held) for held in cloud.by_token[piece.token]]
            nth = cloud.made[piece.kind] = cloud.made.get(piece.kind, 0) + 1
            bad = nth > habits.after.get(piece.kind, 0)
            code = habits.refuses.get((piece.zone, piece.kind))
            if code and bad:
                if habits.leftover_nodes and piece.kind == "node":
                    self._add(piece, "node", f"left-{next(cloud.numbers)}", fails=(ErrorPart(code),))
                raise CloudError(code, f"no {piece.kind} in zone {piece.zone}")
            fails = habits.late.get((piece.zone, piece.kind), ()) if bad else ()
            cloud.by_token[piece.token] = made = self._make(piece, fails)
            return [cloud.now_as(held) for held in made]

    def _make(self, piece: Piece, fails: tuple[ErrorPart, ...]) -> list[Held]:
        if piece.kind == "lease":
            lease = self._add(piece, "lease", f"lease-{next(self.cloud.numbers)}", output="lease")
            reservations = [
                self._add(piece, "reservation", f"{lease.id}/{name}", output=name, group=name) for name in piece.groups
            ]
            return [lease, *reservations]
        # A name is unique among the things of its kind and region, and used again in every zone's namesake.
        text = piece.subject.replace("/", ".") if self.habits.named else f"id-{next(self.cloud.numbers)}"
        return [self._add(piece, piece.kind, text, fails=fails)]

    def _add(
        self,
        piece: Piece,
        kind: str,
        identifier: str,
        *,
        fails: tuple[ErrorPart, ...] = (),
        output: str = "",
        group: str | None = None,
    ) -> Held:
        facts: dict[str, str] = {}
        if kind == "node":
            aimed = (id_ for key, id_ in piece.inputs.items() if key.partition("#")[0] == "reservation")
            facts = {
                "name": str(piece.spec.get("name", "")),
                "market": piece.market,
                "instance_type": piece.instance_type,
                "reservation_id": next(aimed, ""),
                "incarnation": "1",
            }
        if kind == "reservation":
            facts = {"capacity": str(piece.count)}
        held = Held(
            kind=kind,
            id=identifier,
            region=piece.region,
            zone=piece.zone,
            state="creating",
            subject=piece.subject,
            group=group or piece.group,
            count=piece.count,
            deadline=self.cloud.clock.now() + 1800,
            facts={key: value for key, value in facts.items() if value},
            output=output,
            place=self.habits.place,
        )
        assert held.key not in self.cloud.things, f"{held.key} is there already"
        ready_at = self.cloud.clock.now() + self.habits.takes_s
        self.cloud.things[held.key] = Thing(held, self.request.run, ready_at, fails)
        return held

    def change(self, held: Held, to: Change) -> Held:
        self.cloud.calls.append(("change", held.id))
        if self.habits.unextended:
            raise CloudError(self.habits.unextended, "the hosts are booked next")
        thing = self.cloud.things[held.key]
        thing.held = replace(thing.held, deadline=to.deadline)
        return thing.held

    def refresh(self, helds: Sequence[Held]) -> Sequence[Held]:
        with self.cloud.lock:
            self.cloud.calls.append(("refresh", helds[0].kind))
            return [self.cloud.now_as(held) for held in helds]

    def releasable(self, helds: Sequence[Held]) -> Sequence[Held]:
        return in_order(helds, ORDER)

    def release(self, helds: Sequence[Held]) -> Sequence[Held]:
        with self.cloud.lock:
            return [self._release(held) for held in helds]

    def _release(self, held: Held) -> Held:
        cloud = self.cloud
        cloud.calls.append(("release", held.id))
        thing = cloud.things.get(held.key)
        if thing is None:
            raise CloudError("NOT_FOUND")
        before = frozenset[str]().union(*ORDER[: [held.kind in kinds for kinds in ORDER].index(True)])
        cloud.in_use += [held.id for one in cloud.standing() if one.kind in before and one.zone == held.zone][:1]
        # Which step comes next is known from what the engine has kept of the last one.
        if self.habits.steps and held.kind == "reservation" and held.facts["capacity"] != "0":
            thing.held = replace(thing.held, facts={**thing.held.facts, "capacity": "0"})
            return cloud.now_as(thing.held)
        if held.kind == "lease":
            for other in [one for one in cloud.things.values() if one.held.id.startswith(f"{held.id}/")]:
                other.gone_at = cloud.clock.now()
        if thing.gone_at is None:
            thing.gone_at = cloud.clock.now() + self.habits.stop_s
        return replace(held, state="leaving")

    def inventory(self, run: str, regions: Sequence[str]) -> Iterator[Held | Unread]:
        self.cloud.calls.append(("list", "+".join(regions)))
        if self.habits.unlisted:
            yield Unread("", "everything", "FORBIDDEN: no list for you")
            return
        for thing in list(self.cloud.things.values()):
            held = self.cloud.now_as(thing.held)
            if thing.run != run or held.state == "gone" or not (self.habits.global_list or held.region in regions):
                continue
            # Where the stamp is a name, it is read from there.
            yield replace(held, subject=held.id.replace(".", "/")) if self.habits.named else held

    def console(self, held: Held) -> str:
        return ""

    def by_hand(self, helds: Sequence[Held]) -> Sequence[str]:
        return [f"made-up delete {held.kind} {held.id}" for held in helds]

    def ends(self, thing: Held | Piece, hard_end: float) -> float | None:
        return hard_end if thing.kind == "node" else thing.deadline if isinstance(thing, Held) else None

    def diagnose(self, problem: Exception | Held, piece: Piece | None = None) -> Diagnosis:
        market = (piece.market or None) if piece else None
        if isinstance(problem, Held):
            return diagnose_held(TABLE, problem, market)
        part = problem.part if isinstance(problem, CloudError) else ErrorPart(type(problem).__name__, str(problem))
        return diagnose_parts(TABLE, [part], market)


class MadeUpBench:
    """Engines over one made-up cloud and one journal."""

    def __init__(self, path: Path) -> None:
        self.clock = PassingClock()
        self.cloud = MadeUpCloud(self.clock)
        self.path = path
        self.engines: list[Engine] = []
        self.journals: list[Journal] = []

    def engine(self, *groups: NodeGroup, habits: Habits | None = None, **changes: Any) -> Engine:
        """An engine of the one run; the second goes on with what the first holds."""
        wanted = {
            "backend": "static",  # Any provider will do: what is asked of it here has one neutral answer.
            "run": "run-1",
            "project": "tests",
            "topologies": {"default": Topology(groups)},
            "regions": (REGION,),
            "duration_s": 5400.0,
            "timeout_s": 900.0,
        }
        request = Request(**{**wanted, **changes})
        journal = Journal(self.path, now=self.clock.now)
        run_state = RunState(journal, request.run, self.clock)
        if not run_state.live:
            run_state.intend("run-started", data={"started": self.clock.now(), "nonce": "n"})
        engine = Engine(request, MadeUpBackend(self.cloud, request, habits or Habits()), run_state, self.clock)
        self.engines.append(engine)
        self.journals.append(journal)
        engine.open()
        return engine

    def give_back(self) -> None:
        """Release all by the newest engine, and see that the cloud is empty."""
        end = self.clock.now() + 3600
        receipt = self.engines[-1].release(lambda: self.clock.now() > end)
        assert receipt.clean, receipt
        assert self.cloud.standing() == []

    def close(self) -> None:
        """End what the engines have under way, and close the journals."""
        for engine in self.engines:
            engine.stop.set()
            engine.close(wait=True)
        for journal in self.journals:
            journal.close()
