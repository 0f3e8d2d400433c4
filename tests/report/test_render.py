"""Words, lines and the terminal: what a cloud says never harms the log that it is shown in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.keeper.protocol import Event, Holding, Staying
from pytest_capacity.model import (
    Attempt,
    Held,
    Identity,
    Node,
    Placed,
    Receipt,
    Request,
    Topology,
    Unread,
)
from pytest_capacity.preview import Plan
from pytest_capacity.report import render, tables
from pytest_capacity.text import clean, moment

REQUEST = Request(
    backend="aws", run="r1", project="p", topologies={}, regions=("us-east-1",), duration_s=3600, timeout_s=60
)
HELD = Held(kind="node", id="i-1", region="us-east-1", zone="us-east-1a", state="ready", deadline=7200.0)


@pytest.mark.parametrize(
    ("words", "cleaned"),
    [
        ("a\x00b\x1b[31mred\x1b[0m", "abred"),
        ("one\r\n  two\n", "one two"),
        ("::error::oops", ": :error::oops"),
        ("  ::set-output name=x::y", ": :set-output name=x::y"),
        ("x ##[error]y ##vso[task]", "x # #[error]y # #vso[task]"),
        ("arn:aws:iam::123:role/x", "arn:aws:iam::123:role/x"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\x1b]0;title\x07text", "text"),
    ],
)
def test_words_are_made_harmless(words: str, cleaned: str) -> None:
    """Control characters, escape sequences and the commands of CI systems are gone; ARNs stay whole."""
    assert clean(words) == cleaned


def test_every_line_of_several_is_made_harmless() -> None:
    """A command may stand at the start of any line."""
    assert clean("a\n::stop::\n##[x]", lines=True) == "a\n: :stop::\n# #[x]"


def test_long_words_are_cut() -> None:
    """To the limit, the sign of it included."""
    assert clean("x" * 20, limit=10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        (
            "attempt-started",
            {"topology": "default", "number": 2, "zone": "us-east-1a"},
            "capacity: default: attempt 2 in us-east-1a",
        ),
        (
            "attempt-started",
            {"topology": "default", "number": 2, "zone": "z", "wanted": "spot i4i.large, on-demand c6i.xlarge"},
            "capacity: default: attempt 2 in z (spot i4i.large, on-demand c6i.xlarge)",
        ),
        (
            "attempt-ended",
            {"zone": "z", "outcome": "quota", "seconds": 1, "code": "C", "market": "spot", "instance_type": "t"},
            "capacity:   z: quota after 1.0 s (spot t, C)",
        ),
        ("changed", {"words": "group 'db' asked for spot\n::x::"}, "capacity: group 'db' asked for spot ::x::"),
        (
            "intent",
            {"kind": "node", "zone": "us-east-1a", "count": 3, "instance_type": "i4i.large", "group": "db"},
            "capacity:   us-east-1a: asking for node 3 x i4i.large for db",
        ),
        (
            "intent",
            {"kind": "placement-group", "zone": "us-east-1a", "count": 1, "instance_type": "", "group": None},
            "capacity:   us-east-1a: asking for placement-group",
        ),
        (
            "created",
            {"kind": "node", "zone": "z", "ids": list("abcde")},
            "capacity:   z: got 5 nodes a, b, c and 2 more",
        ),
        (
            "refused",
            {"kind": "node", "zone": "z", "code": "C", "words": "no\nway"},
            "capacity:   z: no node: C: no way",
        ),
        (
            "unknown",
            {"kind": "node", "zone": "z", "code": "", "words": "reset"},
            "capacity:   z: no clear answer for node, asking again: reset",
        ),
        (
            "attempt-ended",
            {"zone": "z", "outcome": "no-capacity", "seconds": 1.25, "code": "C"},
            "capacity:   z: no-capacity after 1.2 s (C)",
        ),
        ("attempt-ended", {"zone": "z", "outcome": "placed"}, "capacity:   z: placed"),
        ("nodes-ready", {"count": 4}, "capacity:   nodes that run: 4"),
        ("releasing", {"kind": "node", "ids": ["a"]}, "capacity: releasing node a"),
        ("gone", {"kind": "node", "ids": ["a", "b"]}, "capacity: gone: a, b"),
        ("trouble", {"words": "::error:: x"}, "capacity: : :error:: x"),
        (
            "changing",
            {"kind": "node", "id": "i-1", "zone": "us-east-1a", "words": "stops"},
            "capacity:   us-east-1a: node i-1 stops",
        ),
        ("suspect", {"ids": ["i-1"]}, "capacity: suspect, and not lent again: i-1"),
    ],
)
def test_steps_have_their_line(kind: str, data: Mapping[str, Any], text: str) -> None:
    """What is being asked where, and what came back."""
    line = render.live(Event(at=0, kind=kind, data=data))
    assert line is not None
    assert line.text == text


@pytest.mark.parametrize("kind", ["keeper-started", "lent", "renewed", "something-new"])
def test_other_steps_have_none(kind: str) -> None:
    """Kinds that this version does not know are not shown."""
    assert render.live(Event(at=0, kind=kind, data={"zone": "z"})) is None


def test_the_header_says_where_and_as_whom() -> None:
    """Backend, regions, profile, run and log; an emulated run says so, and uses no profile."""
    profiled = replace(REQUEST, settings={"profile": "ci"})
    assert render.header(profiled, "/log") == [
        "capacity: aws us-east-1, profile ci, run r1",
        "capacity: keeper log /log",
    ]
    assert render.header(replace(profiled, emulated=True), "/log") == [
        "capacity: aws us-east-1, run r1",
        "capacity: keeper log /log",
        "capacity: EMULATED: no cloud is used, nothing is billed",
    ]
    assert render.header(REQUEST, "") == ["capacity: aws us-east-1, run r1"]
    assert render.header(REQUEST, "", "http://[::1]:1") == ["capacity: aws us-east-1, endpoint http://[::1]:1, run r1"]


def test_a_backend_without_regions_is_named_once() -> None:
    """Machines of one's own have a region of the backend's name."""
    own = replace(REQUEST, backend="static", regions=("static",))
    assert render.header(own, "") == ["capacity: static, run r1"]
    planned = Plan(backend="static", account="static", regions=("static",), topologies={}, at=0)
    assert list(tables.plan(planned)) == ["static, account static"]


def test_a_quiet_run_says_where_and_as_whom() -> None:
    """In one line, since it has no header."""
    assert (
        render.place_line(REQUEST, "http://x", Identity(account="123")).text
        == "aws us-east-1, endpoint http://x, account 123"
    )
    assert render.place_line(REQUEST, None, None).text == "aws us-east-1"


@pytest.mark.parametrize(("profile", "shown"), [("ci", ", profile ci"), ("default", ""), ("", "")])
def test_the_account_is_named(profile: str, shown: str) -> None:
    """With the profile that the SDK took, where that is one."""
    identity = Identity(account="123", who="arn:x", profile=profile)
    assert render.identity_line(identity, REQUEST) == f"capacity: account 123 as arn:x{shown}"


@pytest.mark.parametrize(("expires", "warned"), [(None, False), (4000.0, False), (3000.0, True)])
def test_credentials_must_last_until_the_hard_end(expires: float | None, warned: bool) -> None:
    """A run of an hour that starts at 0; unknown ends are no reason to worry."""
    fault = render.expiry_fault(Identity(account="1", expires=expires), REQUEST, now=0.0)
    assert (fault is not None) == warned


def node(number: int) -> Node:
    """A node of group db."""
    return Node(
        id=f"i-{number}",
        name=f"db-{number}",
        group="db",
        region="us-east-1",
        zone="us-east-1a",
        market="on-demand",
        instance_type="i4i.large",
    )


def receipt(**parts: Any) -> Receipt:
    """A clean receipt of a run with twelve nodes, changed by ``parts``."""
    placed = Placed(
        topology="default",
        region="us-east-1",
        zone="us-east-1a",
        nodes={"db": tuple(map(node, range(12)))},
        reservations=(),
    )
    attempt = Attempt(
        number=1,
        topology="default",
        region="us-east-1",
        zone="us-east-1a",
        started=0,
        seconds=1,
        outcome="failed",
        code="C",
        words="w",
    )
    return Receipt(**{"run": "r1", "regions": ("us-east-1",), "placed": (placed,), "attempts": (attempt,), **parts})


def texts(told: Receipt, verbosity: int = 0, asked: Request = REQUEST) -> list[str]:
    """The summary's lines."""
    return [line.text for line in render.summary(told, asked, verbosity=verbosity)]


ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/db-0-34"


def test_an_id_that_is_a_path_is_shown_by_its_end() -> None:
    """In live lines and in the list of nodes, which would be three screens wide; with -v the list has it whole."""
    line = render.live(Event(at=0, kind="gone", data={"ids": [ID, "arn:aws:x/y"]}))
    assert line is not None
    assert line.text == "capacity: gone: db-0-34, arn:aws:x/y"
    seated = replace(node(0), id=ID, reservation_id="/subscriptions/s/capacityReservations/l8s-1")
    told = receipt(placed=(replace(receipt().placed[0], nodes={"db": (seated,)}),))
    assert texts(told)[2].startswith("db: db-0-34 i4i.large ")
    assert texts(told)[2].endswith(", in l8s-1")
    assert texts(told, 1)[2].startswith(f"db: {ID} ")
    assert texts(told, 1)[2].endswith(", in /subscriptions/s/capacityReservations/l8s-1")


def test_a_long_list_of_nodes_is_cut() -> None:
    """-v shows all of it, -q none; but attempts that failed are shown by -q too, for errors point at them."""
    assert texts(receipt())[-2:] == [
        "db: and 2 more (-v shows all)",
        "receipt: 0 things bearing run r1 are left (us-east-1 read)",
    ]
    table = ["#  ZONE        OUTCOME  TIME   THE CLOUD SAID", "1  us-east-1a  failed   1.0 s  C: w"]
    assert texts(receipt())[:2] == table
    assert sum(text.startswith("db: i-") for text in texts(receipt(), 1)) == 12
    assert texts(receipt(), -1) == [*table, "receipt: 0 things bearing run r1 are left (us-east-1 read)"]
    placed = replace(receipt().attempts[0], outcome="placed")
    assert texts(receipt(attempts=(placed,)), -1) == ["receipt: 0 things bearing run r1 are left (us-east-1 read)"]


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
def test_what_came_out_otherwise_is_never_silent(verbosity: int) -> None:
    """Another market, a region without capacity: said once, however quiet pytest is, in a colour."""
    change = "group 'db' asked for spot and got on-demand in us-east-1a"
    told = receipt(changes=(change, change))
    lines = [line for line in render.summary(told, REQUEST, verbosity=verbosity) if line.text == change]
    assert [line.colour for line in lines] == ["yellow"]


def test_groups_of_several_topologies_are_told_apart() -> None:
    """A name of a group is its topology's own."""
    two = replace(REQUEST, topologies={name: Topology(groups=(), name=name) for name in ("default", "wide")})
    assert texts(receipt(), 0, two)[2].startswith("default/db: i-0 ")
    assert texts(receipt(), 0, two)[-2] == "default/db: and 2 more (-v shows all)"


def test_what_is_left_is_listed_with_the_way_to_remove_it() -> None:
    """Ids, until when, commands; and what could not be read is not called empty."""
    told = receipt(
        left=(HELD,),
        unread=(Unread(region="us-east-1", kind="reservation", why="denied"),),
        until=7200.0,
        by_hand=("aws ec2 x",),
        troubles=("t",),
        attempts=(),
    )
    assert texts(told, -1) == [
        "trouble: t",
        "receipt: 1 thing bearing run r1 is left (nothing read)",
        "not read: reservation in us-east-1: denied",
        "  node i-1 in us-east-1a, ready",
        f"  bound to end by {moment(7200)} at the latest",
        "  to remove them now:",
        "    aws ec2 x",
    ]


def test_an_end_that_one_thing_lacks_is_not_promised() -> None:
    """What nothing ends is named; of the others it is said until when."""
    told = texts(receipt(left=(HELD,), until=7200.0, endless=("i-2",)))
    assert told[-2:] == [
        "  nothing ends i-2 by itself",
        f"  the others are bound to end by {moment(7200)} at the latest",
    ]
    assert texts(receipt(left=(HELD,), endless=("i-1",)))[-1] == "  nothing ends i-1 by itself"


def test_an_emulated_run_has_nothing_to_remove_by_hand() -> None:
    """No commands for a loopback address; and leaving early says that no cloud was used."""
    emulated = replace(REQUEST, emulated=True)
    told = texts(receipt(left=(HELD,), until=7200.0, by_hand=("aws ec2 x",)), 0, emulated)
    assert told[0] == render.EMULATED
    assert told[-1].startswith("  bound to end")
    holding = Holding(held=(HELD,), until=7200.0, by_hand=("aws ec2 x",))
    left = [line.text for line in render.held_lines(holding, 42, "/log", emulated=True)]
    assert left[:2] == [render.EMULATED, "still held: 1"]
    assert not any("aws ec2" in text for text in left)


@pytest.mark.parametrize(
    ("holding", "first"),
    [
        (None, "what is held could not be asked in time"),
        (Holding(held=()), "nothing is held that the journal knows of"),
        (Holding(held=(HELD,), until=7200.0), "still held: 1"),
    ],
)
def test_leaving_says_who_goes_on(holding: Holding | None, first: str) -> None:
    """What is held, and the keeper's pid and log."""
    told = [line.text for line in render.held_lines(holding, 42, "/log")]
    assert told[0] == first
    assert told[-1] == "the keeper (pid 42) goes on releasing; its log: /log"


@pytest.mark.parametrize(
    ("limit", "line"),
    [
        (None, ["  pytest-capacity extend dev 1h"]),
        (1000.0 + 7200, ["  pytest-capacity extend dev 1h"]),
        (1000.0 + 3599, ["  pytest-capacity extend dev 59m"]),
        (1000.0 + 59, []),
    ],
)
def test_the_line_that_extends_can_be_obeyed(limit: float | None, line: list[str]) -> None:
    """It names no more than the run's limit allows, and where nothing is left it is not shown."""
    staying = Staying(until=1000.0, limit=limit)
    request = replace(REQUEST, session="dev")
    told = [one.text for one in render.staying_lines(staying, request, 0.0, verbosity=0)]
    assert [one for one in told if "extend" in one] == line


def test_a_session_that_stays_tells_what_this_process_tried() -> None:
    """Not what another one tried before it; but what stands otherwise than asked for concerns everybody."""
    first, own = (replace(receipt().attempts[0], number=number, started=number * 10.0) for number in (1, 2))
    staying = Staying(until=1000.0, attempts=(first, own), changes=("group 'db' got on-demand",))
    request = replace(REQUEST, session="dev")
    told = [one.text for one in render.staying_lines(staying, request, 0.0, verbosity=0, since=20.0)]
    assert told[1:3] == ["2  us-east-1a  failed   1.0 s  C: w", "group 'db' got on-demand"]
