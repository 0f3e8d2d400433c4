"""What is read before and during a run: offers of zones, what stands, what did not answer or may not be read."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends.diagnosis import packaged_table
from pytest_capacity.backends.gce.backend import GceBackend
from pytest_capacity.backends.gce.listing import inventory, look
from pytest_capacity.backends.gce.session import Session
from pytest_capacity.backends.gce.settings import GceSettings
from pytest_capacity.model import Held, Offer, Topology, Unread
from tests.backends.gce.hosts import PROJECT, answering
from tests.backends.gce.lab import DB, REGION, GceLab, request
from tests.emulated import Emulator


def test_what_did_not_answer_is_unread(emulator: Emulator) -> None:
    """A zone that a list names as unreachable is not empty, in an inventory as in a look."""
    at = f"/compute/v1/projects/{PROJECT}/aggregated"
    items: dict[str, Any] = {"zones/us-east1-b": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}
    lists = {
        "instances": {"items": {**items, "zones/us-central1-a": {"warning": {"code": "UNREACHABLE"}}}},
        "reservations": {"items": items, "unreachables": ["projects/p/zones/us-central1-b"]},
        "resourcePolicies": {"items": {}},
        "disks": {"items": {}},
    }
    with answering({f"{at}/{name}": answer for name, answer in lists.items()}) as (url, _):
        wanted = request(emulator, DB, endpoint=url)
        session = Session(wanted, GceSettings())
        table = packaged_table("gce")
        found = list(inventory(session, table, "run-1", "tests", (REGION,)))
        assert found == [
            Unread(REGION, "node", "us-central1-a did not answer"),
            Unread(REGION, "reservation", "us-central1-b did not answer"),
        ]
        node = Held(kind="node", id="x", region=REGION, zone="us-central1-a", state="ready", facts={"number": "1"})
        elsewhere = Held(
            kind="node", id="x", region="us-east1", zone="us-east1-b", state="ready", facts={"number": "1"}
        )
        assert [held.state for held in look(session, "run-1", table, [node, elsewhere])] == ["ready", "gone"]


V1 = "/compute/v1/projects"
DENIED = (
    403,
    {"error": {"code": 403, "message": "no", "errors": [{"reason": "forbidden", "message": "no", "domain": "global"}]}},
)


def zone(letter: str, **more: Any) -> dict[str, Any]:
    """A zone as it is listed."""
    return {"name": f"{REGION}-{letter}", "region": f"https://x/compute/v1/regions/{REGION}", "status": "UP", **more}


def reads(**changes: Any) -> dict[str, Any]:
    """The answers to what is read of a region with two zones before a run."""
    image = f"{V1}/debian-cloud/global/images/family/debian-12"
    types = {
        f"zones/{REGION}-{letter}": {"machineTypes": [{"name": DB.instance_type, "zone": f"{REGION}-{letter}"}]}
        for letter in "abc"
    }
    answers: dict[str, Any] = {
        f"{V1}/{PROJECT}/zones": {"items": [zone("a"), zone("b")]},
        f"{V1}/{PROJECT}/aggregated/machineTypes": {"items": types},
        f"{V1}/{PROJECT}/global/networks/default": {"name": "default"},
        image: {"name": "debian", "selfLink": f"https://x/compute/v1/{image}"},
    }
    return {**answers, **{f"{V1}/{path}": answer for path, answer in changes.items()}}


def offers(emulator: Emulator, answers: dict[str, Any], **keys: Any) -> dict[str, Offer]:
    """What the zones of the region offer, by letter."""
    with answering(answers) as (url, _):
        backend = GceBackend(request(emulator, DB, endpoint=url, **keys))
        return {one.zone[-1]: one for one in backend.offers(REGION, Topology((DB,)))}


def test_zones_that_are_down_or_end_are_left_out(emulator: Emulator) -> None:
    """With the cloud's word for it."""
    zones = [
        zone("a", status="DOWN"),
        zone("b", deprecated={"state": "OBSOLETE"}),
        zone("c", deprecated={"state": "DEPRECATED"}),
    ]
    found = offers(emulator, reads(**{f"{PROJECT}/zones": {"items": zones}}))
    assert {letter: one.why for letter, one in found.items()} == {
        "a": "the zone is DOWN",
        "b": "the zone is OBSOLETE",
        "c": "",
    }


def test_a_region_that_is_down_is_none(emulator: Emulator) -> None:
    """It is not looked at, nor fallen back to."""
    items = [{"name": "us-east1", "status": "DOWN"}, {"name": REGION, "status": "UP"}]
    with answering({f"{V1}/{PROJECT}/regions": {"items": items}}) as (url, _):
        assert list(GceBackend(request(emulator, DB, endpoint=url)).regions()) == [REGION]


@pytest.mark.parametrize(
    "path", ["aggregated/machineTypes", "global/networks/default", "aggregated/reservations", "zones"]
)
def test_what_may_not_be_read_rules_nothing_out(emulator: Emulator, path: str) -> None:
    """Zones, types, networks and listed reservations."""
    answers = reads(**{f"{PROJECT}/aggregated/reservations": {"items": {}}, f"{PROJECT}/{path}": DENIED})
    keys = {"use_reservations": ("mine",)} if path.endswith("reservations") else {}
    found = offers(emulator, answers, **keys)
    assert [one.why for one in found.values()] == [""] * (3 if path == "zones" else 2)
    assert [dict(one.unused) for one in found.values()][:1] == [{"mine": "it could not be read"} if keys else {}]


def test_a_reservation_of_another_project_is_named_with_it(emulator: Emulator) -> None:
    """It is looked for there, and one of the same name of our own project is another one."""
    properties = {"machineType": DB.instance_type}
    theirs = {
        "name": "theirs",
        "zone": f"{REGION}-b",
        "status": "READY",
        "specificReservationRequired": True,
        "specificReservation": {"count": "2", "instanceProperties": properties},
    }
    listed = {"items": {f"zones/{REGION}-b": {"reservations": [theirs]}}}
    link = f"projects/other/zones/{REGION}-b/reservations/theirs"
    found = offers(emulator, reads(**{"other/aggregated/reservations": listed}), use_reservations=(link,))
    fact = f"use/db/{DB.instance_type}"
    assert found["b"].facts[fact] == "projects/other/reservations/theirs"
    assert fact not in found["a"].facts
    assert (found["a"].preferred, found["b"].preferred) == (False, True)


def test_a_warning_is_shown_once(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """Though its operation is looked at again; while it runs nothing is shown."""
    at = f"{V1}/{PROJECT}"
    warning = {"code": "DISK_SIZE_LARGER_THAN_IMAGE_SIZE", "message": "resize it"}
    done = {"name": "op", "operationType": "insert", "status": "DONE", "warnings": [warning]}
    answers = {
        f"{at}/aggregated/instances": {"items": {}},
        f"{at}/zones/{REGION}-a/operations/op": [{**done, "status": "RUNNING"}, done, done],
    }
    facts = {"operation": "op", "operation_at": f"{REGION}-a"}
    node = Held(kind="node", id="x", region=REGION, zone=f"{REGION}-a", state="creating", facts=facts)
    with answering(answers) as (url, _):
        session = Session(request(emulator, DB, endpoint=url), GceSettings())
        shown = []
        for _number in range(3):
            look(session, "run-1", packaged_table("gce"), [node])
            shown.append(sum(record.name == "pytest_capacity.gce" for record in caplog.records))
    assert shown == [0, 1, 1]


@pytest.mark.parametrize(("facts", "state"), [({}, "unseen"), ({"number": "1"}, "gone")])
def test_what_was_listed_once_is_gone_when_it_is_not(lab: GceLab, facts: dict[str, str], state: str) -> None:
    """What no list has had yet may only be late."""
    node = Held(kind="node", id="x", region=REGION, zone=f"{REGION}-a", state="creating", facts=facts)
    (now,) = lab.backend(lab.request()).refresh([node])
    assert now.state == state


@pytest.mark.parametrize("kind", ["node", "reservation", "disk", "placement-policy"])
def test_what_is_not_there_is_gone(lab: GceLab, kind: str) -> None:
    """A release of it is no error; one of what does not bear our stamp makes no call."""
    backend = lab.backend(lab.request())
    thing = Held(kind=kind, id="x", region=REGION, zone=f"{REGION}-a", state="ready", subject="default/1/a/node/db")
    assert [one.state for one in backend.release([thing])] == ["gone"]
    calls = len(lab.calls())
    with pytest.raises(ValueError, match="do not bear our whole stamp"):
        backend.release([thing, replace(thing, id="theirs", subject="")])
    assert len(lab.calls()) == calls


def test_the_console_is_the_first_serial_port(emulator: Emulator) -> None:
    """Whole, as Compute Engine has kept it."""
    path = f"{V1}/{PROJECT}/zones/{REGION}-a/instances/x/serialPort"
    node = Held(kind="node", id="x", region=REGION, zone=f"{REGION}-a", state="ready")
    with answering({path: {"contents": "login: ", "next": "7"}}) as (url, _):
        assert GceBackend(request(emulator, DB, endpoint=url)).console(node) == "login: "


@pytest.mark.parametrize(("status", "state"), [("RUNNING", "creating"), ("DONE", "ready")])
def test_a_machine_is_ready_when_its_operation_is_over(emulator: Emulator, status: str, state: str) -> None:
    """Though it runs before: a bulk insert that falls short deletes it again."""
    at = f"/compute/v1/projects/{PROJECT}"
    link = f"https://www.googleapis.com{at}/zones/us-central1-a"
    machine = {"name": "x", "id": "1", "status": "RUNNING", "zone": link, "selfLink": f"{link}/instances/x"}
    answers = {
        f"{at}/aggregated/instances": {"items": {"zones/us-central1-a": {"instances": [machine]}}},
        f"{at}/zones/us-central1-a/operations/op": {"name": "op", "status": status},
    }
    facts = {"operation": "op", "operation_at": "us-central1-a"}
    node = Held(kind="node", id="x", region=REGION, zone="us-central1-a", state="creating", facts=facts)
    with answering(answers) as (url, _):
        session = Session(request(emulator, DB, endpoint=url), GceSettings())
        (now,) = look(session, "run-1", packaged_table("gce"), [node])
    assert (now.state, now.facts["operation"]) == (state, "op")
