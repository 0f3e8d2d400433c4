"""``python -m pytest_capacity.emulator``."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Final

#: What an interpreter and its temporary files need.
_KEPT: Final = ("PATH", "HOME", "LANG", "LC_", "TMPDIR", "TZ", "LD_", "PYTHON", "COV", "USER", "LOGNAME")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `service.run`, loaded with the garbage collector off, which would look at all modules again and again."""
    gc.disable()
    _clean_environment()
    try:
        from pytest_capacity.emulator import service

        return service.run(argv)
    finally:
        gc.enable()


def _clean_environment() -> None:
    """Remove the user's variables: a profile or a credential of a cloud must have no effect here, nor be used."""
    for name in list(os.environ):
        if not name.startswith(_KEPT):
            del os.environ[name]


if __name__ == "__main__":
    sys.exit(main())
