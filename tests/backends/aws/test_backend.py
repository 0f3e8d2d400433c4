"""The verbs, through the SDK to the emulator."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from itertools import chain

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.aws import listing, reading
from pytest_capacity.install_advice import install_command
from pytest_capacity.model import Change, Held, State
from tests.backends.aws.account import (
    DB,
    Account,
    listed,
    now_order,
    of_kind,
    one_of_each,
    states,
    stranger,
)
from tests.backends.aws.orders import PROJECT, REGION, RUN, ZONE, group, order, request
from tests.emulated import ROOT, Emulator


def test_the_backend_opens_by_its_name(emulator: Emulator) -> None:
    """And makes no call when it is opened."""
    backend = open_backend(request(DB, endpoint=emulator.url))
    assert backend.name == "aws"
    assert emulator.calls() == []
    assert backend.whoami().account == "123456789012"


def test_a_missing_sdk_is_said_with_the_extra_that_brings_it() -> None:
    """In an interpreter that has no SDK."""
    script = """
import sys
sys.modules["botocore"] = None
from pytest_capacity.backends import open_backend
from tests.backends.aws.orders import group, request
open_backend(request(group("db", "i4i.large")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert install_command("aws") in done.stderr
    assert "ConfigError" in done.stderr


def test_a_topology_stands_and_its_nodes_sit_where_they_were_aimed(account: Account) -> None:
    """Reserved groups in our reservations, the other one in none; named by group and launch order."""
    held = account.make(now_order(account))
    seen = list(account.backend.refresh(held))
    assert [(one.id, one.subject, one.group) for one in seen] == [(one.id, one.subject, one.group) for one in held]
    assert states(seen) == {"ready"}
    reservations = {one.facts["instance_type"]: one.id for one in of_kind(seen, "reservation")}
    nodes = of_kind(seen, "node")
    sits = {one.facts["name"]: one.facts.get("reservation_id") for one in nodes}
    db, loader = reservations["i4i.large"], reservations["c6i.xlarge"]
    assert sits == {"db-0": db, "db-1": db, "db-2": db, "loader-0": loader, "monitor-0": None}
    assert all(one.facts["private_ip"] and one.facts["market"] == "on-demand" for one in nodes)


def test_no_tag_is_put_on_afterwards(account: Account) -> None:
    """One mutating call a piece, and the stamp is in it."""
    account.make(now_order(account))
    made = sorted(call["operation"] for call in account.emulator.calls())
    assert made == ["CreateCapacityReservation"] * 2 + ["RunInstances"] * 3
    for held in account.emulator.held():
        assert held["tags"]["pytest-capacity:run"] == held["tags"]["TestId"] == RUN
        assert held["tags"]["pytest-capacity:project"] == PROJECT


@pytest.mark.parametrize("kind", ["reservation", "node", "placement-group"])
def test_the_same_token_gives_back_what_it_made(clustered: Account, kind: str) -> None:
    """After a lost answer the same call is safe, for each kind of piece."""
    made: dict[str, str] = {}
    for piece in clustered.ready_pieces(now_order(clustered), made):
        if piece.kind == kind:
            fault = {"operation": _operation(kind), "lose_reply": True, "times": 1}
            clustered.emulator.weather(faults=[fault])
            with pytest.raises(ConnectionClosedError) as caught:
                clustered.backend.create(piece)
            assert clustered.backend.diagnose(caught.value).step == "ask-again"
        first, again = clustered.backend.create(piece), clustered.backend.create(piece)
        made[piece.subject] = first[0].id
        assert [held.id for held in first] == [held.id for held in again]
    held = clustered.emulator.held()
    assert sorted(one["kind"] for one in held) == ["capacity-reservation", "instance", "instance", "placement-group"]


def _operation(kind: str) -> str:
    return {
        "reservation": "CreateCapacityReservation",
        "node": "RunInstances",
        "placement-group": "CreatePlacementGroup",
    }[kind]


def test_a_placement_group_of_somebody_elses_is_not_ours(clustered: Account) -> None:
    """The name alone proves nothing: without our stamp on it the refusal stands."""
    piece = next(clustered.ready_pieces(now_order(clustered), {}))
    stranger(clustered.emulator).create_placement_group(GroupName=piece.spec["GroupName"], Strategy="cluster")
    with pytest.raises(ClientError, match=r"InvalidPlacementGroup\.Duplicate"):
        clustered.backend.create(piece)


@pytest.mark.parametrize("kind", ["reservation", "node"])
def test_a_dry_zone_costs_one_call(account: Account, kind: str) -> None:
    """EC2 says it with an HTTP 500, which botocore would repeat for seconds."""
    pieces = list(chain(*account.backend.plan(now_order(account))))
    piece = next(piece for piece in pieces if piece.kind == kind and not piece.needs)
    account.emulator.weather(stock={ZONE: {"*": 0}})
    with pytest.raises(ClientError) as caught:
        account.backend.create(piece)
    diagnosis = account.backend.diagnose(caught.value)
    assert (diagnosis.step, diagnosis.kind, diagnosis.code) == (
        "move-on",
        "capacity-zone",
        "InsufficientInstanceCapacity",
    )
    assert [call["status"] for call in account.emulator.calls(_operation(kind))] == [500]
    assert account.emulator.held() == []


def test_a_full_reservation_moves_on(account: Account) -> None:
    """A launch into a reservation without room is refused by EC2, and another zone may help."""
    pieces = list(chain(*account.backend.plan(now_order(account))))
    node = next(piece for piece in pieces if piece.kind == "node" and piece.group == "db")
    reservation = next(piece for piece in pieces if piece.subject in {need.subject for need in node.needs})
    made = account.backend.create(replace(reservation, spec={**reservation.spec, "InstanceCount": 2}))[0].id
    with pytest.raises(ClientError) as caught:
        account.backend.create(replace(node, inputs={need.key: made for need in node.needs}))
    assert account.backend.diagnose(caught.value).step == "move-on"


def test_a_dead_thing_that_an_old_token_gives_back_is_seen_to_be_dead(account: Account) -> None:
    """It must not be taken for what was asked for."""
    reservation, node = one_of_each(account)
    cancelled = account.backend.create(reservation)[0]
    account.backend.release([cancelled])
    ended = account.backend.create(node)
    account.backend.release(ended)
    assert states(account.backend.create(reservation)) == {"gone"}
    assert states(account.backend.create(node)) <= {"gone", "leaving"}


def test_pages_are_followed(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """With pages of five, nothing of a longer list is missing."""
    monkeypatch.setattr(listing, "PAGE", 5)
    monkeypatch.setattr(listing, "FILTER_VALUES", 4)
    wanted = request(
        *(group(f"g{number}", "t3.large", reserve=True) for number in range(7)), group("more", "m6i.large")
    )
    account = Account(account.emulator, wanted)
    held = [one for attempt in range(1, 4) for one in account.make(now_order(account, attempt=attempt))]
    assert states(account.backend.refresh(held)) == {"ready"}
    assert sorted(one.id for one in listed(account)) == sorted(one.id for one in held)


def test_what_boots_is_creating_and_then_ready(account: Account) -> None:
    """By the cloud's own clock."""
    account.emulator.weather(boot_s=60)
    nodes = of_kind(account.make(now_order(account)), "node")
    assert states(account.backend.refresh(nodes)) == {"creating"}
    account.emulator.weather(clock={"advance_s": 61})
    assert states(account.backend.refresh(nodes)) == {"ready"}


def test_what_the_cloud_does_not_list_yet_is_unseen(account: Account) -> None:
    """Neither gone nor failed: a listing lags behind."""
    account.emulator.weather(consistency_s=60)
    held = account.make(now_order(account))
    assert states(account.backend.refresh(held)) == {"unseen"}


def test_a_node_that_dies_before_it_runs_has_failed_and_says_why(account: Account) -> None:
    """Once; asked again it is gone like any other, so its release comes to an end."""
    reason = "Server.InsufficientInstanceCapacity"
    account.emulator.weather(boot_s=1, faults=[{"operation": "boot", "error": reason, "times": 1}])
    _, node = one_of_each(account)
    held = account.backend.create(node)
    account.emulator.weather(clock={"advance_s": 5})
    dead = account.backend.refresh(held)
    assert [(one.state, one.problem_code) for one in dead] == [("failed", reason)]
    assert dead[0].problem
    assert account.backend.diagnose(dead[0]).step == "move-on"
    after = account.backend.refresh(dead)
    assert states(after) == {"gone"}
    assert after[0].problem_code == reason


def test_a_node_that_is_released_while_it_starts_has_not_failed(account: Account) -> None:
    """It was ended by a call: it is leaving, and then gone."""
    account.emulator.weather(boot_s=60, stop_s=30)
    _, node = one_of_each(account)
    held = account.backend.create(node)
    account.backend.release(held)
    assert states(account.backend.refresh(held)) == {"leaving"}
    account.emulator.weather(clock={"advance_s": 31})
    assert states(account.backend.refresh(held)) == {"gone"}


@pytest.mark.parametrize(
    ("word", "reason", "before", "state"),
    [
        ("pending", "", "creating", "creating"),
        ("running", "", "creating", "ready"),
        ("stopping", "Client.UserInitiatedShutdown", "ready", "failed"),
        ("stopped", "Client.UserInitiatedShutdown", "creating", "failed"),
        ("shutting-down", "Server.InternalError", "creating", "failed"),
        ("shutting-down", "Server.SpotInstanceTermination", "ready", "leaving"),
        ("shutting-down", "Server.InternalError", "failed", "leaving"),
        ("terminated", "", "creating", "failed"),
        ("terminated", "Client.UserInitiatedShutdown", "creating", "gone"),
        ("terminated", "Server.InternalError", "leaving", "gone"),
    ],
)
def test_a_nodes_state_is_read_by_what_it_was(word: str, reason: str, before: State, state: str) -> None:
    """Dead before it ran is failed, once; stopped is failed, since its disks are billed; ended by a call is not."""
    answer = {"InstanceId": "i-1", "State": {"Name": word}, "StateReason": {"Code": reason, "Message": ""}}
    held = reading.node(REGION, answer, before)
    assert held.state == state
    assert bool(held.problem) == (state not in ("creating", "ready"))


def test_a_deadline_is_moved_where_the_cloud_keeps_it(clustered: Account) -> None:
    """The end of a reservation at EC2, which enforces it; a tag on the others; one call each."""
    later = float(int(time.time()) + 3600)
    held = clustered.make(now_order(clustered))
    before = len(clustered.emulator.calls())
    changed = [clustered.backend.change(one, Change(deadline=later)) for one in held]
    calls = [call["operation"] for call in clustered.emulator.calls()[before:]]
    assert sorted(calls) == ["CreateTags"] * 3 + ["ModifyCapacityReservation"]
    assert {one.deadline for one in changed} == {later}
    assert {one.deadline for one in clustered.backend.refresh(held)} == {later}
    assert {one.deadline for one in listed(clustered)} == {later}


def test_everything_can_be_given_back(clustered: Account) -> None:
    """In the backend's own order; the placement group is in the way of nothing and nothing in its way."""
    held = clustered.make(now_order(clustered))
    left = held
    while left:
        now = clustered.backend.releasable(left)
        for kind in sorted({one.kind for one in now}):
            some = of_kind(now, kind)
            for start in range(0, len(some), clustered.backend.batch[kind]):
                asked = clustered.backend.release(some[start : start + clustered.backend.batch[kind]])
                assert states(asked) == {"gone" if kind == "node" else "leaving"}  # They stop at once here.
        left = [one for one in left if one not in now]
    assert states(clustered.backend.refresh(held)) <= {"gone", "unseen"}
    assert listed(clustered) == []
    assert clustered.emulator.held() == []


def test_a_placement_group_in_use_is_asked_for_again(clustered: Account) -> None:
    """EC2 refuses while something is in it; that is no reason to give up."""
    held = clustered.make(now_order(clustered))
    with pytest.raises(ClientError) as caught:
        clustered.backend.release(of_kind(held, "placement-group"))
    assert clustered.backend.diagnose(caught.value).step == "back-off"


def test_a_pending_reservation_refuses_to_be_cancelled_for_now(account: Account) -> None:
    """It can be given back once it is active."""
    account.emulator.weather(pending_s=60)
    held = account.backend.create(one_of_each(account)[0])
    assert states(held) == states(account.backend.refresh(held)) == {"creating"}
    with pytest.raises(ClientError) as caught:
        account.backend.release(held)
    assert account.backend.diagnose(caught.value).step == "back-off"
    account.emulator.weather(clock={"advance_s": 61})
    account.backend.release(held)
    assert account.emulator.held() == []


@pytest.mark.parametrize("kind", ["reservation", "node", "placement-group"])
def test_a_thing_that_ec2_does_not_know_is_gone(account: Account, kind: str) -> None:
    """Whether it is gone or too young to be seen is for the caller to know."""
    id_ = {
        "reservation": "cr-00000000000000000",
        "node": "i-00000000000000000",
        "placement-group": "arn:placement-group/none",
    }[kind]
    held = Held(kind=kind, id=id_, region=REGION, zone=ZONE, state="ready", subject="a/subject")
    with pytest.raises(ClientError) as caught:
        account.backend.release([held])
    assert account.backend.diagnose(caught.value).step == "gone"
    assert states(account.backend.refresh([held])) == {"unseen"}


def test_what_is_not_known_to_be_ours_is_left_alone(account: Account) -> None:
    """The others are released, and the refusal names what was not."""
    _, node = one_of_each(account)
    mine = account.backend.create(node)
    theirs = stranger(account.emulator).run_instances(ImageId=node.spec["ImageId"], MinCount=1, MaxCount=1)
    id_ = theirs["Instances"][0]["InstanceId"]
    foreign = Held(kind="node", id=id_, region=REGION, zone=ZONE, state="ready")
    with pytest.raises(ValueError, match=id_):
        account.backend.release([*mine, foreign])
    assert [held["id"] for held in account.emulator.held("instance")] == [id_]


def test_spot_nodes_say_so(emulator: Emulator) -> None:
    """The market is read from the cloud, not remembered."""
    account = Account(emulator, request(group("cheap", "m6i.large", 2, market="spot", reserve=None)))
    held = account.make(now_order(account))
    assert {node.facts["market"] for node in account.backend.refresh(held)} == {"spot"}


def test_a_spot_node_that_is_taken_back_is_seen_before_it_ends(emulator: Emulator) -> None:
    """Its request says so while it runs, in one call for all spot nodes and none for others; then its own reason."""
    cheap = group("cheap", "i4i.large", 2, market="spot", reserve=None)
    account = Account(emulator, request(cheap, group("db", "t3.large", reserve=False)))
    nodes = account.make(order(account.request, now=time.time()))
    nodes = list(account.backend.refresh(account.backend.refresh(nodes)))
    assert [node.problem_code for node in nodes] == ["", "", ""]
    assert account.asked("DescribeSpotInstanceRequests") == 2
    emulator.weather(reclaim_notice_s=120)
    emulator.weather(reclaim=[nodes[0].id])
    marked, other, _ = account.backend.refresh(nodes)
    assert (marked.state, marked.problem_code) == ("ready", "marked-for-termination")
    assert account.backend.diagnose(marked).kind == "preempted"
    assert (other.state, other.problem_code) == ("ready", "")
    emulator.weather(clock={"advance_s": 121})
    (ended,) = account.backend.refresh([marked])
    assert (ended.state, ended.problem_code) == ("gone", "Server.SpotInstanceTermination")
    assert account.backend.diagnose(ended).kind == "preempted"
    before = account.asked("DescribeSpotInstanceRequests")
    account.backend.refresh([nodes[2]])
    assert account.asked("DescribeSpotInstanceRequests") == before
    emulator.weather(faults=[{"operation": "DescribeSpotInstanceRequests", "error": "UnauthorizedOperation"}])
    (still,) = account.backend.refresh([other])
    assert (still.state, still.problem_code) == ("ready", "")


def test_regions_are_those_of_the_account(account: Account) -> None:
    """By name."""
    regions = list(account.backend.regions())
    assert regions == sorted(regions)
    assert {"us-east-1", "eu-west-1"} <= set(regions)


def test_the_commands_for_the_hand_say_where(clustered: Account) -> None:
    """Nodes together, the placement group last, each with region and endpoint."""
    held = clustered.make(now_order(clustered))
    commands = [shlex.split(command) for command in clustered.backend.by_hand(list(reversed(held)))]
    where = ["--region", REGION, "--endpoint-url", clustered.emulator.url]
    nodes, reservation = of_kind(held, "node"), of_kind(held, "reservation")[0].id
    assert [command[:3] + command[7:8] for command in commands] == [
        ["aws", "ec2", "terminate-instances", "--instance-ids"],
        ["aws", "ec2", "cancel-capacity-reservation", "--capacity-reservation-id"],
        ["aws", "ec2", "delete-placement-group", "--group-name"],
    ]
    assert all(command[3:7] == where for command in commands)
    assert set(commands[0][8:]) == {node.id for node in nodes}
    assert commands[1][8:] == [reservation]
    assert commands[2][8:] == [f"pytest-capacity-{RUN}-default-1-us-east-1a"]


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("pending", "creating"),
        ("active", "ready"),
        ("scheduled", "creating"),
        ("cancelling", "leaving"),
        ("unavailable", "failed"),
        ("expired", "gone"),
        ("cancelled", "gone"),
        ("failed", "gone"),
        ("payment-failed", "gone"),
    ],
)
def test_a_reservations_state_is_read(word: str, state: str) -> None:
    """One may launch into a pending one; what holds nothing is over."""
    held = reading.reservation(REGION, {"CapacityReservationId": "cr-1", "State": word})
    assert held.state == state
    assert bool(held.problem) == (state not in ("ready", "creating"))
