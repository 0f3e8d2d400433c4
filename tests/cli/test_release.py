"""release: everything is given back now, also what another process kept."""

from __future__ import annotations

import os
import pty
import signal
import subprocess

import pytest

from tests.cli.conftest import PROGRAM, SESSION, Shell
from tests.safety.runs import GRANTED, PATIENCE, until


def test_a_kept_session_is_given_back(shell: Shell) -> None:
    """The receipt says so, and no process stays behind."""
    shell.keep()
    run = shell.one()["run"]
    ended = shell("release", SESSION)
    assert ended.code == 0, ended
    assert f"receipt: 0 things bearing run {run} are left (us-east-1 read)" in ended.out
    shell.suite.nothing_left()


def test_what_is_in_use_stays(shell: Shell) -> None:
    """No user is there to be asked: it is refused with the users, and the run goes on."""
    going = shell.use()
    run, nodes = shell.one()["run"], shell.instances()
    ended = shell("release", run)
    assert ended.code == 1
    assert f"in use by process {going.pid}" in ended.err
    assert "--force" in ended.err
    assert shell.instances() == nodes != []
    shell.let_go()
    assert going.wait().code == 0


def test_force_takes_it_from_under_their_hands(shell: Shell) -> None:
    """Nothing is left, though pytest still runs."""
    going = shell.use()
    ended = shell("release", "--force", shell.one()["run"])
    assert ended.code == 0, ended
    assert shell.instances() == []
    assert going.process.poll() is None
    shell.let_go()
    going.wait()
    shell.suite.nothing_left()


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)], ids=["yes", "no", "nothing"])
def test_on_a_terminal_it_asks(shell: Shell, answer: str, code: int) -> None:
    """And only a yes counts."""
    going = shell.use()
    run = shell.one()["run"]
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "release", run], env=shell.suite.environment(), stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    text = b""
    while b"[y/N]" not in text:
        text += os.read(master, 1000)
    os.write(master, f"{answer}\n".encode())
    assert process.wait(PATIENCE) == code
    os.close(master)
    assert bool(shell.instances()) is bool(code)
    shell.let_go()
    going.wait()


def test_a_run_whose_keeper_died_is_taken_over_and_given_back(shell: Shell) -> None:
    """By a keeper of the command's own."""
    going = shell.use()
    run = shell.one()["run"]
    going.kill(signal.SIGSTOP)  # Or it would start another keeper.
    shell.kill_keepers()
    going.kill(signal.SIGKILL)
    going.process.wait()
    assert shell.instances()
    ended = shell("release", run[:8])
    assert ended.code == 0, ended
    assert f"receipt: 0 things bearing run {run} are left" in ended.out
    shell.suite.nothing_left()
    assert shell("ls").out == "no runs\n"
    assert not list(shell.suite.tmp.glob("pc-*")), "the socket's directory is removed"


def test_a_session_whose_keeper_and_guard_died(shell: Shell) -> None:
    """Is taken over as well, by its name, and its name is free again."""
    shell.keep()
    shell.kill_keepers()
    assert shell.one()["state"] == "abandoned"
    ended = shell("release", SESSION)
    assert ended.code == 0, ended
    assert "receipt: 0 things" in ended.out
    shell.suite.nothing_left()
    assert shell("release", SESSION).out.endswith("and holds nothing\n")


def test_a_receipt_that_is_not_clean(shell: Shell) -> None:
    """Lists what is left, and what removes it; the exit code says so."""
    shell.suite.configure({"db": {"count": 2, "instance_type": "i4i.large"}}, release_timeout=1)
    shell.keep()
    shell.emulator.weather(faults=[{"operation": "TerminateInstances", "error": "UnauthorizedOperation"}])
    ended = shell("release", SESSION)
    assert ended.code == 1, ended
    assert "receipt: 2 things bearing run" in ended.out
    assert "aws ec2 terminate-instances" in ended.out
    shell.emulator.weather(faults=[])
    shell.suite.nothing_left()


def test_who_does_not_wait_leaves_it_to_the_keeper(shell: Shell) -> None:
    """Ctrl-C ends the command, not the release."""
    shell.keep()
    shell.emulator.hold("TerminateInstances")
    going = shell.start("release", SESSION)
    until(lambda: "TerminateInstances" in shell.emulator.under_way(), GRANTED, "it is being released")
    going.kill(signal.SIGINT)
    ended = going.wait()
    assert ended.code == 130
    assert "goes on releasing" in ended.err
    assert "Traceback" not in ended.err
    shell.emulator.go_on()
    shell.suite.nothing_left()
