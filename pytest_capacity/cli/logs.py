"""``pytest-capacity logs RUN``: what a run's keeper wrote."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import BinaryIO, Final

from pytest_capacity.cli.console import tell
from pytest_capacity.cli.runs import Run, find, is_taken
from pytest_capacity.errors import CapacityError

#: How often one looks for new lines. Seconds.
_LOOK: Final = 0.2

#: How long a run without a keeper may get another one, which goes on in the same log. Seconds.
_SUCCESSION: Final = 2.0


def main(options: argparse.Namespace) -> int:
    """Show the log; return 0. Raise `CapacityError` where there is none."""
    run = find(options.run, options.journal)
    try:
        file = Path(run.log).open("rb")  # noqa: SIM115 - closed below, after it was followed.
    except OSError as error:
        raise CapacityError(
            f"the log of run {run.id} cannot be read: {error}. Logs are removed after 30 days"
        ) from error
    with file:
        _show(file)
        if options.follow:
            _follow(run, file)
    return 0


def _show(file: BinaryIO) -> None:
    text = file.read().decode(errors="replace")
    if text:
        tell(text.splitlines(), whole=True)


def _follow(run: Run, file: BinaryIO) -> None:
    """Show what comes until the keeper is gone, and no other one has taken its place."""
    alone = 0.0
    while alone < _SUCCESSION:
        time.sleep(_LOOK)
        if is_taken(run.places.lock):
            alone = 0.0
        elif find(run.id, run.places.journal).ended is not None:
            alone = _SUCCESSION
        else:
            alone += _LOOK
        _show(file)
