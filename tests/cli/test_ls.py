"""ls: what is held, by whom, until when."""

from __future__ import annotations

import platform
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from typing import Any

from pytest_capacity.journal import Journal
from tests.cli.conftest import SESSION, Shell
from tests.safety.runs import GRANTED, until


def epoch(listed: dict[str, Any], name: str) -> float:
    """A time of the JSON, which says it twice."""
    at = float(listed[f"{name}_epoch"])
    assert abs(datetime.fromisoformat(listed[name]).timestamp() - at) < 0.002
    return at


def test_where_no_run_ever_was_there_is_none(shell: Shell) -> None:
    """No journal is no error, and none is made."""
    ended = shell("ls")
    assert (ended.code, ended.out, ended.err) == (0, "no runs\n", "")
    assert shell.listed() == []
    assert not shell.suite.journal.exists()


def test_a_kept_session_is_listed_until_it_is_released(shell: Shell) -> None:
    """With its nodes, its times, and no user of it; then no more, unless all are asked for."""
    shell.keep()
    listed = shell.one()
    assert (listed["session"], listed["state"], listed["backend"], listed["owners"]) == (SESSION, "kept", "aws", [])
    nodes = listed["topologies"]["default"]["groups"]["db"]
    assert sorted(node["id"] for node in nodes) == shell.instances()
    assert listed["nodes"] == {"db": 2}
    assert 0 < epoch(listed, "kept_until") - time.time() < 301
    assert epoch(listed, "started") < time.time() < epoch(listed, "kept_until") < epoch(listed, "hard_end")
    lines = shell("ls").out.splitlines()
    assert lines[0].split() == ["RUN", "STATE", "BACKEND", "ZONE", "NODES", "AGE", "ENDS", "IN"]
    assert lines[1].split()[:6] == [SESSION, "kept", "aws", "us-east-1a", "db", "2"]
    assert max(map(len, lines)) <= 100
    assert shell("release", SESSION).code == 0
    assert shell("ls").out == "no runs\n"
    (over,) = shell.listed("--all")
    assert (over["run"], over["state"]) == (listed["run"], "over")
    assert epoch(over, "ended") <= time.time()


def test_a_run_in_use_names_its_users(shell: Shell) -> None:
    """By their process ids; a run without a session goes by its id."""
    going = shell.use()
    listed = shell.one()
    assert (listed["state"], listed["session"], listed["owners"]) == ("in use", None, [going.pid])
    row = shell("ls").out.splitlines()[1]
    assert row.startswith(listed["run"][:8])
    assert f"in use by {going.pid}" in row
    shell.let_go()
    assert going.wait().code == 0


def test_a_keeper_that_hangs_does_not_hang_the_list(shell: Shell) -> None:
    """It is named as such, after two seconds."""
    shell.keep()
    (keeper,) = shell.suite.keepers()
    shell.freeze(keeper)
    listed = shell.one()
    assert (listed["state"], listed["keeper"]["pid"]) == ("silent", keeper)
    assert "no answer within 2 s" in shell("ls").out
    released = shell("release", SESSION)
    assert released.code == 1
    assert f"process {keeper}" in released.err


def test_a_run_that_everybody_left_is_abandoned(shell: Shell) -> None:
    """Killed with its keeper: what it held is listed by the journal, with what to do."""
    going = shell.use()
    going.kill(signal.SIGSTOP)  # Or it would start another keeper.
    shell.kill_keepers()
    going.kill(signal.SIGKILL)
    going.process.wait()
    listed = shell.one()
    assert listed["state"] == "abandoned"
    held = sorted(one["id"] for one in listed["held"] if one["kind"] == "node")
    assert held == shell.instances() != []
    text = shell("ls").out
    assert "by the journal it holds 1 reservation, 2 nodes" in text
    assert f"pytest-capacity release {listed['run']}" in text


def test_a_run_of_another_machine_is_not_judged(shell: Shell) -> None:
    """A state directory may be shared; the lock says nothing of a process elsewhere."""
    journal = Journal(shell.suite.journal)
    journal.write("far", "run-started", data={"host": f"not-{platform.node()}", "pid": 7, "started": 1.0})
    journal.close()
    listed = shell.one()
    assert (listed["run"], listed["state"]) == ("far", "elsewhere")
    assert f"process 7 on not-{platform.node()}" in shell("ls").out
    assert f"process 7 on not-{platform.node()}" in shell("release", "far").err


def test_events_of_another_version_are_told(shell: Shell) -> None:
    """The others are listed all the same."""
    journal = Journal(shell.suite.journal)
    for run, data in (("strange", {"held": "one"}), ("plain", {"held": []})):
        journal.write(run, "run-started", data={"started": 1.0})
        journal.write(run, "created", data=data)
    journal.close()
    listed = shell.one()
    assert (listed["run"], listed["state"]) == ("strange", "silent")
    assert "another version" in shell("release", "strange").err


def test_a_file_that_is_no_journal_is_told(shell: Shell) -> None:
    """In one line, without a traceback, and left as it is."""
    path = shell.suite.write("notes.txt", "not a journal at all")
    ended = shell("ls", f"--journal={path}")
    assert ended.code == 1
    assert ended.err.startswith(f"pytest-capacity ls: {path} is no journal")
    assert path.read_text() == "not a journal at all"


def test_a_reader_that_has_seen_enough_is_no_error(shell: Shell) -> None:
    """ls | head -0."""
    going = shell.start("ls", prefix=("sh", "-c", '"$@" | true', "sh"))
    assert going.wait().text == ""


def test_it_is_there_at_once(shell: Shell) -> None:
    """Neither pytest, nor an SDK, nor paramiko, nor YAML is loaded to list runs."""
    shell.keep()
    heavy = "{'pytest', 'boto3', 'botocore', 'paramiko', 'yaml', 'asyncio'}"
    code = f"import sys; from pytest_capacity.cli import main; main(['ls']); print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=shell.suite.environment(), capture_output=True, text=True, check=True
    )
    assert SESSION in done.stdout
    assert done.stdout.endswith("set()\n")


def test_what_ends_while_it_is_listed(shell: Shell) -> None:
    """A keeper that releases takes no visitors any more; it is ending, and `release` waits with it."""
    shell.keep()
    shell.emulator.hold("TerminateInstances")
    first = shell.start("release", SESSION)
    until(lambda: any(run["state"] == "ending" for run in shell.listed()), GRANTED, "it is ending")
    assert re.search(r"being given back: (1 reservation, )?2 nodes", shell("ls").out)
    second = shell.start("release", SESSION)
    until(lambda: "is being released already" in second.complained(), GRANTED, "the second one waits")
    shell.emulator.go_on()
    assert first.wait().code == 0
    ended = second.wait()
    assert ended.code == 0, ended
    assert "holds nothing" in ended.out
