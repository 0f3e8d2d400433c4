"""Tables: what was tried and what would be, on one screen."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_capacity.model import Attempt
from pytest_capacity.preview import Asking, LeftOut, Plan, PreviewRung, Remembered, TopologyPreview
from pytest_capacity.report import tables

DRY = "We currently do not have sufficient i4i.large capacity in the Availability Zone you requested (us-east-1a)."


def attempt(number: int, **parts: Any) -> Attempt:
    """An attempt that ran dry, changed by ``parts``."""
    return Attempt(
        **{
            "number": number,
            "topology": "default",
            "region": "us-east-1",
            "zone": "us-east-1a",
            "started": 0.0,
            "seconds": 0.25,
            "outcome": "no-capacity",
            "code": "InsufficientInstanceCapacity",
            "words": DRY,
            "market": "spot",
            "instance_type": "i4i.large",
            "kind": "spot-capacity",
            "remedy": "Add zones",
            **parts,
        }
    )


PLAIN: dict[str, Any] = {"kind": "", "code": "", "words": "\x1b[31mno\n::error::way", "remedy": ""}
PLACED: dict[str, Any] = {"outcome": "placed", "code": "", "words": "", "kind": "", "remedy": ""}


def test_an_attempt_says_where_what_why_and_how_long() -> None:
    """Long words of a cloud are cut, its escapes are gone, and what to change is said once for all attempts."""
    dry = f"spot                 i4i.large  spot-capacity  0.2 s  InsufficientInstanceCapacity: {DRY[:41]}…"
    told = [
        attempt(1),
        attempt(2, zone="us-east-1b", market="on-demand", reserved=True, **PLAIN),
        attempt(3, zone="1", region="westeurope", kind="quota", words="", code="Quota", remedy="Raise the quota"),
        attempt(4),
    ]
    assert list(tables.attempts(told)) == [
        "#  ZONE          MARKET     RESERVED  TYPE       OUTCOME        TIME   THE CLOUD SAID",
        f"1  us-east-1a    {dry}",
        "2  us-east-1b    on-demand  yes       i4i.large  no-capacity    0.2 s  no ::error::way",
        "3  westeurope/1  spot                 i4i.large  quota          0.2 s  Quota",
        f"4  us-east-1a    {dry}",
        "to change: Add zones",
        "to change: Raise the quota",
    ]


def test_what_stands_in_the_end_needs_no_change() -> None:
    """Only topologies without capacity have advice; their names are there where there are several."""
    told = [attempt(1), attempt(2, **PLACED), attempt(3, topology="wide", remedy="Raise the quota")]
    lines = list(tables.attempts(told))
    assert lines[0].startswith("#  TOPOLOGY  ZONE ")
    assert lines[2] == "2  default   us-east-1a  spot    i4i.large  placed         0.2 s"
    assert lines[4:] == ["to change: Raise the quota"]


def test_many_attempts_fit_a_screen() -> None:
    """The last twenty, unless pytest is verbose."""
    told = [attempt(number) for number in range(1, 31)]
    lines = list(tables.attempts(told))
    assert lines[0] == "10 attempts before these (-v shows all)"
    assert lines[2].startswith("11 ")
    assert lines[-2].startswith("30 ")
    assert sum("us-east-1a  spot" in line for line in tables.attempts(told, verbose=True)) == 30


def test_a_plan_says_what_is_known_and_what_is_not() -> None:
    """Order, price, quota and memory; a question mark for the unknown; the zones that are none, with the reason."""
    dry = Remembered(at=900.0, group="db", code="InsufficientInstanceCapacity", kind="capacity-zone")
    full = Remembered(at=970.0, group="db", code="", kind="quota")
    on_demand = Asking(count=3, instance_type="i4i.large", market="on-demand", reserved=True)
    spot = Asking(count=3, instance_type="i4i.large", market="spot")
    zone = {"region": "us-east-1", "zone": "us-east-1a", "zones": ("us-east-1a",)}
    rungs = (
        PreviewRung(**zone, groups={"db": on_demand}, price=0.516),  # type: ignore[arg-type]
        PreviewRung(**zone, groups={"db": spot}, price=0.516, quota=(full,), dry=(dry,)),  # type: ignore[arg-type]
    )
    left_out = (LeftOut("us-east-1", "us-east-1c", "does not offer i4i.large"), LeftOut("us-west-2", "", "off"))
    plan = Plan(
        backend="aws",
        account="1",
        regions=("us-east-1", "us-west-2"),
        at=1000.0,
        topologies={"default": TopologyPreview(rungs, left_out), "wide": TopologyPreview()},
        troubles=("eu-west-1 is left out",),
    )
    assert not plan.good
    assert list(tables.plan(plan)) == [
        "aws us-east-1, us-west-2, account 1",
        "trouble: eu-west-1 is left out",
        "default: tried in this order",
        "  #  ZONE        ASKS FOR                             USD/H       QUOTA                 REMEMBERED",
        "  1  us-east-1a  db 3 x i4i.large reserved on-demand  0.52        ?",
        "  2  us-east-1a  db 3 x i4i.large spot                up to 0.52  full 30s ago (quota)  "
        "db refused 1m ago (InsufficientInstanceCapacity)",
        "  left out: us-east-1c: does not offer i4i.large",
        "  left out: us-west-2: off",
        "wide: nothing to try",
    ]


@pytest.mark.parametrize("width", [72, 80, 101])
def test_a_table_is_cut_to_the_screen(width: int) -> None:
    """The widest columns first; the heads and what is short stay whole."""
    lines = list(tables.attempts([attempt(1), attempt(2, **PLACED)], width=width))
    assert width - 1 <= max(map(len, lines)) <= width
    assert lines[0].split()[:4] == ["#", "ZONE", "MARKET", "TYPE"]
    assert lines[1].startswith("1  us-east-1a  spot    i4i.large  spot-ca")
    assert lines[1].endswith("…")


def test_a_table_that_does_not_fit_becomes_lines() -> None:
    """A line for each cell that says something, after the head of its column."""
    rows = [("NAME", "STATE"), ("a" * 40, "up"), ("b", "")]
    assert list(tables.aligned(rows, (40, 40), 19)) == [f"{'NAME':12}  STATE", f"{'a' * 11}…  up", "b"]
    assert list(tables.aligned(rows, (40, 40), 18)) == [f"name {'a' * 40}\n  state up", "name b"]
