"""`backend: static`: a suite uses machines of its own as it does those of a cloud, and they are there afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pytest_capacity.remote.keys import make_key_pair
from tests.plugin.conftest import Run
from tests.remote.server import Server

SUITE = """
    import pytest

    def test_commands(capacity):
        assert [node.name for node in capacity.nodes("db")] == ["db-0", "big"]
        assert {node.run("cat whose").stdout for node in capacity.nodes("db")} == {"one", "two"}
        assert capacity.node("db").host.file("whose").exists
        with pytest.raises(ValueError, match="cannot contain NUL"):
            capacity.node("db").run("echo", env={"WORD": "a\\0b"})
        assert "Host big db-1" in capacity.ssh_config()
        assert set(capacity.inventory()["all"]["children"]) == {"db"}

    @pytest.mark.capacity(group="db")
    @pytest.mark.parametrize("number", range(4))
    def test_checkouts(capacity_node, number):
        capacity_node.run("mkdir taken && sleep 0.2 && rmdir taken")
"""
FAILS = """
    def test_fails(capacity):
        capacity.node("db").run("exit 3")
"""


@pytest.fixture(name="config")
def _config(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of two machines that this user may log in to, and knows."""
    home = pytester.path / "me"
    (home / ".ssh").mkdir(parents=True)
    public = make_key_pair(home / ".ssh" / "id_ed25519")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with ExitStack() as stack:
        hosts, known = [], ""
        for whose, extra in (("one", ""), ("two", ", name: big, user: admin")):
            place = pytester.path / whose
            place.mkdir()
            (place / "whose").write_text(whose)
            server = stack.enter_context(Server(place, public))
            hosts.append(f"{{address: 127.0.0.1, port: {server.port}{extra}}}")
            known += f"[127.0.0.1]:{server.port} {server.host_key.export_public_key().decode()}"
        (home / ".ssh" / "known_hosts").write_text(known)
        yield f"backend: static\nproject: tests\ngroups: {{db: {{hosts: [{', '.join(hosts)}], ready: ssh}}}}\n"


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_they_are_used_like_any(pytester: pytest.Pytester, run: Run, config: str, workers: str) -> None:
    """Commands, checkouts that are not shared, testinfra, and what other programs need."""
    pytester.makepyfile(SUITE)
    result = run(workers, config=config)
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["receipt: 0 things*"])


def test_a_failure_names_the_machine(pytester: pytest.Pytester, run: Run, config: str) -> None:
    """And how to look by hand, since it stays."""
    pytester.makepyfile(FAILS)
    result = run(config=config)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*db-0 (group db, host-127.0.0.1-*`exit 3` ended with 3*", "*look by hand: ssh -p *"])


def test_one_that_is_not_known_is_refused(pytester: pytest.Pytester, run: Run, config: str) -> None:
    """Before any test gets it, with the way to make it known; the user's file is left alone."""
    pytester.makepyfile(SUITE)
    known = Path(pytester.path / "me/.ssh/known_hosts")
    known.write_text("")
    result = run("-k", "test_commands", config=config)
    result.assert_outcomes(errors=1)
    result = run("-k", "test_commands", config=config.replace("ready: ssh", "ready: running"))
    result.assert_outcomes(failed=1)
    assert "connection.py" not in result.stdout.str()  # The line of the test that asked, and none of ours.
    result.stdout.fnmatch_lines(["*is not in ~/.ssh/known_hosts, so it is not used*ssh-keyscan -p *"])
    assert known.read_text() == ""


def test_a_session_keeps_them(pytester: pytest.Pytester, run: Run, config: str) -> None:
    """The next run of the same session has the same checkouts, and lets them go."""
    pytester.makepyfile(SUITE)
    run("--capacity-keep", "10m", config=config).stdout.fnmatch_lines(["session tests: 2 nodes kept until *"])
    again = run("--capacity-session", "tests", config=config)
    again.assert_outcomes(passed=5)
    again.stdout.fnmatch_lines(["receipt: 0 things*"])
