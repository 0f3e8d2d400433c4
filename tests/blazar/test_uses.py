"""Who uses what of the real Blazar: others' leases and those to come, of everybody, beside the run's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_capacity.backends.blazar.backend import BlazarBackend
from pytest_capacity.model import Unread
from pytest_capacity.testing import Bench
from pytest_capacity.usage import CloudResource, UseFilter
from tests.blazar.lab import LOADER, ROOT, BlazarLab, environment, hosts_of, until
from tests.blazar.runs import PATIENCE, Suite
from tests.blazar.world import PROJECTS, USERS

REGION: Final = "RegionOne"
EVERYTHING: Final = UseFilter()


@pytest.fixture
def bench(lab: BlazarLab, tmp_path: Path) -> Iterator[Bench]:
    """Keepers of one run."""
    bench = Bench(lab, tmp_path / "journal.sqlite")
    yield bench
    bench.close()


def read(lab: BlazarLab, wanted: UseFilter = EVERYTHING) -> tuple[list[CloudResource], list[Unread]]:
    """What the backend says now."""
    found = list(BlazarBackend(lab.request()).uses((REGION,), wanted))
    return [one for one in found if isinstance(one, CloudResource)], [one for one in found if isinstance(one, Unread)]


def used(found: Sequence[CloudResource]) -> dict[str, set[str | None]]:
    """Reservations by what is used."""
    return {one.id: {use.reservation for use in one.uses} for one in found if one.uses}


def coming(lab: BlazarLab, zone: str = "az-b") -> dict[str, Any]:
    """A lease of another team's, of all hosts of a zone, that begins in three hours."""
    start = (datetime.now(UTC) + timedelta(hours=3)).strftime("%Y-%m-%d %H:%M")
    return lab.openstack.lease(hosts_of(2, zone), start=start, hours=5)


def ids(lease: dict[str, Any]) -> set[str]:
    """Of its reservations."""
    return {one["id"] for one in lease["reservations"]}


def test_everybodys_leases_and_those_to_come_are_there(lab: BlazarLab) -> None:
    """Each host by id, name and zone, unused ones too; whose a lease is, its state, begin and end."""
    now, later = lab.openstack.lease(hosts_of(1, "az-a")), coming(lab)
    until(lambda: {one["status"] for one in lab.openstack.leases()} == {"ACTIVE", "PENDING"}, "the first one stands")
    found, unread = read(lab)
    assert unread == []
    hosts = {one.name: one for one in found}
    assert {name: one.zone for name, one in hosts.items()} == {
        **dict.fromkeys(("compute-1", "compute-2"), "az-a"),
        **dict.fromkeys(("compute-3", "compute-4"), "az-b"),
    }
    assert all(one.kind == "host" and one.id.isdecimal() for one in found)
    uses = [use for one in found for use in one.uses]
    assert sorted((use.lease, use.state) for use in uses) == sorted(
        [(now["id"], "ready"), (later["id"], "pending"), (later["id"], "pending")]
    )
    assert {use.reservation for use in uses} == ids(now) | ids(later)
    assert {use.owner for use in uses} == {f"another's, project {PROJECTS['admin']}, user {USERS['admin'][0]}"}
    for use in uses:
        lease = now if use.lease == now["id"] else later
        begin, end = (
            datetime.fromisoformat(lease[key]).replace(tzinfo=UTC).timestamp() for key in ("start_date", "end_date")
        )
        assert (use.since, use.until, use.ends, use.ended, use.run) == (begin, end, True, None, "")


def test_filters_are_blazars_own(lab: BlazarLab) -> None:
    """By host, by lease, by reservation; by what is not there nothing is used."""
    now, later = lab.openstack.lease(hosts_of(2, "az-a")), coming(lab)
    host = next(one.id for one in read(lab)[0] if one.name == "compute-1")
    assert used(read(lab, UseFilter(resource=host))[0]) == {host: ids(now)}
    assert [one.id for one in read(lab, UseFilter(resource=host))[0]] == [host]
    for lease in (now, later):
        assert set().union(*used(read(lab, UseFilter(lease=lease["id"]))[0]).values()) == ids(lease)
        assert len(used(read(lab, UseFilter(lease=lease["id"]))[0])) == 2
        (reservation,) = ids(lease)
        assert set().union(*used(read(lab, UseFilter(reservation=reservation))[0]).values()) == {reservation}
    for nothing in (UseFilter(resource="99"), UseFilter(lease="no-such-lease"), UseFilter(reservation="none")):
        assert used(read(lab, nothing)[0]) == {}


def test_a_lease_that_has_ended_is_known_without_its_hosts(lab: BlazarLab) -> None:
    """Blazar destroys the rows of its hosts, and keeps the lease until a user deletes it."""
    lease = lab.openstack.lease(hosts_of(1, "az-a"), hours=0.1)
    lab.openstack.world({"ahead_s": 3600})
    until(lambda: not lab.openstack.leases(), "Blazar has ended it")
    found, _ = read(lab)
    (ended,) = [one for one in found if one.uses]
    (use,) = ended.uses
    assert (ended.kind, {ended.id}, use.lease, use.state) == ("reservation", ids(lease), lease["id"], "gone")
    assert use.ended is not None
    assert use.ended <= time.time()
    assert lab.openstack.ask("DELETE", f"/v1/leases/{lease['id']}")[0] == 204
    assert used(read(lab)[0]) == {}


def test_a_member_sees_the_leases_of_its_project_without_hosts(lab: BlazarLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which hosts they have is for admins: that is unread, and each reservation is its own resource."""
    lab.openstack.lease(hosts_of(1, "az-b"))
    for name, value in environment(lab.openstack, "demo").items():
        monkeypatch.setenv(name, value)
    end = (datetime.now(UTC) + timedelta(hours=2)).strftime("%Y-%m-%d %H:%M")
    body = {"name": "mine", "start_date": "now", "end_date": end, "reservations": [hosts_of(1)], "events": []}
    status, answer = lab.openstack.ask("POST", "/v1/leases", body, user="demo")
    assert status == 201, answer
    found, unread = read(lab)
    assert used(found) == {id_: {id_} for id_ in ids(answer["lease"])}
    assert {one.kind for one in found} == {"reservation"}
    assert [(one.region, one.kind) for one in unread] == [(REGION, "host")]


def test_a_run_shows_by_its_stamps(lab: BlazarLab, bench: Bench) -> None:
    """Its lease by the name, its servers by their metadata: any machine sees whose they are, without our journal."""
    engine = bench.engine(lab.request(LOADER))
    placed = engine.provision("default")
    found, _ = read(lab)
    (node,) = placed.nodes["loader"]
    (server,) = [one for one in found if one.kind == "node"]
    (use,) = server.uses
    assert server.id == node.id
    assert (use.reservation, use.run, use.project, use.group) == (node.reservation_id, "run-1", "tests", "loader")
    (on_host,) = [use for one in found if one.kind == "host" for use in one.uses]
    assert (on_host.reservation, on_host.run, on_host.topology) == (node.reservation_id, "run-1", "default")
    assert [use.lease for one in read(lab, UseFilter(lease="run-1"))[0] if one.kind == "host" for use in one.uses] == [
        on_host.lease
    ]
    bench.give_back(engine)


def test_what_cannot_be_read_is_said(lab: BlazarLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never taken for unused."""
    monkeypatch.setenv("OS_PASSWORD", "wrong")
    found, unread = read(lab)
    assert found == []
    assert {one.kind for one in unread} == {"lease", "node"}


def command(suite: Suite, *arguments: str) -> tuple[int, str, str]:
    """``pytest-capacity ARGUMENTS`` in the suite's directory: exit status, output, errors."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(suite.path / "state")}
    program = [sys.executable, "-c", "import sys; from pytest_capacity.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*program, *arguments], cwd=suite.path, env=environ, capture_output=True, text=True, timeout=PATIENCE
    )
    return done.returncode, done.stdout, done.stderr


MAINTENANCE: Final = """
import json, pathlib, time, warnings

HERE = pathlib.Path(__file__).parent

def test_it(capacity):
    soon = time.time() + 2 * 3600
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {
            "now": capacity.allocations(end=soon),
            "later": capacity.allocations(start=soon),
            "journal": capacity.allocations(cloud=False),
        }
    told = {
        name: {one.resource.name or one.resource.id: [each.lease for each in one.allocations] for one in resources}
        for name, resources in found.items()
    }
    (HERE / "told.tmp").write_text(json.dumps(told))
    (HERE / "told.tmp").rename(HERE / "told")
    while not (HERE / "go").exists():
        time.sleep(0.05)
"""


def test_before_a_host_is_taken_down(suite: Suite) -> None:
    """The seed's case: a test and the command line both see what stands and what is booked next, of others too."""
    theirs, next_ = suite.lab.openstack.lease(hosts_of(1, "az-b")), coming(suite.lab, "az-a")
    suite.write("test_suite.py", MAINTENANCE)
    process = suite.start()
    until((suite.path / "told").exists, f"the test has asked: {suite.out}", PATIENCE)
    told = json.loads((suite.path / "told").read_text())
    (ours,) = [one["id"] for one in suite.lab.openstack.leases() if one["name"].startswith("pc|")]
    by_host = {host: set(leases) for host, leases in told["now"].items() if host.startswith("compute-")}
    assert set().union(*by_host.values()) == {theirs["id"], ours}
    assert {host: leases for host, leases in told["later"].items() if host.startswith("compute-")} == {
        "compute-1": [next_["id"]],
        "compute-2": [next_["id"]],
    }
    assert not {theirs["id"], next_["id"]} & {lease for leases in told["journal"].values() for lease in leases}
    start = (datetime.now(UTC) + timedelta(hours=2)).strftime("%Y-%m-%d %H:%M")
    code, out, err = command(suite, "allocations", "--resource", "compute-1", "--from", start, "--json")
    assert (code, err) == (0, "")
    (found,) = json.loads(out)
    (one,) = found["allocations"]
    assert (found["kind"], found["name"], one["lease"], one["source"]) == ("host", "compute-1", next_["id"], "cloud")
    code, out, err = command(suite, "allocations", "--from", "now", "--to", start)
    assert (code, err) == (0, "")
    shown = {line.split()[1].strip("()"): line for line in out.splitlines() if line.split()[1].startswith("(compute-")}
    assert "another's, project" in next(line for line in shown.values() if theirs["id"] in line)
    assert next_["id"] not in out
    assert json.loads(command(suite, "allocations", "--json", "--terminated")[1]) == []
    suite.let_go()
    assert process.wait(PATIENCE) == 0, suite.out
    ended = json.loads(command(suite, "allocations", "--json", "--terminated", "--lease", ours)[1])
    assert {one["kind"] for one in ended} == {"host"}, "the journal knows on which hosts it was"
    assert all(each["ended"] <= time.time() for one in ended for each in one["allocations"])
