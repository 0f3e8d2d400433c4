"""The answer to ``GET /_world``: the World as plain data."""

from __future__ import annotations

from typing import Any

import msgspec

from pytest_capacity.emulator.calls import as_json
from pytest_capacity.emulator.things import Machine, Other, Reservation, Thing
from pytest_capacity.emulator.world import World


def held(world: World) -> list[dict[str, Any]]:
    """Return everything that bills, blocks or has to be removed, oldest first."""
    world.settle()
    now = world.clock.now()
    things = [one for one in world.everything() if one.live(now) and not (isinstance(one, Other) and not one.shown)]
    ours = [_held(one, now) for one in sorted(things, key=lambda thing: (thing.made, thing.id))]
    return ours + [one for holds in world.also_held for one in holds()]


def tell(world: World, calls: bool) -> dict[str, Any]:
    """Return what ``GET /_world`` answers."""
    told: dict[str, Any] = {
        "emulator": world.identity,
        "now": world.clock.now(),
        "held": held(world),
        "operations": [
            {
                "id": one.id,
                "cloud": one.cloud,
                "operation": one.verb,
                "target": one.target,
                "state": one.state(world.clock.now()),
                "done_at": one.done_at,
                "error": None if one.error is None else one.error.code,
            }
            for one in world.operations.values()
        ],
        "bill": world.meter.bill(world.clock.now()),
        "weather": msgspec.to_builtins(world.weather),
        "under_way": sorted(world.under_way.values()),
    }
    if calls:
        told["calls"] = as_json(world.calls)
    return told


def _held(thing: Thing, now: float) -> dict[str, Any]:
    told: dict[str, Any] = {
        "kind": thing.kind,
        "id": thing.id,
        "cloud": thing.cloud,
        "region": thing.region,
        "zone": thing.zone or None,
        "type": None,
        "market": None,
        "state": thing.state(now),
        "count": 1,
        "since": thing.made,
        "tags": dict(thing.tags),
        "client_token": thing.token,
        "reservation": None,
    }
    if isinstance(thing, Machine):
        told |= {"type": thing.type, "market": thing.market, "reservation": thing.reservation_id}
    if isinstance(thing, Reservation):
        told |= {"type": thing.type, "market": "on-demand", "count": thing.count}
    if thing.name:
        told["name"] = thing.name
    if thing.container:
        told["container"] = thing.container
    return told
