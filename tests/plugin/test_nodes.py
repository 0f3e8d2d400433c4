"""Tests use their nodes: commands, files, ports, testinfra, and what other programs need to reach them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.emulated import Emulator
from tests.plugin.conftest import CONFIG, Run
from tests.plugin.nodes import REACHED

USES_NODES = """
    import socket
    import pytest
    from pytest_capacity import CommandFailed, Node, NodeError

    def test_commands(capacity):
        one, other = capacity.nodes("db")
        assert isinstance(one, Node)
        one.run("echo mine > whose")
        assert one.run("cat whose").stdout == "mine\\n"
        with pytest.raises(CommandFailed, match="db-1.*cat whose.* ended with 1") as caught:
            other.run("cat whose")
        assert isinstance(caught.value, NodeError) and caught.value.result.exit_status == 1
        assert not other.run("cat whose", check=False).ok

    def test_files(capacity_nodes, tmp_path):
        (tmp_path / "conf").mkdir()
        (tmp_path / "conf" / "a").write_text("text")
        node = capacity_nodes["loader"][0]
        node.put(tmp_path / "conf", "there")
        node.run("cp there/a there/b")
        node.get("there", tmp_path / "back")
        assert (tmp_path / "back" / "b").read_text() == "text"

    @pytest.mark.capacity(group="db")
    def test_testinfra(capacity_node):
        capacity_node.run("printf 'listen 1\\n' > my.conf")
        file = capacity_node.host.file("my.conf")
        assert file.is_file and file.contains("listen")

    @pytest.mark.capacity(group="db", count=2)
    def test_tunnels(capacity_node):
        one, other = capacity_node
        port = one.access.port
        with other.tunnel(port) as tunnel, socket.create_connection(tunnel.address) as wire:
            assert wire.recv(4) == b"SSH-"
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_nodes_are_used_from_tests(pytester: pytest.Pytester, run_on: Run, cloud: Emulator, workers: str) -> None:
    """Commands, files, ports and testinfra work in a serial run and in workers, and nothing is left, no key either."""
    pytester.makepyfile(USES_NODES)
    run_on(workers, config=REACHED).assert_outcomes(passed=4)
    assert [call["status"] for call in cloud.calls("ImportKeyPair")] == [200]
    assert cloud.held() == []


def test_what_holds_an_output_is_named(pytester: pytest.Pytester, run_on: Run) -> None:
    """A test whose command left a process with its output in the background is told to redirect it, as on OpenSSH."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_capacity import CommandTimedOut

        def test_it(capacity):
            node = capacity.node("db")
            node.run("true")  # The timeout below is for the command, not for the first connection.
            with pytest.raises(CommandTimedOut, match="a background process still held its output") as caught:
                node.run("echo up; sleep 1000 & echo $! > left; exit 3", timeout=5)
            assert (caught.value.exit_status, caught.value.stdout) == (3, "up\\n")
            assert "`server >log 2>&1 &`" in str(caught.value)
            node.run("kill $(cat left)")  # It goes on, as on a real node.
        """
    )
    run_on(config=REACHED).assert_outcomes(passed=1)


def test_a_node_is_one_object_in_a_process(pytester: pytest.Pytester, run_on: Run) -> None:
    """However it is come by: the handle, the mapping, the loan; equal by value to what the keeper said."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.capacity(group="loader")
        def test_it(capacity, capacity_nodes, capacity_node):
            (one,) = capacity.nodes("loader")
            assert one is capacity.node("loader") is capacity.by_group["loader"][0]
            assert one is capacity_nodes["loader"][0] is capacity_node
            assert {one: 1}[capacity_node] == 1
            assert list(capacity_nodes) == ["db", "loader"] and len(capacity_nodes) == 2
            assert "db" in capacity_nodes and "x" not in capacity_nodes
            with pytest.raises(KeyError):
                capacity_nodes["x"]
        """
    )
    run_on().assert_outcomes(passed=1)


def test_ssh_is_loaded_with_its_first_use(pytester: pytest.Pytester, run_on: Run) -> None:
    """A run that only looks at its nodes does not import paramiko, nor what that is made of."""
    pytester.makepyfile(
        """
        import sys

        def test_before(capacity):
            assert capacity.ssh_config() and capacity.inventory()
            assert not {"paramiko", "cryptography"} & set(sys.modules)

        def test_after(capacity):
            capacity.node("db").run("true")
            assert "paramiko" in sys.modules
        """
    )
    run_on(config=REACHED).assert_outcomes(passed=2)


def test_other_programs_reach_the_nodes(pytester: pytest.Pytester, run_on: Run, tmp_path: Path) -> None:
    """The files for ssh and Ansible: for us alone, the same as what is returned, and ssh logs in with the one."""
    pytester.makepyfile(
        f"""
        import pathlib, shutil, stat, subprocess
        import pytest, yaml

        FOLDER = pathlib.Path({str(tmp_path)!r})

        def test_inventory(capacity):
            path = FOLDER / "hosts.yaml"
            path.write_text("older")
            path.chmod(0o644)
            with path.open() as reader:  # Of another worker, which reads the old one whole.
                inventory = capacity.inventory(path)
                assert reader.read() == "older"
            assert yaml.safe_load(path.read_text()) == inventory
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert set(inventory["all"]["children"]["db"]["hosts"]) == {{"db-0", "db-1"}}

        @pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh")
        def test_ssh(capacity):
            path = FOLDER / "ssh_config"
            assert capacity.ssh_config(path) == path.read_text()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            capacity.node("db", 1).run("echo it is me > here")
            said = subprocess.run(["ssh", "-F", path, "db-1", "cat here"], capture_output=True, timeout=60)
            assert said.stdout == b"it is me\\n", said
            assert list(FOLDER.glob(".*")) == []
        """
    )
    run_on(config=REACHED).assert_outcomes(passed=2)


def test_without_ssh_a_node_says_what_to_add(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """Every way to use it, and the files for others; no key pair is made."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_capacity import NodeError

        USES = {
            "run": lambda capacity: capacity.node().run("true"),
            "put": lambda capacity: capacity.node().put(__file__, "x"),
            "get": lambda capacity: capacity.node().get("x", "y"),
            "tunnel": lambda capacity: capacity.node().tunnel(1),
            "host": lambda capacity: capacity.node().host,
            "ssh_config": lambda capacity: capacity.ssh_config(),
            "inventory": lambda capacity: capacity.inventory(),
        }

        @pytest.mark.parametrize("use", USES)
        def test_it(capacity, use):
            with pytest.raises(NodeError, match=r"db-0.*[Aa]dd `ssh: "):
                USES[use](capacity)
        """
    )
    run_on().assert_outcomes(passed=7)
    assert cloud.calls("ImportKeyPair") == []


def test_a_group_is_used_once_it_is_ready(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """cloud-init takes two seconds longer than the machine; the first command of a test finds it done."""
    pytester.makepyfile(
        """
        def test_it(capacity):
            assert "done" in capacity.node("db").run("cloud-init status").stdout
        """
    )
    cloud.weather(cloud_init_s=2)
    ready = REACHED.replace("instance_type: i4i.large", "instance_type: i4i.large, ready: cloud-init")
    run_on(config=ready).assert_outcomes(passed=1)


def test_tests_may_freeze_time_and_forbid_sockets(pytester: pytest.Pytester, run_on: Run) -> None:
    """freezegun and pytest-socket stop neither a command nor a file."""
    pytester.makepyfile(
        """
        import freezegun, pytest, pytest_socket

        @pytest.mark.capacity(group="db")
        def test_it(capacity_node, tmp_path):
            pytest_socket.disable_socket()
            with freezegun.freeze_time("2020-01-01"):
                capacity_node.run("echo x > file", timeout=60)
                assert capacity_node.get("file", tmp_path).read_text() == "x\\n"
            pytest_socket.enable_socket()
        """
    )
    run_on(config=REACHED).assert_outcomes(passed=1)


def test_without_paramiko_the_run_says_what_to_install(
    pytester: pytest.Pytester, run_on: Run, monkeypatch: pytest.MonkeyPatch, cloud: Emulator
) -> None:
    """A usage error before anything is asked for, here and for the keeper's interpreter; none where ssh is not used."""
    pytester.makepyfile("def test_it(capacity): pass")
    # Import's finder, as it is in an environment without it.
    pytester.makepyfile(
        hides="""
        import importlib.util, sys
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == "paramiko" else find(name, *rest)
        """
    )
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=":")
    hidden = ("-p", "hides")
    result = run_on(*hidden, config=REACHED)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*something is not installed*", "*'ssh' needs the module 'paramiko'*[[]ssh[]]'*"])
    elsewhere = run_on(*hidden, f"--capacity-keeper-python={sys.executable}", config=REACHED)
    assert elsewhere.ret == pytest.ExitCode.USAGE_ERROR
    elsewhere.stderr.fnmatch_lines(["*something is not installed that tests need*", "*install *[[]ssh[]]'*"])
    assert cloud.calls("RunInstances") == []
    run_on(*hidden, config=CONFIG).assert_outcomes(passed=1)
