"""What may differ between the processes of one session, and what may not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from pytest_capacity.backends.aws.settings import section_of
from pytest_capacity.keeper.joining import continued, differences, drift, read_request
from pytest_capacity.model import AXES, Fallback, NodeGroup, Request, Topology

DB = NodeGroup(name="db", count=3, instance_type="i4i.large")
STANDS = Request(
    backend="aws",
    run="run-1",
    project="tests",
    topologies={"default": Topology((DB,))},
    regions=("us-east-1",),
    duration_s=5400.0,
    timeout_s=900.0,
)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"colocate": "region"}, "colocate: zone; asked: region"),
        ({"on_preempt": "replace"}, "on_preempt: fail; asked: replace"),
        ({"fallback": Fallback(zones=False)}, "fallback.zones: true; asked: false"),
        ({"fallback": Fallback(order=AXES[::-1])}, "fallback.order: "),
        ({"topologies": {"default": Topology((replace(DB, alternatives=("i3.large",)),))}}, "default/db.alternatives"),
        (
            {"topologies": {"default": Topology((replace(DB, user_data="s3cret"),))}},
            "default/db.user_data: is another one",
        ),
    ],
)
def test_where_nodes_may_be_is_a_difference(changes: dict[str, Any], told: str) -> None:
    """Who asks for another ladder might have got other nodes; both values are told."""
    (found,) = differences(STANDS, replace(STANDS, **changes))
    assert found.startswith(told)


def test_patience_is_no_difference() -> None:
    """How long one goes on asking says nothing about nodes that stand; a keeper that adopts takes that of who asks."""
    asked = replace(STANDS, retry_until_s=1200.0, timeout_s=2100.0)
    assert (differences(STANDS, asked), drift(STANDS, asked)) == ([], [])
    assert (continued(STANDS, asked).retry_until_s, continued(STANDS, asked).timeout_s) == (1200.0, 2100.0)


def test_the_backends_settings_shape_nodes() -> None:
    """Those of its section, by their names in the file; not whose credentials are used."""
    one = replace(STANDS, settings={"image": {"us-east-1": "ami-1"}, "profile": "ci"})
    (found,) = differences(one, replace(one, settings={**one.settings, "public_ip": True}))
    assert found == "aws.public_ip: null; asked: true"
    asked = replace(one, settings={**one.settings, "profile": "mine"})
    assert differences(one, asked) == []
    assert continued(one, asked).settings == asked.settings


def test_the_account_of_a_run_stays() -> None:
    """A keeper that adopts a run goes on in the account to which the run was pinned, whichever process asks."""
    pinned = replace(STANDS, settings={"account": "111111111111", "profile": "ci"})
    other = replace(STANDS, settings={"account": "222222222222"})
    assert continued(pinned, other).settings == {"account": "111111111111"}
    assert continued(STANDS, other).settings == {}


def test_the_request_of_an_older_journal_is_read() -> None:
    """There the settings stood under the backend's name, each of them written out."""
    old = msgspec.to_builtins(STANDS)
    del old["settings"]
    old["aws"] = {
        "image": {"us-east-1": "ami-0123456789abcdef0", "eu-west-1": {"name": "mine-*", "owner": "self"}},
        "subnets": {},
        "subnet_name": None,
        "key_name": None,
        "security_groups": [],
        "platform": "auto",
        "tenancy": "default",
        "public_ip": True,
        "tags": {"team": "storage"},
        "self_terminate": True,
        "profile": None,
        "account": "123456789012",
    }
    read = read_request(old)
    assert read.settings == {
        "image": {"us-east-1": "ami-0123456789abcdef0", "eu-west-1": {"name": "mine-*"}},
        "public_ip": True,
        "tags": {"team": "storage"},
        "account": "123456789012",
    }
    assert replace(read, settings={}) == STANDS
    assert section_of(read).account == "123456789012"
    assert read_request(msgspec.to_builtins(read)) == read
