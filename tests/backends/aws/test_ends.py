"""Until when a thing stays if nothing removes it."""

from __future__ import annotations

import pytest

from pytest_capacity.backends.aws.backend import AwsBackend
from pytest_capacity.backends.aws.backend import open_aws as open
from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.model import Held, Piece
from tests.backends.aws.orders import IMAGE, NOW, REGION, ZONE, group, request

HARD_END = NOW + 3 * 3600

SUBJECT = "default/1/us-east-1a/node/db"


def held(kind: str, **more: object) -> Held:
    """A thing of group db whose lease ends in half an hour."""
    parts = {"kind": kind, "id": "x-1", "region": REGION, "zone": ZONE, "state": "ready", "subject": SUBJECT}
    return Held(**{**parts, "group": "db", "deadline": NOW + 1800, **more})  # type: ignore[arg-type]


def backend(*, self_terminate: bool = True, db: bool = True) -> AwsBackend:
    """For two groups, of which only db says for itself whether its nodes end themselves."""
    aws = AwsSettings(image={REGION: IMAGE}, self_terminate=self_terminate)
    groups = (group("db", "i4i.large", cloud={"self_terminate": db}), group("loader", "c6i.xlarge"))
    return open(request(*groups, aws=aws))


@pytest.mark.parametrize(
    ("thing", "end"),
    [
        (held("reservation"), NOW + 1800 + 3600),
        (held("reservation", deadline=None), HARD_END + 3600),
        (held("node"), HARD_END),
        (held("node", state="leaving"), HARD_END),
        (held("node", state="failed"), None),
        (held("placement-group"), None),
        (Piece(kind="node", subject=SUBJECT, region=REGION, zone=ZONE, token="t", group="db"), HARD_END),
        (Piece(kind="reservation", subject="s", region=REGION, zone=ZONE, token="t"), HARD_END + 3600),
    ],
)
def test_who_ends_what(thing: Held | Piece, end: float | None) -> None:
    """A reservation within an hour of its lease, a running node at the hard end whatever its stamp says."""
    assert backend().ends(thing, HARD_END) == end


def test_nodes_without_a_timer_have_no_end() -> None:
    """A group's own word stands over that of the section."""
    loader = held("node", group="loader")
    assert backend(db=False).ends(held("node"), HARD_END) is None
    assert backend(db=False).ends(loader, HARD_END) == HARD_END
    assert backend(self_terminate=False).ends(held("node"), HARD_END) == HARD_END
    assert backend(self_terminate=False).ends(loader, HARD_END) is None
