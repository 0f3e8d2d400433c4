"""The allocation view on a large journal: 10,000 resources, 100,000 reservations."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.table import Row
from pytest_capacity.allocations import Filter, open_view
from pytest_capacity.allocations.web.app import make_app
from pytest_capacity.allocations.web.guard import Guard
from pytest_capacity.journal import Journal

HOSTS: Final = 10_000
RESERVATIONS: Final = 100_000
HOUR: Final = 3600.0
PORT: Final = 7777
TOKEN: Final = "a-token-of-the-benchmark"


def write_journal(path: Path, hosts: int = HOSTS, reservations: int = RESERVATIONS) -> None:
    """Write the events of runs that each held a host; the last one on each host still does."""
    Journal(path).close()
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("BEGIN")
    base.executemany(
        "INSERT INTO events (at, run, kind, subject, data) VALUES (?, ?, ?, '', ?)", _events(hosts, reservations)
    )
    base.execute("COMMIT")
    base.close()


def _events(hosts: int, reservations: int) -> Iterator[tuple[float, str, str, bytes]]:
    started = time.time() - reservations
    for number in range(reservations):
        at, run, host = started + number, f"run-{number}", str(number % hosts)
        request = {"backend": "blazar", "project": "benchmark", "duration_s": HOUR * 1000}
        yield at, run, "run-started", _text({"request": request, "started": at})
        held = {
            "kind": "reservation",
            "id": f"res-{number}",
            "region": "r1",
            "zone": "nova",
            "state": "ready",
            "deadline": at + 1000 * HOUR,
            "facts": {"hosts": host, "lease_id": f"lease-{number}"},
        }
        yield at, run, "created", _text({"held": [held]})
        if number < reservations - hosts:
            yield at + 1, run, "gone", _text({"kind": "reservation", "region": "r1", "ids": [held["id"]]})


def _text(data: dict[str, Any]) -> str:
    return msgspec.json.encode(data).decode()


def rows(times: int) -> list[Row]:
    """The index made once, then the first page by the view, by the REST API and by the page for people."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        write_journal(path)
        view = open_view(path)
        assert view is not None
        began = time.perf_counter()
        view.follow()
        folded = time.perf_counter() - began
        client = make_app(path, Guard(tokens={TOKEN: "admin"}), PORT).test_client()

        def get(url: str) -> float:
            began = time.perf_counter()
            answer = client.get(url, headers={"X-Auth-Token": TOKEN, "Host": f"127.0.0.1:{PORT}"})
            assert answer.status_code == 200, answer.text
            return time.perf_counter() - began

        def page(wanted: Filter) -> float:
            began = time.perf_counter()
            assert view.page(wanted).resources
            return time.perf_counter() - began

        now = time.time()
        lease = f"lease-{RESERVATIONS - 1}"
        found = [
            Row("index 100,000 reservations (once)", [folded], 30.0, "s", "1 pass"),
            Row(
                "first 100 of 10,000 resources",
                [page(Filter(terminated=False, limit=100)) for _ in range(times)],
                0.05,
                "s",
                "1 query",
            ),
            Row("the same, one lease", [page(Filter(lease=lease)) for _ in range(times)], 0.2, "s", "1 query"),
            Row(
                "the same, a window",
                [page(Filter(start=now, end=now + HOUR, limit=100)) for _ in range(times)],
                0.05,
                "s",
                "1 query",
            ),
            Row(
                "REST, first 100",
                [get("/v1/os-hosts/allocations?limit=100") for _ in range(times)],
                0.1,
                "s",
                "1 query",
            ),
            Row("REST, one host", [get("/v1/os-hosts/4711/allocation") for _ in range(times)], 0.05, "s", "1 query"),
            Row("page for people", [get("/") for _ in range(times)], 0.3, "s", "1 query"),
        ]
        view.close()
    return found
