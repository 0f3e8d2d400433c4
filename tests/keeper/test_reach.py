"""Nodes that can be used: a key of the run's own, and the wait until they are ready, by real keepers and real SSH."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.errors import Refused
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.owner import Owner
from pytest_capacity.keeper.spawn import SpawnOptions
from pytest_capacity.model import Node, NodeGroup, Receipt, Ssh
from pytest_capacity.remote import connection
from pytest_capacity.remote.machine import Machine
from tests.emulated import Emulator
from tests.engine.runs import DB, LOADER, request


class Reaching:
    """Owners whose nodes are reached by SSH."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self._emulator = emulator
        self._folder = folder
        self.owners: list[Owner] = []
        self.events: list[protocol.Event] = []

    def owner(self, *groups: NodeGroup, **changes: Any) -> Owner:
        """One, started."""
        asked = {"run": self._folder.name, "journal": str(self._folder / "journal.sqlite"), "ssh": Ssh(), **changes}
        owner = Owner(request(self._emulator, *groups, **asked), SpawnOptions(), self.events.append)
        self.owners.append(owner)
        owner.start()
        return owner


@pytest.fixture(name="reaching")
def _reaching(emulator: Emulator, tmp_path: Path) -> Iterator[Reaching]:
    reaching = Reaching(emulator, tmp_path)
    yield reaching
    connection.close_all()
    for owner in reaching.owners:
        owner.close()


def nodes(owner: Owner) -> list[Node]:
    """Provision; all of them."""
    placed = owner.call(protocol.Ask(topology="default"), protocol.Ready).placed
    return [node for members in placed.nodes.values() for node in members]


def released(owner: Owner) -> Receipt:
    """Release."""
    receipt = owner.release()
    assert isinstance(receipt, Receipt)
    return receipt


def test_the_key_lives_as_long_as_the_run(reaching: Reaching, emulator: Emulator) -> None:
    """A private file while it runs; with the run, pair and files are gone."""
    owner = reaching.owner(replace(DB, count=1))
    (node,) = nodes(owner)
    assert node.access is not None
    assert node.access.key is not None
    assert node.access.known_hosts is not None
    key = Path(node.access.key)
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o077 == 0
    assert len(emulator.held("key-pair")) == 1
    assert Machine.of(node).run("echo $USER").stdout == "ec2-user\n"
    assert released(owner).clean
    assert emulator.held() == []
    owner.close()
    assert not key.exists()
    assert not Path(node.access.known_hosts).exists()


def test_the_private_key_is_in_no_journal_and_no_log(reaching: Reaching) -> None:
    """What the run writes down about itself would not let anybody in."""
    owner = reaching.owner(replace(DB, count=1))
    (node,) = nodes(owner)
    assert node.access is not None
    secret = Path(node.access.key or "").read_text().splitlines()[1]
    files = [Path(owner.log), *Path(str(owner.request.journal)).parent.glob("journal*")]
    assert len(files) > 1
    assert all(secret.encode() not in file.read_bytes() for file in files)


def test_no_key_where_nobody_asked_for_ssh(reaching: Reaching, emulator: Emulator) -> None:
    """One call less, and one permission less that the account must give."""
    owner = reaching.owner(replace(DB, count=1), ssh=None)
    assert [node.access for node in nodes(owner)] == [None]
    assert released(owner).clean
    assert emulator.calls("ImportKeyPair") + emulator.calls("DescribeKeyPairs") == []


def test_a_second_keeper_has_the_same_key(reaching: Reaching, emulator: Emulator) -> None:
    """Nodes that it adopts let in the key that they were made with."""
    owner = reaching.owner(replace(DB, count=1))
    before = nodes(owner)
    os.kill(owner.pid, signal.SIGKILL)
    assert nodes(owner) == before
    assert Machine.of(before[0]).run("true").ok
    assert released(owner).clean
    assert len(emulator.calls("ImportKeyPair")) == 1


@pytest.mark.parametrize("ready", ["ssh", "cloud-init", "test -d .", "tcp"])
def test_nodes_are_handed_over_when_they_are_ready(reaching: Reaching, emulator: Emulator, ready: str) -> None:
    """All are waited for at once; each says when it is."""
    emulator.weather(ssh_delay_s=0.5, cloud_init_s=8.0 if ready == "cloud-init" else 0.0)
    if ready == "tcp":
        ready = f"tcp:{emulator.url.rpartition(':')[2]}"  # A port of this machine, where emulated nodes are.
    owner = reaching.owner(replace(DB, count=2, ready=ready), replace(LOADER, ready=ready))
    assert all(node.access for node in nodes(owner))
    told = [event.data for event in reaching.events if event.kind == "node-ready"]
    assert sorted(one["name"] for one in told) == ["db-0", "db-1", "loader-0"]
    if ready == "cloud-init":
        assert all(one["seconds"] > 0.2 for one in told)
    assert released(owner).clean


def test_a_node_that_is_never_ready_ends_the_attempt(reaching: Reaching, emulator: Emulator) -> None:
    """The message has node, what was waited for, how long, and what it said last; nothing of it stays."""
    owner = reaching.owner(replace(DB, count=1), replace(LOADER, ready="echo half >&2; exit 3", ready_timeout_s=10.0))
    with pytest.raises(Refused, match=r"loader-0.*was not ready.*within 10 s.*half") as caught:
        nodes(owner)
    assert "db-0" not in str(caught.value)
    receipt = released(owner)
    assert receipt.clean
    assert receipt.attempts[-1].remedy.startswith("The nodes are released: to look at one, set `ready: running`")
    assert emulator.held() == []


def test_a_boot_that_failed_is_not_waited_for(reaching: Reaching, emulator: Emulator) -> None:
    """cloud-init says that it failed: another minute would not mend that."""
    group = replace(DB, count=1, ready="cloud-init", ready_timeout_s=300.0)
    owner = reaching.owner(replace(group, user_data="#!/bin/sh\n# emulator: cloud-init error\n"))
    with pytest.raises(Refused, match="cloud-init"):
        nodes(owner)
    assert released(owner).clean


def test_ctrl_c_ends_the_wait(reaching: Reaching) -> None:
    """Told to stop, a keeper that waits for a node is at its end at once."""
    owner = reaching.owner(replace(DB, count=1, ready="false", ready_timeout_s=300.0))

    def stop_once_it_waits(event: protocol.Event) -> None:
        reaching.events.append(event)
        if event.kind == "nodes-ready":
            owner.stop()

    owner._on_event = stop_once_it_waits
    with pytest.raises(Exception, match="is ending"):
        nodes(owner)
    assert released(owner).clean


def test_the_console_is_read_through_the_keeper(reaching: Reaching) -> None:
    """What the node wrote; of what is no node of ours, a refusal."""
    owner = reaching.owner(replace(DB, count=1))
    (node,) = nodes(owner)
    text = owner.call(protocol.ReadConsole(node=node.id), protocol.Console).text
    assert "BEGIN SSH HOST KEY FINGERPRINTS" in text
    with pytest.raises(Refused, match="is no node that run"):
        owner.call(protocol.ReadConsole(node="i-0123456789abcdef0"), protocol.Console)
    assert released(owner).clean
