"""Commands on a node: input, outputs, status, errors, log."""

from __future__ import annotations

import logging
import os
import pickle
import re
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_capacity.errors import CommandFailed, CommandTimedOut, NodeError, Unreachable
from pytest_capacity.remote.connection import close_all
from pytest_capacity.remote.machine import Machine
from tests.remote.server import Server

MEGABYTES = 5 << 20


def test_what_a_command_says(machine: Machine) -> None:
    """A result has both outputs apart, the exit status and the duration."""
    result = machine.run("echo out; echo err >&2")
    assert (result.stdout, result.stderr, result.exit_status, result.ok) == ("out\n", "err\n", 0, True)
    assert 0 < result.seconds < 60
    assert str(result) == f"`echo out; echo err >&2` ended with 0 after {result.seconds:.1f} s"


def test_a_machine_is_its_node(server: Server, tmp_path: Path) -> None:
    """A Machine equals its node in both directions and in sets, and no other node."""
    node = server.node(tmp_path)
    machine = Machine.of(node)
    assert machine == node
    assert node == machine
    assert len({machine, node}) == 1
    assert machine != replace(node, id="i-1")
    assert Machine.of(machine) is machine
    assert machine != "db-0"


def test_a_failure_says_all_that_is_needed(machine: Machine) -> None:
    """An error has node, command, status, the last lines of both outputs, and how to look by hand: the node goes
    with the run.
    """
    with pytest.raises(CommandFailed) as caught:
        machine.run("seq 1 30; printf '\\033[31mno disk\\033[0m\\n::error::x\\n' >&2; exit 3")
    error, words = caught.value, str(caught.value)
    assert error.node == machine
    assert error.result.command.startswith("seq 1 30")
    assert error.result.exit_status == 3
    assert machine.access is not None
    assert words.startswith(f"db-0 (group db, i-0, tester@127.0.0.1:{machine.access.port}): `seq 1 30")
    assert "` ended with 3 after" in words
    assert "stdout, the last 20 of 30 lines:\n  | 11\n" in words
    assert "\nstderr:\n  | no disk\n" in words
    assert "\n::error" not in words
    assert "check=False" in words
    assert words.endswith("the node goes with the run: to look by hand, run with --capacity-keep failed")


def test_a_failure_on_a_node_that_stays_says_how_to_log_in(server: Server, tmp_path: Path) -> None:
    """By the command that leads to it: it is kept, or a machine of the user's own."""
    node = server.node(tmp_path)
    assert node.access is not None
    stays = replace(node, access=replace(node.access, stays=True))
    with pytest.raises(CommandFailed, match=r"; look by hand: ssh -o IdentityFile=.*tester@127.0.0.1$"):
        Machine.of(stays).run("false")


def test_a_status_may_be_wanted(machine: Machine) -> None:
    """With ``check=False`` another status than 0 is a result."""
    result = machine.run("exit 3", check=False)
    assert (result.exit_status, result.ok) == (3, False)


def test_a_signal_ends_a_command(machine: Machine) -> None:
    """A command that a signal ended has the status -1, and the connection stays usable."""
    with pytest.raises(CommandFailed, match="ended with a signal") as caught:
        machine.run("kill -9 $$")
    assert caught.value.result.exit_status == -1
    assert machine.run("echo on").stdout == "on\n"


def test_input_of_any_bytes(machine: Machine) -> None:
    """All bytes of ``input`` arrive unchanged; without ``input`` the command reads the end of its input at once."""
    data = bytes(range(256)) * 4096
    assert machine.run("cksum", input=data).stdout.split()[1] == str(len(data))
    assert machine.run("od -An -tx1 -N4", input=b"\0\xff\r\n").stdout.split() == ["00", "ff", "0d", "0a"]
    assert machine.run("cat", input="grün").stdout == "grün"
    assert machine.run("cat").stdout == ""


def test_a_command_need_not_read_its_input(machine: Machine) -> None:
    """A command that ends at once succeeds with more input than any buffer takes."""
    assert machine.run("true", input=b"x" * MEGABYTES).ok


def test_large_outputs_on_both_streams(machine: Machine) -> None:
    """Large outputs and a large input do not block each other."""
    command = f"cat >&2 & head -c {MEGABYTES} /dev/zero | tr '\\0' a; wait"
    result = machine.run(f"exec 3<&0; {{ {command.replace('cat', 'cat <&3')}; }}", input="b" * MEGABYTES)
    assert result.stdout == "a" * MEGABYTES
    assert result.stderr == "b" * MEGABYTES


def test_bytes_that_are_no_text(machine: Machine) -> None:
    """Bytes that are not UTF-8 are replaced, so an output never raises."""
    assert machine.run("printf 'a\\377b'").stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_variables(machine: Machine) -> None:
    """A variable may have any value; a name that is not one is refused before anything runs."""
    value = "it's $HOME\n`x`"
    assert machine.run('printf %s "$ONE$TWO"', env={"ONE": value, "TWO": "2"}).stdout == value + "2"
    with pytest.raises(ValueError, match="not a name of a variable"):
        machine.run("true", env={"A;rm": "x"})


def test_variables_are_in_no_error(machine: Machine) -> None:
    """The values of variables are in no error, since they may be secrets."""
    with pytest.raises(CommandFailed) as caught:
        machine.run("exit 1", env={"TOKEN": "s3cret"})
    assert "s3cret" not in str(caught.value)


def test_an_overdue_command_is_killed(machine: Machine, server: Server) -> None:
    """A command that exceeds its timeout is killed; the error carries its output, and the connection stays."""
    with pytest.raises(CommandTimedOut) as caught:
        machine.run("echo begun; echo on >&2; sleep 1000", timeout=6)
    error, words = caught.value, str(caught.value)
    assert "`echo begun; echo on >&2; sleep 1000` had not ended after 6 s, and was killed" in words
    assert "stdout:\n  | begun" in words
    assert (error.node, error.command) == (machine, "echo begun; echo on >&2; sleep 1000")
    assert (error.timeout, error.exit_status, error.stdout, error.stderr) == (6, None, "begun\n", "on\n")
    assert not isinstance(error, (CommandFailed, Unreachable))
    assert machine.run("echo on").stdout == "on\n"
    assert server.signals == ["KILL"]
    assert server.logins == 1


def test_an_error_is_pickled_with_what_it_carries(machine: Machine) -> None:
    """An error of a node comes whole out of a process pool, which pickles it."""
    with pytest.raises(CommandFailed) as failed:
        machine.run("exit 3")
    with pytest.raises(CommandTimedOut) as overdue:
        machine.run("echo begun; sleep 1000", timeout=5)
    for error in (failed.value, overdue.value, Unreachable("it is away", machine, why="away")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.__dict__) == (type(error), str(error), error.__dict__)


def test_a_list_is_a_program_and_its_arguments(machine: Machine) -> None:
    """Each item of a list arrives as it is, whatever the shell would make of it; the error shows what was run."""
    odd = ["printf", "%s|", "a b", "$HOME", "it's", "*", ""]
    assert machine.run(odd).stdout == "a b|$HOME|it's|*||"
    assert machine.run(["cat", Path("/dev/null")]).command == "cat /dev/null"
    with pytest.raises(CommandFailed, match=r"`test 'a b' = c` ended with 1"):
        machine.run(["test", "a b", "=", "c"])
    with pytest.raises(ValueError, match="cannot contain NUL"):
        machine.run(["echo", "\0"])


def test_commands_are_logged(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """One logger has a line for each command at INFO, without its variables and input, and no library adds to it."""
    with caplog.at_level(logging.INFO):
        machine.run("echo on", env={"TOKEN": "s3cret"}, input="hidden")
        machine.run("exit 3", check=False)
        with pytest.raises(CommandTimedOut):
            machine.run("sleep 1000", timeout=3)
        close_all()
        machine.run("true")
    lines = [
        (record.name, record.levelname, record.getMessage()) for record in caplog.records if record.name != "asyncssh"
    ]
    assert [(name, level) for name, level, _ in lines] == [("pytest_capacity.commands", "INFO")] * 4
    said = [re.sub(r"after [\d.]+ s", "after N s", text) for _, _, text in lines]
    assert said == [
        "db-0: `echo on` ended with 0 after N s",
        "db-0: `exit 3` ended with 3 after N s",
        "db-0: `sleep 1000` failed: had not ended after N s, and was killed",
        "db-0: `true` ended with 0 after N s",
    ]


def test_a_timeout_is_over_with_its_command(machine: Machine, server: Server) -> None:
    """The timer of a command that ends in time ends too, and kills nothing that runs next."""
    assert machine.run("echo a", timeout=60).stdout == "a\n"
    for timer in [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]:
        timer.join(30)
        assert not timer.is_alive()
    assert server.signals == []


def test_an_interrupt_kills_the_command(machine: Machine, server: Server, tmp_path: Path) -> None:
    """Ctrl-C in this process kills the command on the node."""
    begun = tmp_path / "begun"
    os.mkfifo(begun)

    def interrupt() -> None:
        begun.read_bytes()
        os.kill(os.getpid(), 2)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        machine.run(f"echo > {begun}; sleep 1000")
    thread.join(30)
    assert machine.run("true").ok
    assert server.signals == ["KILL"]


def test_what_holds_an_output_is_named(machine: Machine) -> None:
    """A background process that holds the output is named in the error, with the redirection that helps."""
    with pytest.raises(CommandTimedOut) as caught:
        machine.run("echo up; sleep 1000 &", timeout=6)
    assert (caught.value.exit_status, caught.value.stdout) == (0, "up\n")
    assert "ended with 0, but a background process still held its output" in str(caught.value)
    assert "`server >log 2>&1 &`" in str(caught.value)


def test_a_server_is_left_in_the_background(machine: Machine) -> None:
    """A background process with redirected output is not waited for."""
    pid = int(machine.run("sleep 1000 >/dev/null 2>&1 & echo $!", timeout=60).stdout)
    assert machine.run(f"kill -0 {pid}").ok


def test_a_run_without_ssh(server: Server, tmp_path: Path) -> None:
    """Without SSH every method raises an error that names the key for the configuration."""
    machine = Machine.of(server.node(tmp_path, access=None, private_ip="10.0.0.1"))
    for use in (
        lambda: machine.run("true"),
        lambda: machine.get("a", tmp_path),
        lambda: machine.tunnel(80),
        lambda: machine.host,
    ):
        with pytest.raises(NodeError, match=r"db-0 \(group db, i-0, 10.0.0.1\).*Add `ssh: true`"):
            use()
