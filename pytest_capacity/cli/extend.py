"""``pytest-capacity extend RUN 1h``: let a run last longer, and what is kept be kept for longer."""

from __future__ import annotations

import argparse
from contextlib import closing

from pytest_capacity.cli.console import Misused, tell
from pytest_capacity.cli.runs import expect_description, find, look, visit
from pytest_capacity.config.durations import DURATION_HELP, parse_duration
from pytest_capacity.keeper import protocol
from pytest_capacity.text import moment


def main(options: argparse.Namespace) -> int:
    """Extend the run; return 0. Raise `Refused`, in the keeper's words, beyond the run's limit."""
    try:
        more = parse_duration(options.time)
    except ValueError as error:
        raise Misused(f"{error}. {DURATION_HELP}") from None
    run = find(options.run, options.journal)
    description = expect_description(look(run))
    with closing(visit(run)) as connection:
        until = (description.kept_until or description.hard_end) + more
        extended = connection.call(protocol.Extend(until=until), protocol.Extended)
    kept = f"is kept until {moment(extended.kept_until)}, and " if extended.kept_until is not None else ""
    tell([f"{run.name}: {kept}may last until {moment(extended.hard_end)}"])
    return 0
