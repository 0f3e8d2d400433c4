"""What the command line says, to standard error where it is not the answer itself."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from pytest_capacity.errors import CapacityError
from pytest_capacity.text import clean

_lock: Final = threading.Lock()


class Misused(CapacityError):
    """What was written on the command line cannot be meant: the exit status is that of a usage error."""

    usage = True


def complain(verb: str, *lines: str) -> None:
    """What went wrong, and what to do."""
    first, *others = lines or ("",)
    say(f"pytest-capacity {verb}: {first}", *others)


def say(*lines: str) -> None:
    """Write to standard error, from any thread. Its reader may be gone."""
    with suppress(OSError, ValueError), _lock:
        for line in lines:
            print(clean(line, lines=True), file=sys.stderr)
        sys.stderr.flush()


def tell(lines: Iterable[str]) -> None:
    """Write the answer to standard output."""
    for line in lines:
        print(clean(line, lines=True))
    sys.stdout.flush()
