"""What the zones of a region say to a topology."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.errors import Refused
from pytest_capacity.model import Fallback, NodeGroup, Offer, Topology
from tests.backends.aws.account import Account, rounds, stranger
from tests.backends.aws.orders import IMAGE, REGION, group, order, request
from tests.emulated import Emulator

DB = group("db", "i4i.large", 3)
MONITOR = group("monitor", "t3.large", reserve=False)


def offers(emulator: Emulator, *groups: NodeGroup, **more: Any) -> dict[str, Offer]:
    """The zones' answers by name."""
    account = Account(emulator, request(*groups, **more))
    return {offer.zone: offer for offer in account.backend.offers(REGION, account.request.topologies["default"])}


def reserved(emulator: Emulator, zone: str, count: int, **more: Any) -> str:
    """A reservation that the user made."""
    asked = {
        "InstanceType": "i4i.large",
        "InstancePlatform": "Linux/UNIX",
        "AvailabilityZone": zone,
        "InstanceCount": count,
        "InstanceMatchCriteria": "targeted",
    }
    made = stranger(emulator).create_capacity_reservation(**{**asked, **more})
    return str(made["CapacityReservation"]["CapacityReservationId"])


def test_zones_come_by_name_with_their_ids(emulator: Emulator) -> None:
    """In the order of their names, for the user's zone letters, and with the id that is the same in every account."""
    found = offers(emulator, DB)
    assert list(found) == sorted(found)
    assert found["us-east-1a"].ok
    assert all(offer.aliases[0] == name[-1] for name, offer in found.items())
    assert all(offer.aliases[1].startswith("use1-az") for offer in found.values())


def test_all_is_read_in_one_round(emulator: Emulator) -> None:
    """Types, zones and images side by side; the reservations only where some are listed."""
    account = Account(emulator, request(DB, MONITOR))
    account.backend.whoami()
    account.backend.regions()
    emulator.reset(latency_ms=1000)
    account.backend.offers(REGION, account.request.topologies["default"])
    calls = emulator.calls()
    assert sorted(call["operation"] for call in calls) == [
        "DescribeAvailabilityZones",
        "DescribeImages",
        "DescribeInstanceTypeOfferings",
        "DescribeSubnets",
    ]
    assert rounds(calls) == 1


def test_a_type_that_no_zone_has_is_named_with_the_nearest(emulator: Emulator) -> None:
    """Its family and its size are looked for in one call more."""
    found = offers(emulator, replace(DB, instance_type="i4i.lrage"))
    assert {offer.why for offer in found.values()} == {"does not offer i4i.lrage (did you mean i4i.large?)"}
    assert len(emulator.calls("DescribeInstanceTypeOfferings")) == 2
    far = offers(emulator, replace(DB, instance_type="i4ii4i.large"))
    assert {offer.why for offer in far.values()} == {"does not offer i4ii4i.large"}


def test_a_zone_without_a_type_cannot_take_the_topology(emulator: Emulator) -> None:
    """And says which type it lacks."""
    emulator.weather(offerings={"us-east-1b": {"exclude": ["i4i.large"]}})
    found = offers(emulator, DB, MONITOR)
    assert (found["us-east-1b"].ok, found["us-east-1b"].why) == (False, "does not offer i4i.large")
    assert found["us-east-1a"].ok


def test_a_zone_without_a_subnet_of_the_users_cannot_take_it(emulator: Emulator) -> None:
    """Where subnets are configured, only their zones count."""
    aws = AwsSettings(image={REGION: IMAGE}, subnets={"us-east-1b": "subnet-1"})
    found = offers(emulator, DB, aws=aws)
    assert [zone for zone, offer in found.items() if offer.ok] == ["us-east-1b"]
    assert "us-east-1b" in found["us-east-1a"].why
    assert found["us-east-1b"].facts["subnet/db"] == "subnet-1"


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("DescribeInstanceTypeOfferings", "UnauthorizedOperation"),
        ("DescribeAvailabilityZones", "UnauthorizedOperation"),
        ("DescribeImages", "UnauthorizedOperation"),
    ],
)
def test_what_may_not_be_read_rules_nothing_out(emulator: Emulator, operation: str, error: str) -> None:
    """A missing right to look costs a question and no zone."""
    emulator.weather(faults=[{"operation": operation, "error": error}])
    found = offers(emulator, DB)
    assert found["us-east-1a"].ok
    assert found["us-east-1a"].facts["platform/db"] == "Linux/UNIX"


@pytest.mark.parametrize("operation", ["DescribeInstanceTypeOfferings", "DescribeImages", "DescribeAvailabilityZones"])
@pytest.mark.parametrize("error", ["RequestLimitExceeded", "InternalError"])
def test_a_bad_moment_is_said(emulator: Emulator, operation: str, error: str) -> None:
    """A later call gets the answer; deciding without it could cost a second reservation, or a wrong platform."""
    emulator.weather(faults=[{"operation": operation, "error": error, "times": 1}])
    with pytest.raises(ClientError, match=error):
        offers(emulator, DB)
    assert offers(emulator, DB)["us-east-1a"].ok


def test_a_region_of_which_nothing_can_be_read_says_why(emulator: Emulator) -> None:
    """Without one name of a zone the cloud's refusal is the answer."""
    emulator.weather(
        faults=[
            {"operation": "DescribeInstanceTypeOfferings", "error": "RequestLimitExceeded"},
            {"operation": "DescribeAvailabilityZones", "error": "RequestLimitExceeded"},
        ]
    )
    with pytest.raises(ClientError, match="RequestLimitExceeded"):
        offers(emulator, DB)


@pytest.mark.parametrize("operation", ["DescribeInstanceTypeOfferings", "DescribeAvailabilityZones", "DescribeImages"])
def test_bad_credentials_are_said_at_once(emulator: Emulator, operation: str) -> None:
    """They are not a zone's fault, and every later call would be answered alike."""
    emulator.weather(faults=[{"operation": operation, "error": "AuthFailure"}])
    with pytest.raises(ClientError, match="AuthFailure"):
        offers(emulator, DB)


def test_an_unknown_image_is_said_before_anything_is_created(emulator: Emulator) -> None:
    """With EC2's own words."""
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        offers(emulator, group("db", "i4i.large", image="ami-00000000000000000"))


def test_an_existing_reservation_serves_the_group_that_fits_in_it_whole(emulator: Emulator) -> None:
    """In its zone, which goes first; no reservation of our own is made there, and elsewhere one is."""
    theirs = reserved(emulator, "us-east-1c", 3)
    account = Account(emulator, request(DB, MONITOR, use_reservations=(theirs,)))
    found = {offer.zone: offer for offer in account.backend.offers(REGION, account.request.topologies["default"])}
    assert [zone for zone, offer in found.items() if offer.preferred] == ["us-east-1c"]
    there, elsewhere = (
        account.backend.plan(order(account.request, found[zone])) for zone in ("us-east-1c", "us-east-1a")
    )
    assert [piece.kind for pieces in there for piece in pieces] == ["node", "node"]
    assert [piece.consumes for piece in there[0]] == [theirs, None]
    assert [piece.kind for pieces in elsewhere for piece in pieces] == ["reservation", "node", "node"]
    nodes = account.make(order(account.request, found["us-east-1c"]))
    assert {node.facts.get("reservation_id") for node in nodes if node.group == "db"} == {theirs}


def test_groups_share_what_an_existing_reservation_has_left(emulator: Emulator) -> None:
    """Counts add up: the third group does not fit any more, and has one of its own."""
    theirs = reserved(emulator, "us-east-1a", 4)
    groups = [group(name, "i4i.large", 2) for name in ("a", "b", "c")]
    facts = offers(emulator, *groups, use_reservations=(theirs,))["us-east-1a"].facts
    assert {key for key in facts if key.startswith("use/")} == {"use/a/i4i.large", "use/b/i4i.large"}


def cluster(emulator: Emulator, name: str = "mine") -> str:
    """The ARN of a cluster placement group that the user made."""
    made = stranger(emulator).create_placement_group(GroupName=name, Strategy="cluster")
    return str(made["PlacementGroup"]["GroupArn"])


CLUSTERED = group("db", "c6i.xlarge", 2, placement_group=True)


@pytest.mark.parametrize(
    ("theirs", "ours", "more", "why"),
    [
        ({"InstanceType": "i4i.xlarge"}, DB, {}, "db is i4i.large"),
        ({"InstancePlatform": "Windows"}, DB, {}, "db is of platform Linux/UNIX, and it of Windows"),
        ({"Tenancy": "dedicated"}, DB, {}, "db has tenancy default, and it dedicated"),
        ({}, group("db", "i4i.large", 4), {}, "db needs 4, and it has 3"),
        ({}, group("db", "i4i.large", cloud={"host_id": "h-0123456789abcdef0"}), {}, "is on a dedicated host"),
        (
            {},
            group("db", "i4i.large", 3, market="spot", reserve=None),
            {"fallback": Fallback(spot_to_on_demand=False)},
            "db is spot, which uses no reservation",
        ),
        ({}, group("db", "i4i.large", 3, placement_group=True), {}, "`placement_group: true`, and it is in no"),
        ({}, DB, {"zones": ("b", "us-east-1c")}, "`zones` are b, us-east-1c"),
    ],
    ids=["type", "platform", "tenancy", "count", "host", "spot", "placement group", "zone"],
)
def test_a_reservation_that_no_node_can_ever_use_is_refused(
    emulator: Emulator, theirs: dict[str, Any], ours: NodeGroup, more: dict[str, Any], why: str
) -> None:
    """A second one would be paid for beside it: the run stops before anything is made, and says what does not fit."""
    listed = reserved(emulator, "us-east-1a", 3, **theirs)
    with pytest.raises(Refused) as caught:
        offers(emulator, ours, use_reservations=(listed,), **more)
    words = str(caught.value)
    assert words.startswith(f"use_reservations names {listed} (3 x ")
    assert why in words
    assert "in us-east-1a), which no node of this run can use" in words
    assert words.endswith("Correct that, or take it out of use_reservations")


def test_a_reservation_in_a_placement_group_needs_nodes_in_one(emulator: Emulator) -> None:
    """EC2 gives it to nodes of that group alone."""
    theirs = reserved(emulator, "us-east-1a", 3, InstanceType="c6i.xlarge", PlacementGroupArn=cluster(emulator))
    with pytest.raises(Refused, match="it is in placement group mine, and db has no `placement_group: true`"):
        offers(emulator, group("db", "c6i.xlarge", 2), use_reservations=(theirs,))


def test_a_reservation_that_was_cancelled_is_refused(emulator: Emulator) -> None:
    """It holds nothing any more."""
    theirs = reserved(emulator, "us-east-1a", 3)
    stranger(emulator).cancel_capacity_reservation(CapacityReservationId=theirs)
    with pytest.raises(Refused, match=f"{theirs} .*which no node of this run can use: it is cancelled"):
        offers(emulator, DB, use_reservations=(theirs,))


def test_a_reservation_for_another_topology_is_no_fault(emulator: Emulator) -> None:
    """Nor is it spoken of: some topology uses it."""
    theirs = reserved(emulator, "us-east-1a", 3)
    topologies = {"default": Topology((MONITOR,)), "big": Topology((DB,), "big")}
    wanted = request(MONITOR, topologies=topologies, use_reservations=(theirs,))
    account = Account(emulator, wanted)
    said = {name: account.backend.offers(REGION, one)[0] for name, one in topologies.items()}
    assert {name: (offer.preferred, offer.unused) for name, offer in said.items()} == {
        "default": (False, {}),
        "big": (True, {}),
    }


def test_a_reservation_that_is_full_says_so(emulator: Emulator) -> None:
    """It may serve another time, so the run goes on; the zone is not preferred for it, and says why it is not used."""
    theirs = reserved(emulator, "us-east-1a", 4)
    target = {"CapacityReservationTarget": {"CapacityReservationId": theirs}}
    stranger(emulator).run_instances(
        ImageId=IMAGE, InstanceType="i4i.large", MinCount=2, MaxCount=2, CapacityReservationSpecification=target
    )
    found = offers(emulator, DB, use_reservations=(theirs,))
    assert not any(offer.preferred for offer in found.values())
    assert found["us-east-1a"].unused == {theirs: "2 of 4 are free, and db needs 3"}
    assert found["us-east-1b"].unused == {theirs: "it is in us-east-1a"}


def test_a_reservation_that_may_not_be_looked_at_says_so(emulator: Emulator) -> None:
    """What cannot be read decides nothing, but it is not silent."""
    theirs = reserved(emulator, "us-east-1a", 4)
    emulator.weather(faults=[{"operation": "DescribeCapacityReservations", "error": "UnauthorizedOperation"}])
    found = offers(emulator, DB, use_reservations=(theirs,))["us-east-1a"]
    assert found.unused[theirs].startswith("it could not be read (UnauthorizedOperation: ")


def test_a_spot_group_may_yet_use_a_reservation(emulator: Emulator) -> None:
    """Once it has become on-demand; its zone is not preferred before."""
    listed = reserved(emulator, "us-east-1a", 3)
    spot = group("db", "i4i.large", 3, market="spot", reserve=None)
    found = offers(emulator, spot, use_reservations=(listed,))["us-east-1a"]
    assert found.serves == {listed: (("db", "i4i.large"),)}
    assert not found.preferred


def test_nodes_join_the_placement_group_in_which_the_reservation_lies(emulator: Emulator) -> None:
    """All groups that ask for one are in it, with the reservations made for them; no second group is made."""
    arn = cluster(emulator)
    theirs = reserved(emulator, "us-east-1c", 2, InstanceType="c6i.xlarge", PlacementGroupArn=arn)
    loader = group("loader", "c6i.large", placement_group=True)
    account = Account(emulator, request(CLUSTERED, loader, MONITOR, use_reservations=(theirs,)))
    found = {offer.zone: offer for offer in account.backend.offers(REGION, account.request.topologies["default"])}
    there, elsewhere = (
        account.backend.plan(order(account.request, found[zone])) for zone in ("us-east-1c", "us-east-1a")
    )
    assert [piece.kind for pieces in there for piece in pieces] == ["reservation", "node", "node", "node"]
    assert next(piece.kind for pieces in elsewhere for piece in pieces) == "placement-group"
    assert there[0][0].spec["PlacementGroupArn"] == arn
    made = account.make(order(account.request, found["us-east-1c"], now=time.time()))
    ec2 = stranger(emulator)
    described = ec2.describe_instances(InstanceIds=[held.id for held in made if held.kind == "node"])
    placed = [
        (one["InstanceType"], one["Placement"].get("GroupName"), one.get("CapacityReservationId") == theirs)
        for some in described["Reservations"]
        for one in some["Instances"]
    ]
    assert sorted(placed, key=str) == [
        ("c6i.large", "mine", False),
        ("c6i.xlarge", "mine", True),
        ("c6i.xlarge", "mine", True),
        ("t3.large", "", False),
    ]
    assert [one["GroupName"] for one in ec2.describe_placement_groups()["PlacementGroups"]] == ["mine"]


def test_one_placement_group_is_used_of_two(emulator: Emulator) -> None:
    """Groups that ask for a placement group are in the same one, so a reservation in another one serves none."""
    first, second = (
        reserved(emulator, "us-east-1a", 2, InstanceType="c6i.xlarge", PlacementGroupArn=cluster(emulator, name))
        for name in ("one", "two")
    )
    other = group("loader", "c6i.xlarge", 2, placement_group=True)
    found = offers(emulator, CLUSTERED, other, use_reservations=(first, second))["us-east-1a"]
    assert found.serves == {first: (("db", "c6i.xlarge"),)}
    assert found.facts["cluster"].endswith("/one")
    assert found.unused == {second: "it is in placement group two, and the nodes are in one"}


def test_a_group_that_has_become_spot_is_in_a_placement_group_of_the_run(emulator: Emulator) -> None:
    """It uses no reservation, so nothing holds it to that of the user; its nodes are told from those that do."""
    theirs = reserved(emulator, "us-east-1a", 2, InstanceType="c6i.xlarge", PlacementGroupArn=cluster(emulator))
    spot = group("db", "c6i.xlarge", 2, market="spot", placement_group=True)
    wanted = request(spot, use_reservations=(theirs,))
    offer = offers(emulator, spot, use_reservations=(theirs,))["us-east-1a"]
    first = order(wanted, offer)
    later = order(wanted, offer, topology=Topology((replace(spot, market="on-demand"),)))
    backend = Account(emulator, wanted).backend
    kinds = {name: [p.kind for ps in backend.plan(one) for p in ps] for name, one in (("1", first), ("2", later))}
    assert kinds == {"1": ["placement-group", "node"], "2": ["node"]}
    assert backend.plan(later)[0][0].subject.endswith("/node/db/c6i.xlarge/in-mine")


def test_a_listed_reservation_that_is_nowhere_is_refused(emulator: Emulator) -> None:
    """A typing error would reserve, and bill, a second time."""
    with pytest.raises(Refused, match="cr-0123456789abcdef0 in us-east-1"):
        offers(emulator, DB, use_reservations=("cr-0123456789abcdef0",))


def test_a_resource_group_is_the_target_of_all_that_would_reserve(emulator: Emulator) -> None:
    """EC2 finds the room in it; groups that do not reserve stay out."""
    pool = "arn:aws:resource-groups:us-east-1:123456789012:group/pool"
    found = offers(emulator, DB, MONITOR, use_reservations=(pool,))["us-east-1a"]
    assert {key: value for key, value in found.facts.items() if key.startswith("use/")} == {"use/db/i4i.large": pool}


def test_an_image_says_its_platform(emulator: Emulator) -> None:
    """A reservation of another platform would not take the node; what the user says goes first."""
    windows = group("db", "i4i.large", image="ami-0e000000000000002")
    assert offers(emulator, windows)["us-east-1a"].facts["platform/db"] == "Windows"
    said = AwsSettings(platform="Red Hat Enterprise Linux")
    assert offers(emulator, windows, aws=said)["us-east-1a"].facts["platform/db"] == "Red Hat Enterprise Linux"


def test_a_zone_says_which_types_it_lacks(emulator: Emulator) -> None:
    """Alternatives are asked for in the same call, and a zone will do as long as each group has a type left."""
    emulator.weather(
        offerings={
            "us-east-1a": {"exclude": ["i4i.xlarge"]},
            "us-east-1b": {"exclude": ["i4i.large"]},
            "us-east-1c": {"exclude": ["i4i.large", "i4i.xlarge", "t3.large"]},
        }
    )
    either = group("db", "i4i.large", 3, alternatives=("i4i.xlarge",))
    found = offers(emulator, either, MONITOR)
    said = {zone[-1]: (offer.ok, offer.lacks, offer.why) for zone, offer in found.items() if zone[-1] in "abcd"}
    assert said == {
        "a": (True, ("i4i.xlarge",), ""),
        "b": (True, ("i4i.large",), ""),
        "c": (False, ("i4i.large", "i4i.xlarge", "t3.large"), "does not offer i4i.large, i4i.xlarge, t3.large"),
        "d": (True, (), ""),
    }
    assert len(emulator.calls("DescribeInstanceTypeOfferings")) == 1
    firm = offers(emulator, either, fallback=Fallback(instance_types=False))
    assert (firm["us-east-1b"].ok, firm["us-east-1b"].why) == (False, "does not offer i4i.large")


def test_an_existing_reservation_of_another_type_serves_where_the_group_has_moved(emulator: Emulator) -> None:
    """Each of the group's types is matched, the zone is preferred for the first only, and room is given out once."""
    theirs = reserved(emulator, "us-east-1a", 4, InstanceType="i4i.xlarge")
    groups = [group(name, "i4i.large", 3, alternatives=("i4i.xlarge",)) for name in ("a", "b")]
    found = offers(emulator, *groups, use_reservations=(theirs,))["us-east-1a"]
    assert {key: id_ for key, id_ in found.facts.items() if key.startswith("use/")} == {"use/a/i4i.xlarge": theirs}
    assert not found.preferred


def test_a_spot_group_that_stays_spot_uses_no_reservation(emulator: Emulator) -> None:
    """Only where it may become on-demand is there anything to match."""
    theirs = reserved(emulator, "us-east-1a", 6)
    groups = group("db", "i4i.large", 3, market="spot", reserve=None), group("other", "i4i.large", 3)
    facts = {
        may: offers(emulator, *groups, use_reservations=(theirs,), fallback=Fallback(spot_to_on_demand=may))[
            "us-east-1a"
        ].facts
        for may in (True, False)
    }
    assert [facts[may].get("use/db/i4i.large") for may in (True, False)] == [theirs, None]


def test_images_of_another_architecture_are_refused_before_anything_is_created(emulator: Emulator) -> None:
    """All groups and types at once, each with what does not go together."""
    arm = "ami-0e000000000000001"
    wrong = (
        group("db", "i4i.large", alternatives=("i4g.large",)),
        group("loader", "c7g.large", image=arm, alternatives=("c6i.large",)),
        MONITOR,
    )
    with pytest.raises(Refused) as refused:
        offers(emulator, *wrong)
    words = str(refused.value)
    assert f"group 'db' asks for i4g.large (arm64) with the image {IMAGE} (x86_64)" in words
    assert f"group 'loader' asks for c6i.large (x86_64) with the image {arm} (arm64)" in words
    assert "monitor" not in words
    assert "Nothing was created" in words
    right = (group("db", "i4g.large", image=arm), MONITOR)
    assert offers(emulator, *right)["us-east-1a"].ok
