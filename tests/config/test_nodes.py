"""What a group says of its nodes: when they are ready, what they are told at the first boot, which they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_capacity.backends.aws.provider import MOST_BYTES, OUR_BYTES
from pytest_capacity.model import Host, NodeGroup, Ssh, Topology
from tests.config.files import IMAGE, Loader, aws, db, static, with_


@pytest.mark.parametrize(
    ("ready", "reads"),
    [
        ("running", "running"),
        ("ssh", "ssh"),
        ("cloud-init", "cloud-init"),
        ("tcp:09042", "tcp:9042"),
        ("nodetool status", "nodetool status"),
        ("/usr/bin/running", "/usr/bin/running"),
        ("true", "true"),
        ("test -e a &&\ntest -e b\n", "test -e a &&\ntest -e b"),
    ],
)
def test_a_group_says_when_it_is_ready(loading: Loader, ready: str, reads: str) -> None:
    """A word, a port, or any command."""
    group = loading(db(ready=ready, ready_timeout="2m")).topologies["default"].group("db")
    assert (group.ready, group.ready_timeout_s) == (reads, 120)


def test_readiness_by_default(loading: Loader) -> None:
    """Running, and five minutes for it, or as long as the run lasts."""
    group = loading(db()).topologies["default"].group("db")
    assert (group.ready, group.ready_timeout_s, group.user_data, group.hosts) == ("running", 300, None, ())
    assert loading({**db(), "duration": "2m"}).topologies["default"].group("db").ready_timeout_s == 120


@pytest.mark.parametrize(
    ("values", "where", "remedy"),
    [
        (db(ready="runing"), "groups.db.ready: 'runing' is not one of running, ssh", "Did you mean running?"),
        (db(ready="cloud_init"), "groups.db.ready: 'cloud_init' is not one of", "Did you mean cloud-init?"),
        (db(ready="tcp:"), "groups.db.ready: 'tcp:' names no port", "tcp:9042"),
        (db(ready=f"tcp:{'9' * 5000}"), "groups.db.ready: 'tcp:9999", "tcp:9042"),
        (db(ready="tcp:65536"), "groups.db.ready: 'tcp:65536' names no port", "tcp:9042"),
        (db(ready=True), "groups.db.ready: True is not a text", "Quote it"),
        (db(ready=" "), "groups.db.ready: is empty", "remove the key"),
        (db(ready="a\0b"), "groups.db.ready: holds a NUL", "shell"),
        (db(ready_timeout="soon"), "groups.db.ready_timeout: 'soon' is not a duration", "90m"),
        (db(ready_timeout=1.5), "groups.db.ready_timeout: 1.5 is not a duration", "90m"),
        (db(ready_timeout="0s"), "groups.db.ready_timeout: '0s' is no time at all", "90m"),
        (db(ready_timeout="2h"), "groups.db.ready_timeout: '2h' is too long: nodes cannot be waited for", "shorter"),
        (db(hosts=["10.0.0.1"]), "groups.db.hosts: machines of your own are no cloud's", "backend: static"),
        (db(user_data=""), "groups.db.user_data: is empty", "{file: PATH}"),
        (db(user_data=7), "groups.db.user_data: is neither a text nor {file: PATH}", "{file: user-data.sh}"),
        (db(user_data="echo hunter2"), "groups.db.user_data: begins with nothing that cloud-init reads", "#cloud-c"),
        (db(user_data={}), "groups.db.user_data: names no file", "{file: user-data.sh}"),
        (db(user_data={"file": "none.sh"}), "groups.db.user_data.file: 'none.sh' cannot be read: No such", "relative"),
        (db(user_data={"file": "."}), "groups.db.user_data.file: '.' cannot be read: Is a directory", "relative"),
        (db(user_data={"file": "~nobody-of-that-name/x"}), "groups.db.user_data.file: '~nobody", "relative"),
        (
            db(user_data={"fil": "x", "file": "a.sh"}),
            "groups.db.user_data.fil: is not a known key",
            "Did you mean file?",
        ),
        (db(user_data={"file": "raw"}), "groups.db.user_data.file: 'raw' is not UTF-8 text", "uncompressed"),
        (db(user_data={"file": "empty"}), "groups.db.user_data.file: is empty", "remove the key"),
    ],
)
def test_each_fault_names_file_key_and_remedy(
    loading: Loader, tmp_path: Path, values: dict[str, Any], where: str, remedy: str
) -> None:
    """One bad value is one line, and user data, which may hold secrets, is not quoted."""
    (tmp_path / "a.sh").write_text("#!/bin/sh\n")
    (tmp_path / "raw").write_bytes(b"\x1f\x8b\xff")
    (tmp_path / "empty").touch()
    assert "hunter2" not in loading.refuses(values, where, remedy)


def test_user_data_is_as_it_was_written(loading: Loader, tmp_path: Path) -> None:
    """In the file, or in one beside it, to the last line break."""
    text = "#cloud-config\nruncmd: [[echo, grüße]]\n\n"
    (tmp_path / "data.yaml").write_text(text, encoding="utf-8")
    for value in (text, {"file": "data.yaml"}, {"file": str(tmp_path / "data.yaml")}):
        assert loading(db(user_data=value)).topologies["default"].group("db").user_data == text


def test_user_data_has_room_for_our_timer(loading: Loader) -> None:
    """EC2 takes 16 KiB in all; without the timer all of it is the user's, in any form."""
    script = "#!/bin/sh\n"
    most = script + "#" * (MOST_BYTES - OUR_BYTES - len(script))
    assert loading(db(user_data=most)).topologies["default"].group("db").user_data == most
    (fault,) = loading.faults(db(user_data=most + "#"))
    assert f"groups.db.user_data: takes {len(most) + 1} bytes; EC2 takes 16384, of which 2048 are for" in fault
    without = aws(self_terminate=False)
    ignition = "{" + "x" * (MOST_BYTES - 1)
    request = loading({**without, "groups": db(user_data=ignition)["groups"]})
    assert request.topologies["default"].group("db").user_data == ignition
    (fault,) = loading.faults({**without, "groups": db(user_data=ignition + "x")["groups"]})
    assert "takes 16385 bytes; EC2 takes 16384. Let it fetch" in fault


def test_what_cannot_travel_as_it_is_is_counted_in_base64(loading: Loader) -> None:
    """One letter that is not ASCII costs a third of the room."""
    (fault,) = loading.faults(db(user_data="#!/bin/sh\n# ü" + "#" * 11_000))
    assert "user_data: takes 149" in fault


def test_machines_of_ones_own(loading: Loader) -> None:
    """Addresses, or addresses with what is special about them; the count is theirs, and nothing is of a cloud."""
    big = {"address": "db9.example.com", "name": "big", "user": "admin", "port": 2222}
    groups = {
        "db": {"hosts": ["10.0.0.1", big, "FE80::0001"], "count": 3, "instance_type": "a big one", "ready": "ssh"},
        "loader": {"hosts": "10.0.0.9", "reserve": False, "ready_timeout": "10s"},
    }
    request = loading(static(groups=groups, reserve=False), environ={"AWS_REGION": "eu-west-1"})
    assert (request.backend, request.regions, request.zones, request.reserve) == ("static", ("static",), (), False)
    assert (request.ssh, request.market) == (Ssh(), "on-demand")
    group = request.topologies["default"].group("db")
    own = Host(address="db9.example.com", name="big", user="admin", port=2222)
    assert group.hosts == (Host(address="10.0.0.1"), own, Host(address="fe80::1"))
    assert (group.count, group.instance_type, group.ready, group.reserve) == (3, "a big one", "ssh", False)
    loader = request.topologies["default"].group("loader")
    assert (loader.count, loader.instance_type, loader.ready_timeout_s) == (1, "", 10)


def own(**changes: Any) -> dict[str, Any]:
    """Two machines of one's own, with their group changed."""
    return static(groups={"db": {"hosts": ["10.0.0.1", "10.0.0.2"], **changes}})


@pytest.mark.parametrize(
    ("values", "where", "remedy"),
    [
        (own(hosts=[]), "groups.db.hosts: no machines are named", "10.0.0.1"),
        (static(groups={"db": {}}), "groups.db.hosts: no machines are named", "10.0.0.1"),
        (static(groups={}), "groups: is empty", "hosts: [10.0.0.1"),
        (own(hosts=7), "groups.db.hosts: 7 is not a list", "10.0.0.1"),
        (own(hosts=[7, "10.0.0.1"]), "groups.db.hosts[0]: 7 is not a text", "Quote"),
        (
            own(hosts=["-oProxyCommand=x", "a"]),
            "groups.db.hosts[0]: '-oProxyCommand=x' is neither",
            "keys of their own",
        ),
        (own(hosts=["admin@10.0.0.1", "a"]), "groups.db.hosts[0]: 'admin@10.0.0.1' is neither", "keys of their own"),
        (own(hosts=["10.0.0.1:22", "a"]), "groups.db.hosts[0]: '10.0.0.1:22' is neither", "keys of their own"),
        (own(hosts=[{"name": "a"}, "b"]), "groups.db.hosts[0]: has no `address`", "10.0.0.1"),
        (own(hosts=[{"address": "a", "prot": 1}]), "groups.db.hosts[0].prot: is not a known key", "Did you mean port?"),
        (own(hosts=[{"address": "a", "port": 0}]), "groups.db.hosts[0].port: 0 is not a port", "65535"),
        (own(hosts=[{"address": "a", "port": "22"}]), "groups.db.hosts[0].port: '22' is not a port", "whole number"),
        (own(hosts=[{"address": "a", "user": "-l"}]), "groups.db.hosts[0].user: '-l' does not have", "admin"),
        (own(hosts=[{"address": "a", "name": "a b"}]), "groups.db.hosts[0].name: 'a b' does not have", "letters"),
        (own(hosts=["a", "a"]), "groups: the host 'a' is twice in default/db", "once"),
        (own(hosts=[{"address": "a", "name": "db-1"}, "b"]), "groups: two nodes are called 'db-1'", "Rename"),
        (own(count=3), "groups.db.count: is 3, and there are 2 hosts", "Remove"),
        (own(count=0), "groups.db.count: 0 is not a number of nodes", "whole number"),
        (own(reserve=True), "groups.db.reserve: is true, and these machines are your own", "Remove"),
        (own(placement_group=True), "groups.db.placement_group: is true, and these", "Remove"),
        (own(market="spot"), "groups.db.market: is there, and these machines are your own", "Remove"),
        (own(image=IMAGE), "groups.db.image: is there, and these machines are your own", "Remove"),
        (own(user_data="#!/bin/sh"), "groups.db.user_data: is there, and these machines are your own", "Remove"),
        (own(aws={}), "groups.db.aws: is there, and these machines are your own", "Remove"),
        (own(host="x"), "groups.db.host: is not a known key", "Did you mean hosts?"),
        (own(ready="shh"), "groups.db.ready: 'shh' is not one of", "Did you mean ssh?"),
        (static(regions=["us-east-1"]), "regions: is given, and `backend: static` has no cloud", "Leave it out"),
        (static(zones=["a"]), "zones: is given, and `backend: static` has no cloud", "Leave it out"),
        (static(market="spot"), "market: is given, and `backend: static` has no cloud", "Leave it out"),
        (static(use_reservations=["cr-11111111"]), "use_reservations: is given, and `backend: static`", "Leave it out"),
        (
            static(endpoint="https://x.example"),
            "endpoint: is given, and `backend: static` has no cloud",
            "Leave it out",
        ),
        (static(prices={"i4i.large": 1}), "prices: is given, and `backend: static` has no cloud", "Leave it out"),
        (static(aws={"image": IMAGE}), "aws: is given, and `backend: static` has no cloud", "Leave it out"),
        (static(reserve=True), "reserve: is true, and machines of your own need no reservation", "Leave it out"),
    ],
)
def test_each_fault_of_ones_own_machines(loading: Loader, values: dict[str, Any], where: str, remedy: str) -> None:
    """What only a cloud could do is refused rather than left undone; a machine is named once."""
    loading.refuses(values, where, remedy)


def test_a_machine_is_in_one_group_of_one_topology(loading: Loader) -> None:
    """Two tests at once would each take it for their own; another port is another machine."""
    groups = {"db": {"hosts": ["a", {"address": "a", "port": 2222}]}}
    both = {"big": {"groups": {"all": {"hosts": ["a", {"address": "a", "port": 2223}]}}}}
    (fault,) = loading.faults(static(groups=groups, topologies=both))
    assert "the host 'a' is in big/all and in default/db" in fault


def test_structs_made_in_python_are_checked_alike(loading: Loader) -> None:
    """Every key of the file has its field, and a bad one names the hook."""
    good = NodeGroup(
        name="db",
        count=1,
        instance_type="i4i.large",
        ready="tcp:9042",
        ready_timeout_s=7.5,
        user_data="#!/bin/sh\n",
    )
    group = loading(with_(groups=None), topologies={"default": Topology((good,))}).topologies["default"].group("db")
    assert (group.ready, group.ready_timeout_s, group.user_data) == ("tcp:9042", 7.5, "#!/bin/sh\n")
    bad = NodeGroup(
        name="db",
        count=1,
        instance_type="i4i.large",
        ready="sssh",
        ready_timeout_s=-1,
        user_data="x",
        hosts=(Host(address="a"),),
    )
    faults = loading.faults(with_(groups=None), topologies={"default": Topology((bad,))})
    for key in ("ready: 'sssh'", "ready_timeout: '-1s'", "user_data: begins with nothing", "hosts: machines of your"):
        assert any(fault.startswith(f"pytest_capacity_topologies: default.db.{key}") for fault in faults), key


def test_hosts_made_in_python(loading: Loader) -> None:
    """The same group as the file's."""
    hosts = (Host(address="10.0.0.1", port=2222), Host(address="10.0.0.2"))
    made = {"default": Topology((NodeGroup(name="db", count=2, instance_type="", hosts=hosts),))}
    group = loading(static(groups=None), topologies=made).topologies["default"].group("db")
    assert (group.hosts, group.count) == (hosts, 2)
    odd = NodeGroup(name="db", count=1, instance_type="", hosts=({"address": "a b"},))  # type: ignore[arg-type]
    (fault,) = loading.faults(static(groups=None), topologies={"default": Topology((odd,))})
    assert fault.startswith("pytest_capacity_topologies: default.db.hosts[0].address: 'a b' is neither")
