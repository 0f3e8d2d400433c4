"""The second face: the calls. Only the keeper imports it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import yaml
from msgspec.structs import replace

from pytest_capacity.backends.base import in_order
from pytest_capacity.backends.diagnosis import diagnose, diagnose_held, make_table
from pytest_capacity.backends.tokens import token
from pytest_capacity.model import (
    Change,
    Diagnosis,
    Held,
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

TABLE = make_table("rack", yaml.safe_load(Path(__file__).with_name("errors.yaml").read_text(encoding="utf-8"))["rows"])

#: A hold is empty of machines before it is given up.
RELEASE_ORDER = (frozenset({"node"}), frozenset({"reservation"}))

#: Where the controller keeps things of each kind.
PATHS = {"node": "machines", "reservation": "holds"}


class RackError(Exception):
    """What the controller refused."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


class RackBackend:
    """The rack for one `Request`. A hold is a reservation, and a machine a node; one machine a call."""

    name = "rack"
    default_user = "lab"
    batch: Mapping[str, int] = {}
    #: The controller gives up a hold at its end, and moves that end if it is asked to.
    leased = frozenset({"reservation"})
    leftovers: frozenset[str] = frozenset()

    def __init__(self, request: Request) -> None:
        self._url = request.endpoint or os.environ["RACK_URL"]
        self._run = request.run

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(HttpRequest(f"{self._url}/{path}", data, method=method), timeout=30) as answer:
                return json.load(answer)
        except HTTPError as error:
            said = json.load(error)
            raise RackError(said["error"], said["message"], error.code) from None

    def whoami(self) -> Identity:
        return Identity(account=self._call("GET", "whoami")["account"])

    def regions(self) -> Sequence[str]:
        return ["lab"]

    def offers(self, region: str, topology: Topology) -> Sequence[Offer]:
        return [Offer(region=region, zone=zone, ok=True) for zone in self._call("GET", "zones")]

    def family(self, instance_type: str) -> str:
        return instance_type

    def plan(self, order: Order) -> Sequence[Sequence[Piece]]:
        """A hold a group, then the machines: each is needed by what comes after it."""
        holds: list[Piece] = []
        machines: list[Piece] = []
        for group in order.topology.groups:
            needs: tuple[Need, ...] = ()
            if group.reserve is not False:
                hold = self._piece(order, "reservation", group, group.instance_type, group.count)
                holds.append(hold)
                needs = (Need("reservation", hold.subject),)
            labels = [f"{group.name}/{group.instance_type}/{number}" for number in range(group.count)]
            if order.launch:
                machines += [self._piece(order, "node", group, label, 1, needs) for label in labels]
        return [pieces for pieces in (holds, machines) if pieces]

    def _piece(
        self, order: Order, kind: str, group: NodeGroup, label: str, count: int, needs: tuple[Need, ...] = ()
    ) -> Piece:
        region, zone = order.placement.region, order.placement.zone
        if kind == "reservation":
            label = f"{group.name}/{label}"
        subject = str(Subject(order.topology.name, order.series or order.attempt, zone, kind, label))
        until = order.lease_end if kind == "reservation" else order.hard_end
        return Piece(
            kind=kind,
            subject=subject,
            region=region,
            zone=zone,
            token=token(order.unique_run, subject, region, zone, order.attempt),
            count=count,
            group=group.name,
            spec={"zone": zone, "size": group.instance_type, "count": count, "until": until},
            instance_type=group.instance_type,
            market="on-demand",
            needs=needs,
        )

    def create(self, piece: Piece) -> Sequence[Held]:
        """One call. The token is the thing's name, so that the same call again gives back the same thing."""
        stamp = {"run": self._run, "subject": piece.subject, "group": piece.group or ""}
        body = {**piece.spec, "name": piece.token, "stamp": stamp, "hold": piece.inputs.get("reservation")}
        return [self._held(piece.kind, self._call("POST", PATHS[piece.kind], body))]

    def _held(self, kind: str, thing: Mapping[str, Any]) -> Held:
        stamp = thing["stamp"]
        number = stamp["subject"].rpartition("/")[2]
        facts = {
            "name": f"{stamp['group']}-{number}" if kind == "node" else thing["name"],
            "run": stamp["run"],
            "instance_type": thing["size"],
            "market": "on-demand" if kind == "node" else "",
            "private_ip": thing.get("address") or "",
            "reservation_id": thing.get("hold") or "",
        }
        return Held(
            kind=kind,
            id=thing["name"],
            region="lab",
            zone=thing["zone"],
            state=thing["state"],
            subject=stamp["subject"],
            group=stamp["group"],
            count=thing["count"],
            deadline=thing["until"],
            problem=thing.get("problem", ""),
            problem_code=thing.get("problem", ""),
            facts={key: value for key, value in facts.items() if value},
        )

    def change(self, held: Held, to: Change) -> Held:
        if to.deadline is None or to != Change(deadline=to.deadline):
            raise ValueError(f"the rack can change nothing of a {held.kind} but its end")
        return self._held(held.kind, self._call("PATCH", f"{PATHS[held.kind]}/{held.id}", {"until": to.deadline}))

    def refresh(self, helds: Sequence[Held]) -> Sequence[Held]:
        # One engine may release what another run left.
        runs = {held.facts.get("run", self._run) for held in helds}
        now = {held.key: held for run in runs for held in self._listed(run)}
        return [now.get(held.key) or replace(held, state="unseen") for held in helds]

    def _listed(self, run: str) -> list[Held]:
        return [self._held(kind, thing) for kind, thing in self._call("GET", f"things?run={run}")]

    def releasable(self, helds: Sequence[Held]) -> Sequence[Held]:
        return in_order(helds, RELEASE_ORDER)

    def release(self, helds: Sequence[Held]) -> Sequence[Held]:
        for held in helds:
            if not held.subject:
                raise ValueError(f"{held.id} does not bear our whole stamp, so it is left alone")
            self._call("DELETE", f"{PATHS[held.kind]}/{held.id}")
        return [replace(held, state="leaving") for held in helds]

    def inventory(self, run: str, regions: Sequence[str]) -> Iterator[Held | Unread]:
        try:
            yield from self._listed(run)
        except (RackError, OSError) as error:
            yield Unread("", "everything", str(error))

    def console(self, held: Held) -> str:
        return ""

    def by_hand(self, helds: Sequence[Held]) -> Sequence[str]:
        return [f"curl -X DELETE {self._url}/{PATHS[held.kind]}/{held.id}" for held in helds]

    def ends(self, thing: Held | Piece, hard_end: float) -> float | None:
        deadline = thing.deadline if isinstance(thing, Held) else None
        return hard_end if deadline is None else deadline

    def diagnose(self, problem: Exception | Held, piece: Piece | None = None) -> Diagnosis:
        market = (piece.market or None) if piece else None
        if isinstance(problem, Held):
            return diagnose_held(TABLE, problem, market)
        if isinstance(problem, RackError):
            return diagnose(TABLE, code=problem.code, message=problem.message, http=problem.status, market=market)
        return diagnose(TABLE, code=type(problem).__name__, message=str(problem), market=market)
