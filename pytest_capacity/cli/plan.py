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
from pytest_capacity.preview import Plan
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
    """Return the plan as the object that ``--json`` gives: without its time, and that of refusals for people too."""
    plain: dict[str, Any] = msgspec.to_builtins(planned)
    del plain["at"]
    for topology in plain["topologies"].values():
        for rung in topology["rungs"]:
            for one in (*rung["quota"], *rung["remembered"]):
                one["at_epoch"] = one["at"]
                one["at"] = datetime.fromtimestamp(one["at"], UTC).isoformat(timespec="milliseconds")
    return plain
