"""The allocation view on a large journal: 10,000 resources, 100,000 reservations."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.table import Row
from pytest_capacity.allocations import AllocationView, Filter, open_view
from pytest_capacity.allocations.web.app import make_app
from pytest_capacity.allocations.web.guard import Guard
from pytest_capacity.journal import Journal
from pytest_capacity.usage import CloudResource, CloudUse

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


def _events(hosts: int, reservations: int) -> Iterator[tuple[float, str, str, str]]:
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


def booked(hosts: int = HOSTS, reservations: int = RESERVATIONS) -> list[CloudResource]:
    """What a cloud says: as many reservations of others, to come one after the other on each host."""
    now, each = time.time(), reservations // hosts
    return [
        CloudResource(
            id=str(host),
            kind="host",
            region="r1",
            uses=tuple(
                CloudUse(
                    reservation=f"other-{host}-{number}",
                    lease=f"others-{number}",
                    since=now + number * HOUR,
                    until=now + (number + 1) * HOUR,
                    ends=True,
                )
                for number in range(each)
            ),
        )
        for host in range(hosts)
    ]


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
        first = Filter(terminated=False, limit=100)
        lease = Filter(lease=f"lease-{RESERVATIONS - 1}")
        window = Filter(start=now, end=now + HOUR, limit=100)

        def row(name: str, work: Callable[[], float], goal: float) -> Row:
            return Row(name, [work() for _ in range(times)], goal, "s", "1 query")

        found = [
            Row("index 100,000 reservations (once)", [folded], 30.0, "s", "1 pass"),
            row("first 100 of 10,000 resources", lambda: page(first), 0.05),
            row("the same, one lease", lambda: page(lease), 0.2),
            row("the same, a window", lambda: page(window), 0.05),
            row("REST, first 100", lambda: get("/v1/os-hosts/allocations?limit=100"), 0.1),
            row("REST, one host", lambda: get("/v1/os-hosts/4711/allocation"), 0.05),
            row("page for people", lambda: get("/"), 0.3),
        ]
        found += _with_a_cloud(view, times)
        view.close()
    return found


def _with_a_cloud(view: AllocationView, times: int) -> list[Row]:
    """The same page when as much again was read of a cloud; a second reading, which changes nothing."""

    def note() -> float:
        resources = booked()
        began = time.perf_counter()
        view.note("blazar", resources, ["r1"])
        return time.perf_counter() - began

    def page() -> float:
        began = time.perf_counter()
        assert view.page(Filter(cloud="blazar", terminated=False, limit=100)).resources
        return time.perf_counter() - began

    return [
        Row("a cloud's 100,000 reservations read (once)", [note()], 15.0, "s", "1 pass"),
        Row("the same, again", [note() for _ in range(times)], 5.0, "s", "1 pass"),
        Row("first 100 of 10,000, with the cloud's", [page() for _ in range(times)], 0.1, "s", "1 query"),
    ]
