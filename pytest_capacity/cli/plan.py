"""``pytest-capacity plan``: what a run would try, in which order, for people and as JSON. Nothing is created."""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from pytest_capacity.cli.console import tell, width
from pytest_capacity.cli.run import chosen, read_request, spawn_options
from pytest_capacity.keeper.oneshot import plan
from pytest_capacity.preview import Plan, PreviewRung, Remembered
from pytest_capacity.report import tables
from pytest_capacity.report.render import EMULATED


def main(options: argparse.Namespace) -> int:
    """Show the plan; return 1 where a topology has nothing to try, else 0."""
    request = read_request(options, os.environ)
    names = chosen(request, options.topology)
    request = replace(request, topologies={name: request.topologies[name] for name in names})
    planned = plan(request, spawn_options(options, request))
    if options.json:
        tell([json.dumps(_plain(planned), indent=2)], whole=True)
    else:
        tell([*([EMULATED] if planned.emulated else []), *tables.plan(planned, width=width())])
    return 0 if planned.good else 1


def _plain(planned: Plan) -> dict[str, Any]:
    return {
        "backend": planned.backend,
        "account": planned.account,
        "emulated": planned.emulated,
        "regions": list(planned.regions),
        "troubles": list(planned.troubles),
        "topologies": {
            name: {
                "rungs": [_rung(rung) for rung in topology.rungs],
                "left_out": msgspec.to_builtins(topology.left_out),
                "remarks": list(topology.remarks),
            }
            for name, topology in planned.topologies.items()
        },
    }


def _rung(rung: PreviewRung) -> dict[str, Any]:
    return {
        "region": rung.region,
        "zone": rung.zone,
        "zones": list(rung.zones),
        "groups": msgspec.to_builtins(rung.groups),
        "remembered": [_remembered(one) for one in rung.dry],
        "quota": [_remembered(one) for one in rung.quota],
        "quota_room": [
            {"name": one.name, "unit": one.unit, "asked": one.asked, "limit": one.limit, "free": one.free}
            for one in rung.room
        ],
        "unused": dict(rung.unused),
        "usd_per_hour": rung.price,
    }


def _remembered(one: Remembered) -> dict[str, Any]:
    at = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="milliseconds")
    return {**msgspec.to_builtins(one), "at": at, "at_epoch": one.at}
