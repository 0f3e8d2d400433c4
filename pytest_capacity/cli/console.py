"""What the command line says, to standard error where it is not the answer itself."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from pytest_capacity.errors import CapacityError, ConfigError
from pytest_capacity.text import clean, fold_all, width_of

_lock: Final = threading.Lock()


class Misused(CapacityError):
    """What was written on the command line cannot be meant: the exit status is that of a usage error."""


def complain(verb: str, *lines: str) -> None:
    """Write what went wrong, and what to do."""
    first, *others = lines or ("",)
    say(f"pytest-capacity {verb}: {first}", *others)


def complain_of(verb: str, error: CapacityError) -> None:
    """Write what an expected error says."""
    if isinstance(error, ConfigError):
        complain(verb, "the configuration cannot be used:", *(f"  {fault}" for fault in error.faults))
    else:
        complain(verb, *str(error).splitlines())


def say(*lines: str) -> None:
    """Write to standard error, from any thread. Its reader may be gone."""
    with suppress(OSError, ValueError), _lock:
        for line in _folded(lines, width_of(sys.stderr, os.environ)):
            print(line, file=sys.stderr)
        sys.stderr.flush()


def tell(lines: Iterable[str], *, whole: bool = False) -> None:
    """Write the answer to standard output; ``whole``: for a program, or as it stands in a file, not for a screen."""
    for line in _folded(lines, None if whole else width()):
        print(line)
    sys.stdout.flush()


def width() -> int | None:
    """Return the columns of standard output; None where it is no screen."""
    return width_of(sys.stdout, os.environ)


def _folded(lines: Iterable[str], columns: int | None) -> Iterator[str]:
    for line in lines:
        yield from fold_all(clean(line, lines=True).splitlines() or [""], columns)
