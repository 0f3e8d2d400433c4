"""What a topology becomes on AWS: rounds of calls, before any is made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from botocore.validate import ParamValidator
from msgspec.structs import replace

from pytest_capacity.backends.aws.plan import create_parameters, plan_rounds
from pytest_capacity.backends.aws.reading import node
from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.backends.aws.timer import user_data
from pytest_capacity.model import NodeGroup, Piece, Placement, Request, Share, Ssh, Topology
from tests.backends.aws.orders import IMAGE, NOW, REGION, ZONE, group, order, request

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f pytest-capacity"

#: Parameters that are names of our own.
NAMES = ("GroupName", "KeyName")

ARN = "arn:aws:ec2:us-east-1:123456789012:placement-group/pytest-capacity-run-1-default-1-us-east-1a"
POOL = "arn:aws:resource-groups:us-east-1:123456789012:group/pool"

DB = group("db", "i4i.large", 3)
LOADER = group("loader", "c6i.xlarge")
MONITOR = group("monitor", "t3.large", reserve=False)
SPOT = group("cheap", "m6i.large", 2, market="spot", reserve=None)

EVERYTHING = request(
    *(replace(one, placement_group=True) for one in (DB, LOADER)),
    MONITOR,
    SPOT,
    aws=AwsSettings(
        image={REGION: IMAGE},
        subnets={ZONE: "subnet-1"},
        security_groups=("sg-1", "sg-2"),
        key_name="mine",
        public_ip=True,
        tags={"team": "storage"},
    ),
)


def planned(wanted: Request, **more: Any) -> list[list[Piece]]:
    """The rounds of ``wanted`` in the usual zone."""
    return plan_rounds(wanted, order(wanted, **more))


def only(wanted: Request, kind: str, **more: Any) -> Piece:
    """The one piece of ``kind``."""
    (piece,) = (piece for piece in chain(*planned(wanted, **more)) if piece.kind == kind)
    return piece


def needed(piece: Piece) -> list[str]:
    """The subjects of what ``piece`` needs."""
    return [need.subject for need in piece.needs]


def called(piece: Piece) -> tuple[str, dict[str, Any]]:
    """The call that makes ``piece`` when all that it needs is there."""
    ids = {need.key: ARN if need.kind == "placement-group" else "cr-0123456789abcdef0" for need in piece.needs}
    return create_parameters(replace(piece, inputs=ids))


def tags_of(parameters: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Tags by the kind of thing that they are put on."""
    return {
        part["ResourceType"]: {tag["Key"]: tag["Value"] for tag in part["Tags"]}
        for part in parameters["TagSpecifications"]
    }


def kinds(rounds: Sequence[Sequence[Piece]]) -> list[list[str]]:
    """The kinds of each round."""
    return [[piece.kind for piece in pieces] for pieces in rounds]


def test_reservations_go_before_the_nodes_that_sit_in_them() -> None:
    """One reservation a shape side by side, then one launch a group side by side."""
    rounds = planned(request(DB, LOADER, MONITOR))
    assert kinds(rounds) == [["reservation"] * 2, ["node"] * 3]
    assert [needed(piece) for piece in rounds[1]] == [[rounds[0][1].subject], [rounds[0][0].subject], []]


def test_groups_of_one_shape_share_a_reservation() -> None:
    """Counts are summed over the groups: a zone and a type have one reservation."""
    wanted = request(DB, group("more", "i4i.large", 2), group("other", "i4i.large", reserve=False))
    reservation = only(wanted, "reservation")
    assert (reservation.count, reservation.spec["InstanceCount"], reservation.group) == (5, 5, None)
    assert reservation.subject == "default/1/us-east-1a/reservation/i4i.large"
    assert (reservation.groups, only(request(DB), "reservation").groups) == (("db", "more"), ("db",))


@pytest.mark.parametrize(
    "other",
    [
        group("b", "i4i.xlarge"),
        group("b", "i4i.large", placement_group=True),
        group("b", "i4i.large", cloud={"tenancy": "dedicated"}),
        group("b", "i4i.large", cloud={"platform": "Windows"}),
    ],
    ids=["type", "placement group", "tenancy", "platform"],
)
def test_another_shape_has_another_reservation(other: NodeGroup) -> None:
    """A node can sit in a reservation of its own shape only."""
    pieces = [
        piece for piece in chain(*planned(request(group("a", "i4i.large"), other))) if piece.kind == "reservation"
    ]
    assert len({piece.subject for piece in pieces}) == len({piece.token for piece in pieces}) == 2


def test_a_reservation_is_aimed_at_us_and_ends_by_itself() -> None:
    """Targeted, so no other machine gets in, and limited to the lease, in case every process dies."""
    operation, parameters = called(only(request(DB), "reservation"))
    assert operation == "create_capacity_reservation"
    assert parameters["InstanceMatchCriteria"] == "targeted"
    assert (parameters["EndDateType"], parameters["EndDate"]) == ("limited", "2033-05-18T04:03:20Z")
    assert (parameters["AvailabilityZone"], parameters["InstancePlatform"]) == (ZONE, "Linux/UNIX")
    assert len(parameters["ClientToken"]) <= 64


def test_all_nodes_of_a_group_come_of_one_call_or_none_do() -> None:
    """MinCount is MaxCount, and the call goes to one zone and one reservation."""
    operation, parameters = called(only(request(DB), "node"))
    assert operation == "run_instances"
    assert (parameters["MinCount"], parameters["MaxCount"]) == (3, 3)
    assert parameters["Placement"]["AvailabilityZone"] == ZONE
    assert parameters["CapacityReservationSpecification"] == {
        "CapacityReservationTarget": {"CapacityReservationId": "cr-0123456789abcdef0"}
    }


def test_a_node_without_a_reservation_takes_nobodys() -> None:
    """It says so: by default EC2 seats it in any open reservation of the account."""
    _, parameters = called(only(request(MONITOR), "node"))
    assert parameters["CapacityReservationSpecification"] == {"CapacityReservationPreference": "none"}


def test_spot_nodes_are_not_reserved() -> None:
    """Spot cannot use a reservation: none is made though the run reserves, and the launch does not speak of any."""
    rounds = planned(request(SPOT, reserve=True))
    _, parameters = called(rounds[0][0])
    assert kinds(rounds) == [["node"]]
    assert "CapacityReservationSpecification" not in parameters
    assert parameters["InstanceMarketOptions"]["MarketType"] == "spot"
    assert parameters["InstanceMarketOptions"]["SpotOptions"]["SpotInstanceType"] == "one-time"
    assert parameters["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert "spot-instances-request" in tags_of(parameters)


def test_one_placement_group_serves_reservations_and_nodes() -> None:
    """It is made first, once for all groups that ask for one, and only these are put in it."""
    rounds = planned(EVERYTHING)
    assert kinds(rounds) == [["placement-group"], ["reservation"] * 2, ["node"] * 4]
    where = {piece.group: called(piece)[1]["Placement"].get("GroupName") for piece in rounds[2]}
    name = "pytest-capacity-run-1-default-1-us-east-1a"
    assert where == {"db": name, "loader": name, "monitor": None, "cheap": None}
    assert {called(piece)[1]["PlacementGroupArn"] for piece in rounds[1]} == {ARN}
    assert rounds[0][0].spec["GroupName"] == name


def test_each_attempt_has_its_own_names_and_tokens() -> None:
    """The next zone starts beside the release of the last one, so they share nothing."""
    first, second = (list(chain(*planned(EVERYTHING, attempt=attempt))) for attempt in (1, 2))
    for value in ("subject", "token"):
        assert not {getattr(piece, value) for piece in first} & {getattr(piece, value) for piece in second}
    assert first[0].spec["GroupName"] != second[0].spec["GroupName"]


def test_without_launch_there_are_reservations_only() -> None:
    """A placement group that only unreserved groups asked for is not made either."""
    wanted = request(DB, replace(MONITOR, placement_group=True))
    assert kinds(planned(wanted, launch=False)) == [["reservation"]]


def test_the_same_order_gives_the_same_pieces() -> None:
    """Byte for byte, from another backend too: a repeated token with other parameters is refused by EC2."""
    assert msgspec.json.encode(planned(EVERYTHING)) == msgspec.json.encode(planned(EVERYTHING))


def test_pieces_survive_the_journal() -> None:
    """What a second keeper reads back makes the same calls."""
    for piece in chain(*planned(EVERYTHING)):
        again = msgspec.json.decode(msgspec.json.encode(piece), type=Piece)
        assert called(again) == called(piece)


def test_every_call_is_one_that_the_sdk_knows() -> None:
    """Checked against EC2's service model, with everything switched on."""
    model = boto3.client("ec2", region_name=REGION).meta
    for piece in chain(*planned(EVERYTHING), *planned(request(DB, SPOT))):
        operation, parameters = called(piece)
        shape = model.service_model.operation_model(model.method_to_api_mapping[operation]).input_shape
        assert shape is not None
        assert ParamValidator().validate(parameters, shape).generate_report() == ""


def test_the_stamp_is_in_every_create_call() -> None:
    """On the machine, its disks and its spot request; and no user's tags can cover it."""
    own = AwsSettings(image={REGION: IMAGE}, tags={"team": "storage", "Name": "mine", "pytest-capacity:run": "forged"})
    found = [
        tags_of(called(piece)[1]) for piece in chain(*planned(request(replace(DB, placement_group=True), aws=own)))
    ]
    for kind, tags in [item for one in found for item in one.items()]:
        assert tags["pytest-capacity:run"] == tags["TestId"] == "run-1", kind
        assert tags["pytest-capacity:project"] == "backend-tests"
        assert tags["pytest-capacity:topology"] == "default"
        assert tags["pytest-capacity:deadline"] == "2033-05-18T04:03:20Z"
        assert tags["pytest-capacity:piece"].startswith("default/1/us-east-1a/")
        assert (tags["CapacityReservation"], tags["Backend"], tags["team"]) == ("true", "aws", "storage")
    assert set(found[2]) == {"instance", "volume", "network-interface"}
    assert (found[2]["instance"]["pytest-capacity:group"], found[2]["instance"]["Name"]) == ("db", "mine")


def test_long_names_still_fit_into_tags() -> None:
    """What EC2 would refuse is cut, and a subject is the same in the tag and in the journal."""
    wanted = request(group("g" * 300, "i4i.large"), project="p\n" * 300)
    for piece in chain(*planned(wanted)):
        for tags in tags_of(piece.spec).values():
            assert max(map(len, tags.values())) <= 256
            assert "\n" not in "".join(tags.values())
            assert tags["pytest-capacity:piece"] == piece.subject


def test_a_used_reservation_is_the_target_and_none_is_made() -> None:
    """Neither for an id nor for a resource group is there a reservation of our own."""
    wanted = request(DB, LOADER)
    pieces = planned(wanted, facts={"use/db/i4i.large": "cr-1", "use/loader/c6i.xlarge": POOL})
    assert kinds(pieces) == [["node", "node"]]
    targets = [called(piece)[1]["CapacityReservationSpecification"]["CapacityReservationTarget"] for piece in pieces[0]]
    assert targets == [{"CapacityReservationId": "cr-1"}, {"CapacityReservationResourceGroupArn": POOL}]
    assert [piece.consumes for piece in pieces[0]] == ["cr-1", None]


def test_network_settings_go_where_ec2_wants_them() -> None:
    """Inside the interface, which says in so many words whether it has a public address."""
    private = AwsSettings(image={REGION: IMAGE}, subnets={ZONE: "subnet-1"}, security_groups=("sg-1",))
    for public in (False, True):
        _, launch = called(only(request(MONITOR, aws=replace(private, public_ip=public)), "node"))
        assert not {"SubnetId", "SecurityGroupIds"} & set(launch)
        assert launch["NetworkInterfaces"] == [
            {
                "DeviceIndex": 0,
                "AssociatePublicIpAddress": public,
                "DeleteOnTermination": True,
                "SubnetId": "subnet-1",
                "Groups": ["sg-1"],
            }
        ]


def test_a_groups_own_words_go_over_the_sections() -> None:
    """Its image, its tags, its key."""
    own = group("db", "i4i.large", cloud={"image": {REGION: "ami-own"}, "tags": {"role": "db"}, "key_name": "other"})
    section = AwsSettings(image={REGION: IMAGE}, key_name="mine", tags={"team": "storage"})
    _, parameters = called(only(request(own, aws=section), "node"))
    tags = tags_of(parameters)["instance"]
    assert (parameters["ImageId"], parameters["KeyName"]) == ("ami-own", "other")
    assert (tags["team"], tags["role"]) == ("storage", "db")


def test_a_node_ends_itself_unless_told_otherwise() -> None:
    """Shutting down is ending, and the timer is set to the hard end, not to the lease."""
    _, parameters = called(only(request(MONITOR), "node"))
    _, without = called(only(request(MONITOR, aws=AwsSettings(image={REGION: IMAGE}, self_terminate=False)), "node"))
    assert parameters["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert str(int(NOW + 5400)) in parameters["UserData"]
    assert "UserData" not in without


def test_an_instance_store_image_is_not_told_how_to_shut_down() -> None:
    """EC2 refuses the attribute for such images, whose machines cannot stop anyway."""
    _, parameters = called(only(request(MONITOR), "node", facts={"root/monitor": "instance-store"}))
    assert "InstanceInitiatedShutdownBehavior" not in parameters


@pytest.mark.parametrize(("left", "minutes"), [(90, "+2"), (60, "+1"), (0, "+0"), (-500, "+0")])
def test_the_timer_counts_on_the_machine(tmp_path: Path, left: int, minutes: str) -> None:
    """The script, run by a real shell with a clock and a shutdown of ours, asks for the minutes that are left."""
    for name, line in (
        ("date", "echo 1000000"),
        ("shutdown", f'echo "$@" >>"{tmp_path}/asked"'),
        ("poweroff", "exit 1"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    script = user_data("Linux/UNIX", 1_000_000 + left).replace("/var/lib", str(tmp_path / "lib"))
    subprocess.run(["sh", "-c", script], check=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, timeout=30)
    assert (tmp_path / "asked").read_text() == f"-P {minutes}\n"
    assert os.access(tmp_path / "lib/cloud/scripts/per-boot/pytest-capacity-end", os.X_OK)


def test_a_windows_machine_has_a_timer_of_its_own_kind() -> None:
    """PowerShell, at every boot."""
    script = user_data("Windows with SQL Server Standard", 1_000_000)
    assert script.startswith("<powershell>")
    assert "1000000 - " in script
    assert "<persist>true</persist>" in script


def names_of(pieces: Sequence[Sequence[Piece]], kind: str) -> set[str]:
    """The subjects of the pieces of a kind."""
    return {piece.subject for piece in chain(*pieces) if piece.kind == kind}


def test_an_order_of_a_series_names_alike_what_it_chooses_alike() -> None:
    """What stands of the order before has the same name, though its token, for a repeated call, is another."""
    wanted = request(replace(DB, placement_group=True), MONITOR, ssh=Ssh())
    facts = {"ssh-key": KEY}
    first, second, other = (
        list(chain(*planned(wanted, attempt=attempt, series=series, facts=facts)))
        for attempt, series in ((1, 0), (2, 1), (3, 0))
    )
    assert [piece.subject for piece in first] == [piece.subject for piece in second]
    assert not {piece.token for piece in first} & {piece.token for piece in second}
    assert not {piece.subject for piece in first} & {piece.subject for piece in other}
    called_ = [[called(piece)[1].get(key) for piece in made] for made in (first, second, other) for key in NAMES]
    assert called_[:2] == called_[2:4]
    assert not ({*called_[0], *called_[1]} & {*called_[4], *called_[5]}) - {None}


def test_another_choice_of_a_series_has_another_name() -> None:
    """A type or a market that is not the first one is in the name, and what others have stays as it is."""
    wanted = request(DB, replace(SPOT, reserve=True), group("more", "i4i.large", 2))
    moves = [
        wanted,
        request(DB, replace(SPOT, market="on-demand", reserve=True), group("more", "i4i.large", 2)),
        request(replace(DB, instance_type="i4i.xlarge"), replace(SPOT, reserve=True), group("more", "i4i.large", 2)),
    ]
    plans = [planned(wanted, topology=move.topologies["default"], attempt=1 + at) for at, move in enumerate(moves)]
    nodes = [{name.partition("/node/")[2] for name in names_of(one, "node")} for one in plans]
    reserved = [{name.partition("/reservation/")[2] for name in names_of(one, "reservation")} for one in plans]
    assert nodes[0] == {"db/i4i.large", "cheap/m6i.large/spot", "more/i4i.large"}
    assert (nodes[1] - nodes[0], reserved[1] - reserved[0]) == ({"cheap/m6i.large"}, {"m6i.large/cheap"})
    assert (nodes[2] - nodes[0], reserved[2] - reserved[0]) == ({"db/i4i.xlarge"}, {"i4i.xlarge/db"})
    counts = [{piece.group: piece.count for piece in chain(*one) if piece.kind == "reservation"} for one in plans]
    assert counts == [{None: 5}, {None: 5, "cheap": 2}, {"more": 2, "db": 3}]


def test_a_group_that_moves_into_anothers_shape_has_a_reservation_of_its_own() -> None:
    """The other's stands already and is not made larger; each group is aimed at its own."""
    wanted = request(DB, group("more", "i4i.xlarge", 2))
    moved = request(DB, group("more", "i4i.large", 2)).topologies["default"]
    pieces = list(chain(*planned(wanted, topology=moved)))
    assert [
        (piece.subject.partition("/reservation/")[2], piece.count) for piece in pieces if piece.kind == "reservation"
    ] == [
        ("i4i.large", 3),
        ("i4i.large/more", 2),
    ]
    needs = {piece.group: needed(piece) for piece in pieces if piece.kind == "node"}
    assert needs == {"db": [pieces[0].subject], "more": [pieces[1].subject]}


def test_an_existing_reservation_serves_one_type_and_no_spot_node() -> None:
    """What fitted the type that is wanted first does not fit another, nor another market."""
    facts = {"use/db/i4i.large": "cr-1"}
    for moved in (replace(DB, instance_type="i4i.xlarge"), replace(DB, market="spot", reserve=False)):
        (node,) = (
            piece
            for piece in chain(*planned(request(DB), topology=Topology((moved,)), facts=facts))
            if piece.kind == "node"
        )
        assert node.consumes is None
        assert "cr-1" not in str(called(node))


def test_groups_that_are_spread_have_pieces_in_each_zone() -> None:
    """Side by side; one key pair serves the region; names count on, and every node gets what its own zone knows."""
    wanted = request(replace(DB, placement_group=True), MONITOR, ssh=Ssh())
    shares = (
        Share("us-east-1b", {"db": 2, "monitor": 1}, {"image/db": "ami-b", "subnet/db": "subnet-b"}),
        Share("us-east-1c", {"db": 1, "monitor": 0}, {"image/db": "ami-c"}),
    )
    place = Placement(REGION, "us-east-1b", ("us-east-1b", "us-east-1c"))
    pieces = planned(wanted, placement=place, shares=shares, facts={"ssh-key": KEY})
    assert [[(piece.kind, piece.zone[-1], piece.group, piece.count) for piece in one] for one in pieces] == [
        [("placement-group", "b", None, 1), ("placement-group", "c", None, 1)],
        [("reservation", "b", "db", 2), ("reservation", "c", "db", 1), ("key-pair", "b", None, 1)],
        [("node", "b", "db", 2), ("node", "b", "monitor", 1), ("node", "c", "db", 1)],
    ]
    assert len({piece.subject for piece in chain(*pieces)}) == len({piece.token for piece in chain(*pieces)}) == 8
    first, _, second = pieces[2]
    assert (first.spec["ImageId"], second.spec["ImageId"]) == ("ami-b", "ami-c")
    assert first.spec["NetworkInterfaces"][0]["SubnetId"] == "subnet-b"
    made = [piece.subject for piece in chain(*pieces[:2])]
    assert needed(first) == [made[0], made[4], made[2]]
    assert needed(second) == [made[1], made[4], made[3]]
    assert first.spec["KeyName"] == second.spec["KeyName"]
    clusters = [called(piece)[1]["GroupName"] for piece in pieces[0]]
    assert len(set(clusters)) == 2
    machine = {"InstanceId": "i-1", "State": {"Name": "running"}, "AmiLaunchIndex": 0}
    tags = called(second)[1]["TagSpecifications"][0]["Tags"]
    assert node(REGION, {**machine, "Tags": tags}).facts["name"] == "db-2"
