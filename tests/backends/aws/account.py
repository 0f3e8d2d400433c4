"""A backend at the emulator, for the tests of this folder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import boto3
from botocore.config import Config
from msgspec.structs import replace

from pytest_capacity.backends.aws.backend import AwsBackend
from pytest_capacity.backends.aws.backend import open_aws as open
from pytest_capacity.model import Held, Order, Piece, Request
from tests.backends.aws.orders import REGION, RUN, group, order
from tests.emulated import Emulator

DB = group("db", "i4i.large", 3)
LOADER = group("loader", "c6i.xlarge")
MONITOR = group("monitor", "t3.large", reserve=False)
CLUSTERED = group("db", "c6i.xlarge", 2, placement_group=True)


def stranger(emulator: Emulator, region: str = REGION) -> Any:
    """The way to EC2 of somebody else in the account, past our code."""
    return boto3.client(
        "ec2",
        region_name=region,
        endpoint_url=emulator.url,
        aws_access_key_id="u",
        aws_secret_access_key=emulator.secret,
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
    )


class Account:
    """A backend at the emulator, and what a test does with it: make the pieces of an order, one round after another."""

    def __init__(self, emulator: Emulator, wanted: Request) -> None:
        self.emulator = emulator
        self.request = replace(wanted, endpoint=emulator.url)
        self.backend: AwsBackend = open(self.request)

    def ready_pieces(self, order: Order, made: dict[str, str]) -> Iterator[Piece]:
        """The pieces of ``order`` with the ids that have come to stand in ``made``."""
        for piece in chain(*self.backend.plan(order)):
            yield replace(piece, inputs={need.key: made[need.subject] for need in piece.needs})

    def make(self, order: Order) -> list[Held]:
        """All that ``order`` asks for."""
        made: dict[str, str] = {}
        held: list[Held] = []
        for piece in self.ready_pieces(order, made):
            created = self.backend.create(piece)
            made[piece.subject] = created[0].id
            held += created
        return held

    def asked(self, operation: str) -> int:
        """How many calls of ``operation`` came to the cloud."""
        return len(self.emulator.calls(operation))


def rounds(calls: list[dict[str, Any]]) -> int:
    """In how many rounds the calls were made: a round ends when one of its calls is answered before the next begins."""
    count, end = 0, float("-inf")
    for call in sorted(calls, key=lambda call: float(call["began"])):
        if call["began"] >= end:
            count, end = count + 1, call["ended"]
        else:
            end = min(end, call["ended"])
    return count


def now_order(account: Account, **more: Any) -> Order:
    """The account's order, with a lease that runs from the real now."""
    return order(account.request, now=time.time(), **more)


def states(helds: Sequence[Held]) -> set[str]:
    """The states that occur."""
    return {held.state for held in helds}


def of_kind(helds: Sequence[Held], kind: str) -> list[Held]:
    """Those of a kind."""
    return [held for held in helds if held.kind == kind]


def listed(account: Account, *regions: str) -> list[Held]:
    """The inventory, all of it read."""
    found = list(account.backend.inventory(RUN, regions or (REGION,)))
    held = [one for one in found if isinstance(one, Held)]
    assert found == held
    return held


def one_of_each(account: Account) -> tuple[Piece, Piece]:
    """A reservation, and the node of a group that is not reserved."""
    pieces = list(chain(*account.backend.plan(now_order(account))))
    return pieces[0], next(piece for piece in pieces if piece.group == "monitor")
