"""ssh: the real one, to real shells on emulated nodes."""

from __future__ import annotations

import shutil

import pytest

from tests.cli.conftest import SESSION, Shell

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh on this machine")


@pytest.fixture(name="reached")
def _reached(shell: Shell) -> Shell:
    """A kept session of two database nodes and a loader, with SSH."""
    groups = {
        "db": {"count": 2, "instance_type": "i4i.large"},
        "loader": {"count": 1, "instance_type": "c6i.xlarge"},
    }
    shell.suite.configure(groups, ssh={}, aws={"image": {"us-east-1": "ami-12c6146b"}})
    shell.keep()
    return shell


def test_a_command_runs_on_the_node_that_is_named(reached: Shell) -> None:
    """With its own exit code and output; each node is another one."""
    for node, text in (("db/0", "first"), ("db/1", "second"), ("default/loader/0", "third"), ("loader", "more")):
        ended = reached("ssh", SESSION, node, "--", f"echo {text} >> it; cat it; exit 7")
        assert ended.code == 7, ended
        assert ended.out == {"more": "third\nmore\n"}.get(text, f"{text}\n")


@pytest.mark.parametrize(
    ("node", "words", "listed"),
    [
        ((), "has several nodes", ("db/0", "db/1", "loader/0")),
        (("db",), "'db' may be any of 2 nodes", ("db/0", "db/1")),
        (("db/2",), "has no node 'db/2'", ("db/0", "db/1", "loader/0")),
        (("wide/db/0",), "has no node 'wide/db/0'", ("db/0", "db/1", "loader/0")),
    ],
    ids=["none", "group", "number", "topology"],
)
def test_a_node_that_is_not_said_clearly(
    reached: Shell, node: tuple[str, ...], words: str, listed: tuple[str, ...]
) -> None:
    """Those that may be meant are listed, as they are to be written."""
    ended = reached("ssh", SESSION, *node)
    assert ended.code == 2
    assert words in ended.err
    assert tuple(line.strip() for line in ended.err.splitlines()[1:]) == listed


def test_nodes_are_reached_though_their_keeper_died(reached: Shell) -> None:
    """That is when one wants to look at them."""
    reached.kill_keepers()
    ended = reached("ssh", SESSION, "db/0", "--", "echo there")
    assert (ended.code, ended.out) == (0, "there\n"), ended
    assert reached("release", SESSION).code == 0


def test_a_run_without_ssh_says_what_to_add(shell: Shell) -> None:
    """No key was made for it, so nothing else can be done."""
    shell.suite.configure({"db": {"count": 1, "instance_type": "i4i.large"}})
    shell.keep()
    ended = shell("ssh", SESSION)
    assert ended.code == 1
    assert "Add `ssh: {}`" in ended.err
