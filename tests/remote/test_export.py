"""The same nodes for other programs."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from pytest_capacity.errors import NodeError
from pytest_capacity.model import Access, Node
from pytest_capacity.remote.export import inventory, inventory_yaml, ssh_command, ssh_config
from pytest_capacity.remote.machine import Machine
from tests.remote.server import Server

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's client")

ACCESS = Access(address="10.0.0.1", user="ec2-user", key="/k/key", known_hosts="/k/known_hosts")


def node(number: int = 0, group: str = "db", *, access: Access | None = ACCESS, name: str | None = None) -> Node:
    """One of ``group``."""
    return Node(
        id=f"i-{group}{number}",
        name=name or f"{group}-{number}",
        group=group,
        region="r",
        zone="z",
        market="spot",
        instance_type="t",
        access=access,
    )


def ssh(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it without a terminal."""
    command = [str(one) for one in arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder whose name is not easy to quote."""
    folder = tmp_path / 'it\'s 50% "done" \\ #1'
    folder.mkdir()
    return folder


def test_a_host_for_each_node() -> None:
    """A node is a host by its name and, where that differs, as GROUP-N."""
    nodes = [node(), node(1, name="big"), replace(node(0, "loader"), access=replace(ACCESS, port=2222, key=None))]
    assert ssh_config(nodes) == (
        "Host db-0\n    HostName 10.0.0.1\n    Port 22\n    User ec2-user\n"
        "    IdentityFile /k/key\n    IdentitiesOnly yes\n"
        "    UserKnownHostsFile /k/known_hosts\n    StrictHostKeyChecking accept-new\n    HostKeyAlias i-db0\n"
        "\n"
        "Host big db-1\n    HostName 10.0.0.1\n    Port 22\n    User ec2-user\n"
        "    IdentityFile /k/key\n    IdentitiesOnly yes\n"
        "    UserKnownHostsFile /k/known_hosts\n    StrictHostKeyChecking accept-new\n    HostKeyAlias i-db1\n"
        "\n"
        "Host loader-0\n    HostName 10.0.0.1\n    Port 2222\n    User ec2-user\n"
        "    UserKnownHostsFile /k/known_hosts\n    StrictHostKeyChecking accept-new\n    HostKeyAlias i-loader0\n"
    )


def test_a_name_is_never_two_nodes() -> None:
    """A node's name has precedence over the GROUP-N of another node."""
    config = ssh_config([node(0, name="db-1"), node(1, name="db-0")])
    assert [line for line in config.splitlines() if line.startswith("Host ")] == ["Host db-1", "Host db-0"]


def test_machines_of_the_users_own_are_left_to_their_ssh() -> None:
    """For the user's machines no key and no file of the run is written, so that the user's configuration counts."""
    own = node(access=Access(address="db.example.com", user="me"))
    assert ssh_config([own]) == "Host db-0\n    HostName db.example.com\n    Port 22\n    User me\n"
    assert ssh_command(own, ["uptime"]) == ["ssh", "-p", "22", "me@db.example.com", "uptime"]


@needs_ssh
def test_the_real_ssh_gets_in(server: Server, odd: Path) -> None:
    """OpenSSH connects by file and by command line, from a folder with an odd name, with the run's host keys."""
    shutil.move(odd.parent / "key", odd / "key")
    there = server.node(odd)
    config = odd / "config"
    config.write_text(ssh_config([there]))
    assert ssh("ssh", "-F", config, "-o", "BatchMode=yes", "db-0", "echo in").stdout == "in\n"
    assert Machine.of(there).run("true").ok
    assert len((odd / "known_hosts").read_text().splitlines()) == 1
    ended = ssh(*ssh_command(there, ["-o", "BatchMode=yes", "echo in; exit 3"]))
    assert (ended.stdout, ended.returncode) == ("in\n", 3)


@needs_ssh
def test_the_real_ssh_refuses_a_changed_key(server: Server, tmp_path: Path, public_key: str) -> None:
    """OpenSSH reads the host keys that the run wrote, and refuses a changed one."""
    there = server.node(tmp_path)
    Machine.of(there).run("true")
    with Server(server.home, public_key) as other:
        elsewhere = replace(there, access=other.node(tmp_path).access)
        ended = ssh(*ssh_command(elsewhere, ["-o", "BatchMode=yes", "true"]))
    assert ended.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in ended.stderr


@needs_ssh
def test_the_real_ssh_gets_through_a_bastion(server: Server, odd: Path, public_key: str) -> None:
    """OpenSSH connects through a bastion with the run's key from a folder with an odd name."""
    shutil.move(odd.parent / "key", odd / "key")
    with Server(server.home, public_key) as bastion:
        there = server.node(odd, bastion=f"jump@127.0.0.1:{bastion.port}")
        config = odd / "config"
        config.write_text(ssh_config([there]))
        ended = ssh("ssh", "-F", config, "-o", "BatchMode=yes", "db-0", "echo in")
        assert ended.stdout == "in\n", ended.stderr
        ended = ssh(*ssh_command(there, ["-o", "BatchMode=yes", "echo in"]))
        assert ended.stdout == "in\n", ended.stderr
        assert (bastion.logins, server.logins) == (2, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(ACCESS, user="a\n    ProxyCommand touch x"),
        replace(ACCESS, user="-oProxyCommand=x"),
        replace(ACCESS, user="a b"),
        replace(ACCESS, address="-oProxyCommand=x"),
        replace(ACCESS, address="a b"),
        replace(ACCESS, address="a\nHost *"),
        replace(ACCESS, key="/k\n    ProxyCommand x"),
        replace(ACCESS, key="/${HOME}/key"),
        replace(ACCESS, known_hosts="/k\r"),
        replace(ACCESS, bastion="a;b c@host"),
        replace(ACCESS, bastion="-oProxyCommand=x"),
    ],
)
def test_nothing_slips_into_a_configuration(wrong: Access) -> None:
    """A value that could be another option or a command is refused in each form."""
    for form in (lambda: ssh_config([node(access=wrong)]), lambda: ssh_command(node(access=wrong))):
        with pytest.raises(NodeError):
            form()
    with pytest.raises(NodeError):
        inventory([node(access=wrong)])


@pytest.mark.parametrize("name", ["a b", "*", "a\nHost *", "!x", "-x", ""])
def test_names_that_ssh_would_read_otherwise(name: str) -> None:
    """A name with a pattern or a blank is refused."""
    with pytest.raises(NodeError, match="cannot be the name"):
        ssh_config([replace(node(), name=name)])


def test_a_run_without_ssh() -> None:
    """A node without SSH is an error that says so."""
    for form in (ssh_config, inventory):
        with pytest.raises(NodeError, match="Add `ssh: true`"):
            form([node(access=None)])


def test_an_inventory() -> None:
    """The inventory has the form of Ansible's YAML files, and the same nodes make the same text."""
    nodes = [node(), node(1), node(0, "all")]
    read = yaml.safe_load(inventory_yaml(nodes))
    assert read == inventory(nodes)
    assert list(read["all"]["children"]) == ["db", "group_all"]
    assert read["all"]["children"]["db"]["hosts"]["db-1"] == {
        "ansible_host": "10.0.0.1",
        "ansible_port": 22,
        "ansible_user": "ec2-user",
        "ansible_ssh_private_key_file": "/k/key",
        "ansible_ssh_common_args": "-o IdentitiesOnly=yes -o UserKnownHostsFile=/k/known_hosts "
        "-o StrictHostKeyChecking=accept-new -o HostKeyAlias=i-db1",
    }
    assert inventory_yaml(nodes) == inventory_yaml(list(nodes))


@needs_ssh
def test_an_inventory_leads_there(server: Server, tmp_path: Path, public_key: str) -> None:
    """The arguments in the inventory work as Ansible splits them, through a bastion."""
    with Server(server.home, public_key) as bastion:
        nodes = [server.node(tmp_path, bastion=f"127.0.0.1:{bastion.port}")]
        told = inventory(nodes)["all"]["children"]["db"]["hosts"]["db-0"]
        ended = ssh(
            "ssh",
            *shlex.split(told["ansible_ssh_common_args"]),
            *("-o", f'IdentityFile="{told["ansible_ssh_private_key_file"]}"', "-o", "BatchMode=yes"),
            *("-o", f"Port={told['ansible_port']}", "-o", f'User="{told["ansible_user"]}"'),
            *(told["ansible_host"], "echo in"),
        )
    assert ended.stdout == "in\n", ended.stderr


def test_templates_are_refused() -> None:
    """A value that Ansible would evaluate as a template is refused."""
    with pytest.raises(NodeError, match="template"):
        inventory([node(access=replace(ACCESS, key="/{{ lookup('pipe', 'id') }}"))])
