"""``python -m pytest_capacity.emulator``."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """`service.run`, loaded with the garbage collector off: it would look at all that the faces bring, again and again."""
    gc.disable()
    try:
        from pytest_capacity.emulator import service

        return service.run(argv)
    finally:
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
