"""allocations and serve: who uses what, by the journal of real runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_capacity.journal import Journal
from tests.cli.conftest import PROGRAM, SESSION, Shell
from tests.emulated import ROOT, ask
from tests.safety.runs import PATIENCE, until

TOKEN = "a-token-of-this-test"


def allocations(shell: Shell, *arguments: str) -> list[dict[str, Any]]:
    """``allocations --json``, read, by the journal alone."""
    ended = shell("allocations", "--json", "--no-cloud", *arguments)
    assert ended.code == 0, ended
    found: list[dict[str, Any]] = json.loads(ended.out)
    return found


def test_where_no_run_ever_was_nothing_is_allocated(shell: Shell) -> None:
    """No journal is no error, and none is made."""
    ended = shell("allocations", "--no-cloud")
    assert (ended.code, ended.out, ended.err) == (0, "nothing is allocated that fits\n", "")
    assert not shell.suite.journal.exists()


def test_a_run_shows_its_nodes_tests_and_times_until_it_has_ended(shell: Shell) -> None:
    """Nodes in their reservation, with the test that held them; afterwards among the terminated."""
    shell.keep()
    run = shell.one()["run"]
    found = allocations(shell, "--lease", run)
    nodes = [one for one in found if one["kind"] == "node"]
    (reservation,) = [one for one in found if one["kind"] == "reservation"]
    assert sorted(one["id"] for one in nodes) == shell.instances()
    for one in nodes:
        (allocation,) = one["allocations"]
        assert allocation["reservation"] == reservation["id"]
        assert (allocation["run"], allocation["session"], allocation["group"]) == (run, SESSION, "db")
        assert allocation["since"] <= time.time() < allocation["latest_end"]
    assert allocations(shell, "--resource", nodes[0]["id"]) == nodes[:1]
    assert allocations(shell, "--reservation", reservation["id"], "--from", "now") == found
    assert allocations(shell, "--to", "2020-01-01") == []
    lines = shell("allocations", "--no-cloud").out.splitlines()
    assert lines[0].split()[:5] == ["RESOURCE", "RESERVATION", "LEASE", "BY", "GROUP"]
    assert len(lines) == 4
    assert shell("release", SESSION).code == 0
    assert allocations(shell) == []
    ended = allocations(shell, "--terminated")
    assert sorted(one["id"] for one in ended) == sorted(one["id"] for one in found)
    assert all(one["allocations"][0]["ended"] <= time.time() for one in ended)


def test_the_cloud_is_asked_beside_the_journal(shell: Shell) -> None:
    """What bears the run's stamp there, and the journal takes for gone, is shown, with who says so."""
    shell.keep()
    (run, journal) = (shell.one()["run"], shell.suite.journal)
    nodes = shell.instances()
    before = cloud(shell)
    assert {one["source"] for found in before for one in found["allocations"]} == {"journal"}, "each is there once"
    writer = Journal(journal)
    writer.write(run, "gone", data={"kind": "node", "region": "us-east-1", "ids": nodes})
    writer.close()
    found = cloud(shell, "--lease", run)
    assert sorted(one["id"] for one in found if one["kind"] == "node") == nodes
    for one in found:
        if one["kind"] == "node":
            (allocation,) = one["allocations"]
            assert (allocation["source"], allocation["run"], allocation["group"]) == ("cloud", run, "db")
            assert allocation["seen"] <= time.time()
    assert [one for one in allocations(shell, "--lease", run) if one["kind"] == "node"] == []
    assert shell("release", SESSION).code == 0


def cloud(shell: Shell, *arguments: str) -> list[dict[str, Any]]:
    """``allocations --json``, read, by the journal and the emulated cloud."""
    ended = shell("allocations", "--json", "--endpoint", shell.emulator.url, *arguments)
    assert (ended.code, ended.err) == (0, ""), ended
    found: list[dict[str, Any]] = json.loads(ended.out)
    return found


def test_a_cloud_that_cannot_be_read_is_said(shell: Shell) -> None:
    """What the journal knows is shown all the same, and the exit status is 1."""
    shell.keep()
    ended = shell("allocations", "--endpoint", "http://127.0.0.1:1")
    assert ended.code == 1, ended
    assert len(ended.out.splitlines()) == 4
    assert "not read: node in us-east-1: " in ended.err
    assert "key-pair" not in ended.err
    assert shell("release", SESSION).code == 0


def test_a_test_asks_who_uses_what(shell: Shell) -> None:
    """`capacity.allocations` names this test among those that hold the node, in a worker or not."""
    shell.suite.write(
        "test_suite.py",
        "def test_it(request, capacity):\n"
        "    (node,) = [node for node in capacity.nodes('db')][:1]\n"
        "    (found,) = capacity.allocations(resource=node.id)\n"
        "    (one,) = found.allocations\n"
        "    assert (one.run, one.group, one.terminated) == (capacity.run_id, 'db', False)\n"
        "    assert capacity.allocations(lease='another') == ()\n"
        "    assert capacity.allocations(terminated=True) == ()\n",
    )
    ended = shell.suite.run()
    assert ended.code == 0, ended


def test_a_test_is_warned_of_what_the_cloud_did_not_say(shell: Shell) -> None:
    """A warning names it, and what the journal knows is there all the same."""
    shell.suite.write(
        "test_suite.py",
        "import pathlib, time, warnings\n"
        "import pytest\n"
        "from pytest_capacity import CapacityWarning\n"
        "HERE = pathlib.Path(__file__).parent\n"
        "def test_it(capacity):\n"
        "    (HERE / 'at').touch()\n"
        "    while not (HERE / 'go').exists():\n"
        "        time.sleep(0.02)\n"
        "    with pytest.warns(CapacityWarning, match='reservation in us-east-1: UnauthorizedOperation'):\n"
        "        found = capacity.allocations(lease=capacity.run_id)\n"
        "    assert {one.resource.kind for one in found} == {'node', 'reservation'}\n"
        "    with warnings.catch_warnings():\n"
        "        warnings.simplefilter('error')\n"
        "        assert capacity.allocations(lease=capacity.run_id, cloud=False) == found\n"
        "    (HERE / 'asked').touch()\n",
    )
    going = shell.use()
    fault = {"operation": "DescribeCapacityReservations", "error": "UnauthorizedOperation"}
    shell.emulator.weather(faults=[fault])
    shell.let_go()
    until((shell.tests / "asked").exists, PATIENCE, "the test has asked")
    # The release reads reservations, too: it waits for better weather.
    shell.emulator.weather(faults=[])
    assert going.wait().code == 0


@pytest.mark.parametrize(("flag", "value"), [("--from", "whenever"), ("--to", "nan")])
def test_a_time_that_is_none_is_refused(shell: Shell, flag: str, value: str) -> None:
    """As a usage error."""
    ended = shell("allocations", flag, value)
    assert ended.code == 2
    assert "give a time as" in ended.err


def test_serve_answers_over_http_until_it_is_ended(tmp_path: Path) -> None:
    """It says where, in JSON; asks for the token; listens on the loopback interface; and ends with 0 by SIGTERM."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_CAPACITY_SERVE_TOKEN": TOKEN}
    command = [*PROGRAM, "serve", "--json", "--journal", str(tmp_path / "journal.sqlite")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True, cwd=tmp_path) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert ready["url"].startswith("http://127.0.0.1:")
            assert ready["token"] == TOKEN
            path = "/v1/os-hosts/allocations"
            assert ask(ready["url"], path, headers={"X-Auth-Token": TOKEN}) == (200, b'{"allocations":[]}\n')
            assert ask(ready["url"], path)[0] == 401
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_serve_refuses_a_short_token_and_a_taken_port(tmp_path: Path) -> None:
    """With words that say what to change."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_CAPACITY_SERVE_TOKEN": "short"}
    done = subprocess.run([*PROGRAM, "serve"], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "at least 16 characters" in done.stderr
    environ["PYTEST_CAPACITY_SERVE_TOKEN"] = TOKEN
    command = [*PROGRAM, "serve", "--port", "1", "--journal", str(tmp_path / "j")]
    if os.geteuid() != 0:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert "--port" in done.stderr
