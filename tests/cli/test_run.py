"""run: any command with nodes, and everything given back after it."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import SESSION, Shell
from tests.emulated import IMAGE
from tests.safety.runs import GRANTED, until

#: Says that it runs, and waits for a signal or the file `go`.
WAITS = """
import pathlib, signal, sys, time

def heard(number, frame):
    pathlib.Path("heard").write_text(str(number))
    sys.exit({exit})

for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, heard)
signal.signal(signal.SIGINT, heard if {handles_int} else signal.SIG_DFL)
pathlib.Path("at").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.02)
"""


def waits(shell: Shell, *, exits: int = 0, handles_int: bool = True) -> tuple[str, ...]:
    """A command that waits."""
    return shell.python(WAITS.format(exit=exits, handles_int=handles_int))


@pytest.mark.parametrize("code", [0, 1, 7])
def test_the_exit_code_is_the_commands(shell: Shell, code: int) -> None:
    """And everything is given back, before it ends; standard output is the command's own."""
    ended = shell.run(*shell.python(f"import sys; print('output'); sys.exit({code})"))
    assert ended.code == code, ended
    assert ended.out == "output\n"
    assert "receipt: 0 things bearing run" in ended.err
    assert shell.instances() == []
    shell.suite.nothing_left()


def test_the_command_knows_its_nodes(shell: Shell) -> None:
    """By variables and a file, which no other user can read and which ends with it."""
    code = (
        "import json, os, stat; path = os.environ['CAPACITY_FILE']; "
        "modes = [stat.S_IMODE(os.stat(one).st_mode) for one in (path, os.path.dirname(path))]; "
        "variables = {key: value for key, value in os.environ.items() if key.startswith('CAPACITY_')}; "
        "print(json.dumps([modes, variables, json.load(open(path))]))"
    )
    groups = {
        "db": {"count": 2, "instance_type": "i4i.large"},
        "load-gen": {"count": 1, "instance_type": "c6i.xlarge"},
    }
    shell.suite.configure(groups)
    ended = shell.run(*shell.python(code), options=("--quiet",))
    modes, variables, told = json.loads(ended.out)
    assert modes == [0o600, 0o700]
    assert not Path(variables["CAPACITY_FILE"]).parent.exists()
    topology = told["topologies"]["default"]
    assert (topology["region"], topology["zone"]) == ("us-east-1", "us-east-1a")
    nodes = topology["groups"]
    assert [len(nodes["db"]), len(nodes["load-gen"]), len(topology["reservations"])] == [2, 1, 2]
    assert told["run"] == variables["CAPACITY_RUN_ID"]
    assert variables["CAPACITY_DB_HOSTS"].split() == [node["private_ip"] for node in nodes["db"]]
    assert variables["CAPACITY_LOAD_GEN_HOSTS"] == nodes["load-gen"][0]["private_ip"]
    assert "CAPACITY_SSH_CONFIG" not in variables


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh on this machine")
def test_ssh_and_ansible_find_the_nodes(shell: Shell) -> None:
    """Two topologies: each node has its topology's name; the files lead to it."""
    group = {"count": 1, "instance_type": "i4i.large", "ready": "ssh"}
    topologies = {name: {"groups": {"db": group}} for name in ("one", "two")}
    shell.suite.configure(groups=None, topologies=topologies, ssh={}, aws={"image": {"us-east-1": IMAGE}})
    script = (
        'ssh -F "$CAPACITY_SSH_CONFIG" one-db-0 "echo first > it" && '
        'ssh -F "$CAPACITY_SSH_CONFIG" two-db-0 "cat it || echo none" && '
        'ssh -F "$CAPACITY_SSH_CONFIG" one-db-0 "cat it" && '
        'echo $CAPACITY_ONE_DB_HOSTS $CAPACITY_TWO_DB_HOSTS && cat "$CAPACITY_INVENTORY"'
    )
    ended = shell.run("sh", "-c", script)
    assert ended.code == 0, ended
    none, first, hosts, inventory = ended.out.split("\n", 3)
    assert (none, first, hosts) == ("none", "first", "127.0.0.1 127.0.0.1")
    children = yaml.safe_load(inventory)["all"]["children"]
    assert {group: list(children[group]["hosts"]) for group in children} == {
        "one-db": ["one-db-0"],
        "two-db": ["two-db-0"],
    }


def test_only_the_topology_that_is_named(shell: Shell) -> None:
    """The others are not asked for; one that is not there is a usage error."""
    topologies = {
        name: {"groups": {"db": {"count": count, "instance_type": "i4i.large"}}} for name, count in (("a", 1), ("b", 2))
    }
    shell.suite.configure(groups=None, topologies=topologies)
    ended = shell.run("sh", "-c", "echo $CAPACITY_DB_HOSTS", options=("--topology", "b"))
    assert len(ended.out.split()) == 2, ended
    assert len(shell.emulator.calls("RunInstances")) == 1
    wrong = shell.run("true", options=("--topology", "c"))
    assert wrong.code == 2
    assert "there is no topology 'c' in the configuration. It has: a, b" in wrong.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_is_passed_on(shell: Shell, number: signal.Signals) -> None:
    """The command decides what it means; then everything is given back."""
    going = shell.start_run(*waits(shell, exits=5))
    until((shell.tests / "at").exists, GRANTED, "the command runs")
    going.kill(number)
    ended = going.wait()
    assert ended.code == 5, ended
    assert (shell.tests / "heard").read_text() == str(int(number))
    assert "receipt: 0 things" in ended.err
    shell.suite.nothing_left()


def test_a_command_that_a_signal_ends(shell: Shell) -> None:
    """As a shell says it: 128 and its number."""
    ended = shell.run(*shell.python("import os; os.kill(os.getpid(), 9)"))
    assert ended.code == 137, ended
    assert "receipt: 0 things" in ended.err


def test_ctrl_c_while_the_nodes_are_asked_for(shell: Shell) -> None:
    """The command is not started; what there is goes back."""
    shell.emulator.hold("RunInstances")
    going = shell.start_run("touch", "started")
    until(lambda: "RunInstances" in shell.emulator.under_way(), GRANTED, "a call is under way")
    going.kill(signal.SIGINT)
    shell.emulator.go_on()
    ended = going.wait()
    assert ended.code == 130, ended
    assert "interrupted" in ended.err
    assert not (shell.tests / "started").exists()
    shell.suite.nothing_left()


def test_a_second_ctrl_c_leaves_the_release_to_the_keeper(shell: Shell) -> None:
    """It says what is still held, and the keeper goes on."""
    going = shell.start_run(*waits(shell, handles_int=False))
    until((shell.tests / "at").exists, GRANTED, "the command runs")
    shell.emulator.hold("TerminateInstances")
    going.kill(signal.SIGINT)
    until(lambda: "TerminateInstances" in shell.emulator.under_way(), GRANTED, "it is being released")
    going.kill(signal.SIGINT)
    ended = going.wait()
    assert ended.code == 130, ended
    assert "still held: " in ended.err
    assert "goes on releasing; its log:" in ended.err
    assert shell.instances()
    shell.emulator.go_on()
    shell.suite.nothing_left()


def test_killed_it_leaves_nothing(shell: Shell) -> None:
    """The keeper notices that its owner is gone."""
    going = shell.start_run(*waits(shell))
    until((shell.tests / "at").exists, GRANTED, "the command runs")
    assert len(shell.instances()) == 2
    going.kill(signal.SIGKILL)
    shell.let_go()
    shell.suite.nothing_left()


def test_no_capacity(shell: Shell) -> None:
    """Status 3 and the reason; the command is not started."""
    shell.emulator.weather(stock={"us-east-1a": {"*": 0}, "us-east-1b": {"*": 0}})
    ended = shell.run("touch", "started")
    assert ended.code == 3, ended
    assert "pytest-capacity run: no capacity for topology 'default'" in ended.err
    assert not (shell.tests / "started").exists()
    shell.suite.nothing_left()


def test_what_is_left_turns_success_into_failure(shell: Shell) -> None:
    """0 becomes 1; a failure stays what it is."""
    shell.suite.configure({"db": {"count": 1, "instance_type": "i4i.large"}}, release_timeout=1)
    for code, status in ((0, 1), (7, 7)):
        shell.emulator.weather(faults=[{"operation": "TerminateInstances", "error": "UnauthorizedOperation"}])
        ended = shell.run(*shell.python(f"raise SystemExit({code})"))
        assert ended.code == status, ended
        assert "receipt: 1 thing bearing run" in ended.err
        shell.emulator.weather(faults=[])
        shell.suite.nothing_left()


def test_every_fault_of_the_configuration_at_once(shell: Shell) -> None:
    """As pytest says them; status 2, and nothing is started."""
    shell.suite.configure({"db": {"count": 0, "instance_type": "i4i.large"}}, duration="soon")
    ended = shell.run("touch", "started")
    assert ended.code == 2, ended
    assert "capacity.yaml: groups.db.count" in ended.err
    assert "capacity.yaml: duration" in ended.err
    assert shell.emulator.calls() == []
    assert not (shell.tests / "started").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--config", "none.yaml", "--", "true"), 2, "there is no file none.yaml"),
        (("--", "no-such-program"), 127, "there is no program 'no-such-program'"),
        ((), 2, "name the command after two dashes"),
        (("--emulator=none.yaml", "--", "true"), 2, "there is no scenario file"),
        (("--keeper-python=./none", "--", "true"), 2, "there is no program"),
        (("--backend=nimbus", "--", "true"), 2, "--backend: 'nimbus' is not one of aws"),
        (("--session=a b", "--", "true"), 2, "--session: 'a b'"),
    ],
    ids=["file", "program", "command", "scenario", "python", "backend", "session"],
)
def test_what_is_written_wrong(shell: Shell, arguments: tuple[str, ...], code: int, words: str) -> None:
    """Is told before anything is started."""
    ended = shell("run", *arguments)
    assert ended.code == code, ended
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert not shell.suite.journal.exists()


def test_groups_that_would_share_a_variable(shell: Shell) -> None:
    """Their nodes could not be told apart."""
    group = {"count": 1, "instance_type": "i4i.large"}
    shell.suite.configure({"db-a": group, "db_a": group})
    ended = shell.run("true")
    assert ended.code == 2
    assert "groups default/db-a and default/db_a would both be CAPACITY_DB_A_HOSTS" in ended.err


def test_a_session_is_shared_with_pytest_and_kept(shell: Shell) -> None:
    """A command uses the nodes that pytest kept, and keeps them for the next; a failure here is one."""
    shell.keep()
    nodes = shell.instances()
    session = (f"--session={SESSION}", "--keep=5m")
    show = shell.python("import json, os; print(*json.load(open(os.environ['CAPACITY_FILE']))['topologies'])")
    ended = shell.run(*show, options=session)
    assert (ended.code, ended.out) == (0, "default\n"), ended
    assert f"session {SESSION}: joined" in ended.err
    assert f"pytest-capacity release {SESSION}" in ended.err
    assert shell.instances() == nodes
    assert len(shell.emulator.calls("RunInstances")) == 1
    assert shell.one()["state"] == "kept"


def test_a_session_with_other_nodes_is_refused_and_stays(shell: Shell) -> None:
    """Both values are shown; what is kept is kept, unless the user wants it built anew."""
    shell.keep()
    nodes = shell.instances()
    shell.suite.configure({"db": {"count": 1, "instance_type": "i4i.large"}})
    ended = shell.run("touch", "started", options=(f"--session={SESSION}",))
    assert ended.code == 3, ended
    assert f"session '{SESSION}' has other nodes than this process asks for" in ended.err
    assert shell.instances() == nodes
    assert shell.one()["state"] == "kept"
    rebuilt = shell.run(*shell.python("pass"), options=(f"--session={SESSION}", "--rebuild"))
    assert rebuilt.code == 0, rebuilt
    assert shell.instances() == []
    shell.suite.nothing_left()


def test_the_built_in_emulator(shell: Shell) -> None:
    """With a scenario: no cloud, no credentials."""
    scenario = shell.suite.write("weather.yaml", "stock: {us-east-1a: {'*': 0}}\n")
    command = (sys.executable, "-c", "import json, os; print(json.load(open(os.environ['CAPACITY_FILE']))['emulated'])")
    ended = shell("run", f"--emulator={scenario}", "--", *command)
    assert (ended.code, ended.out) == (0, "True\n"), ended
    assert "EMULATED" in ended.err
    assert "us-east-1b: placed" in ended.err
    shell.suite.nothing_left()
