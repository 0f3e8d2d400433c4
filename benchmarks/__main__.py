"""Time everything and print the table: ``python -m benchmarks [TIMES]``. Exit code 1 when a goal is missed."""

from __future__ import annotations

import os
import sys

from benchmarks import allocations, engine, processes
from benchmarks.table import show
from tests.emulated import start_emulator


def main() -> int:
    """Five times each unless told otherwise."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with start_emulator() as emulator:
        # The engines of this process and the keepers of others sign with the emulator's secret.
        os.environ["PYTEST_CAPACITY_EMULATOR_SECRET_FILE"] = emulator.ready["secret_file"]
        rows = engine.rows(emulator, times)
        rows.append(processes.eight_workers(emulator, times))
        rows.append(processes.joining(emulator, times))
    rows.append(processes.unused(times))
    rows += allocations.rows(times)
    print(show(rows))
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
