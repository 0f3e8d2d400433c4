"""What bears our stamp, in every region: listed whole, and nothing else with it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_capacity.model import Held, Unread
from tests.backends.aws.account import Account, listed, now_order, of_kind, one_of_each, rounds, stranger
from tests.backends.aws.orders import REGION, RUN, ZONE


def test_an_inventory_lists_our_run_and_nothing_else(clustered: Account) -> None:
    """Not another run of ours, not a stranger's thing, not what is over."""
    held = clustered.make(now_order(clustered))
    other = Account(clustered.emulator, replace(clustered.request, run="run-2"))
    other.make(now_order(other))
    over = clustered.make(now_order(clustered, attempt=2))
    for kind in ("node", "reservation"):
        clustered.backend.release(of_kind(over, kind))
    found = listed(clustered)
    kept = {one.id for one in [*held, *of_kind(over, "placement-group")]}
    assert {one.id for one in found} == kept
    assert {one.subject for one in found} >= {one.subject for one in held}
    zones = {one.kind: one.zone for one in found}
    assert zones == {"node": ZONE, "reservation": ZONE, "placement-group": ZONE}


def test_an_inventory_asks_all_regions_and_kinds_at_once(account: Account) -> None:
    """Three reads a region, one round."""
    regions = ("us-east-1", "us-west-2", "eu-west-1")
    listed(account, *regions)
    account.emulator.reset(latency_ms=1000)
    listed(account, *regions)
    calls = account.emulator.calls()
    assert sorted({(call["region"], call["operation"]) for call in calls}) == sorted(
        (region, operation)
        for region in regions
        for operation in ("DescribeCapacityReservations", "DescribeInstances", "DescribePlacementGroups")
    )
    assert (len(calls), rounds(calls)) == (9, 1)


def test_an_inventory_says_what_it_could_not_read(account: Account) -> None:
    """An unread part is not an empty one; the rest is listed."""
    account.make(now_order(account))
    fault = {"operation": "DescribeInstances", "region": REGION, "error": "UnauthorizedOperation"}
    account.emulator.weather(faults=[fault])
    found = list(account.backend.inventory(RUN, [REGION]))
    unread = [one for one in found if isinstance(one, Unread)]
    assert [(one.region, one.kind) for one in unread] == [(REGION, "node")]
    assert unread[0].why.startswith("UnauthorizedOperation: ")
    assert {one.kind for one in found if isinstance(one, Held)} == {"reservation"}


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("pytest-capacity:project", "another"),
        ("pytest-capacity:project", ""),
        ("pytest-capacity:piece", ""),
        ("pytest-capacity:deadline", "some day"),
    ],
)
def test_half_a_stamp_is_reported_and_never_released(account: Account, tag: str, value: str) -> None:
    """It comes without a subject, and the words say what is wrong with it."""
    _, node = one_of_each(account)
    held = account.backend.create(node)[0]
    stranger(account.emulator).create_tags(Resources=[held.id], Tags=[{"Key": tag, "Value": value}])
    (found,) = listed(account)
    assert (found.id, found.subject) == (held.id, "")
    assert "whole stamp" in found.problem
    with pytest.raises(ValueError, match=held.id):
        account.backend.release([found])


def test_an_inventory_of_no_region_is_empty(account: Account) -> None:
    """And asks nothing."""
    assert list(account.backend.inventory(RUN, [])) == []
    assert account.emulator.calls() == []
