"""testinfra's modules on a node."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_capacity.remote.machine import Machine
from tests.remote.server import Server


def test_modules(machine: Machine, server: Server) -> None:
    """testinfra's modules work over the one connection."""
    (server.home / "conf").write_text("grün\n", encoding="utf-8")
    host = machine.host
    assert host.file("conf").is_file
    assert host.file("conf").content_string == "grün\n"
    assert host.file("conf").contains("gr")
    assert not host.file("missing").exists
    assert host.system_info.type == "linux"
    assert host.user("root").uid == 0
    assert host.check_output("printf '%%s' %s", "a b") == "a b"
    assert host.exists("sh")
    assert server.logins == 1


def test_a_failure_is_a_result(machine: Machine) -> None:
    """A failing command is testinfra's result, not an error."""
    result = machine.host.run("echo no >&2; exit 3")
    assert (result.rc, result.stderr, result.failed) == (3, "no\n", True)


def test_sudo(machine: Machine, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """testinfra's sudo applies wherever in its block the host is used."""
    monkeypatch.setenv("PATH", f"{server.home}:{os.environ['PATH']}")  # The commands' too.
    sudo = server.home / "sudo"
    sudo.write_text('#!/bin/sh\n[ "$1" = -u ] && SUDO=$2 && shift 2\n: ${SUDO:=root}\nexport SUDO\nexec "$@"\n')
    sudo.chmod(0o755)
    host = machine.host
    assert host.check_output("echo $SUDO") == ""
    with host.sudo():
        assert machine.host.check_output("echo $SUDO") == "root"
        with host.sudo("db"):
            assert machine.host.check_output("echo $SUDO") == "db"
    assert host.check_output("echo $SUDO") == ""


def test_each_thread_has_its_own(machine: Machine) -> None:
    """Each thread has its own host, so that sudo in one does not affect another."""
    mine = machine.host
    assert machine.host is mine
    assert Machine.of(machine).host is mine
    with ThreadPoolExecutor(1) as threads, mine.sudo():
        theirs = threads.submit(lambda: machine.host).result()
        assert theirs is not mine
        assert theirs.backend.get_command("id") == "id"


def test_bytes(machine: Machine, server: Server) -> None:
    """Outputs are bytes as the node sent them."""
    (server.home / "binary").write_bytes(b"\0\xff")
    assert machine.host.file("binary").content == b"\0\xff"
