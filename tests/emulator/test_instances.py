from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulated import Emulator
from tests.emulator.asking import ZONE, aimed, only, refused, reserve, run, state, tagged

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from tests.emulator.conftest import Connect


def ids_of(nodes: list[Any]) -> list[str]:
    return [node["InstanceId"] for node in nodes]


def listed(ec2: EC2Client, *filters: Any) -> list[str]:
    answer = ec2.describe_instances(Filters=[one for group in filters for one in group])
    return [node["InstanceId"] for launch in answer["Reservations"] for node in launch["Instances"]]


def test_a_machine_lives_by_the_clock_of_the_world(emulator: Emulator, ec2: EC2Client) -> None:
    """pending, running, shutting-down, terminated; listed for an hour after that, then forgotten."""
    emulator.weather(boot_s=60, stop_s=30)
    (node,) = run(ec2)
    id_ = node["InstanceId"]
    assert (node["State"], state(ec2, id_)) == ({"Code": 0, "Name": "pending"}, "pending")
    emulator.weather(clock={"advance_s": 60})
    assert state(ec2, id_) == "running"
    (change,) = ec2.terminate_instances(InstanceIds=[id_])["TerminatingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "shutting-down")
    assert state(ec2, id_) == "shutting-down"
    assert [one["state"] for one in emulator.held()] == ["shutting-down"]
    emulator.weather(clock={"advance_s": 30})
    assert state(ec2, id_) == "terminated"
    assert emulator.held() == []
    emulator.weather(clock={"advance_s": 3601})
    with refused("InvalidInstanceID.NotFound"):
        state(ec2, id_)


def test_a_launch_is_answered_as_pending_even_if_booting_takes_no_time(ec2: EC2Client) -> None:
    """RunInstances never answers running; the next listing may."""
    (node,) = run(ec2)
    assert node["State"]["Name"] == "pending"
    assert state(ec2, node["InstanceId"]) == "running"


def test_a_machine_may_die_before_it_runs(emulator: Emulator, ec2: EC2Client) -> None:
    """A scripted boot fault ends one machine, with EC2's words about why, and it costs nothing."""
    code = "Server.InsufficientInstanceCapacity"
    emulator.weather(boot_s=10, faults=[{"operation": "boot", "zone": ZONE, "error": code, "times": 1}])
    nodes = run(ec2, 2)
    assert len(emulator.held()) == 2
    emulator.weather(clock={"advance_s": 11})
    answer = ec2.describe_instances(InstanceIds=ids_of(nodes))["Reservations"][0]["Instances"]
    dead, alive = sorted(answer, key=lambda node: node["State"]["Name"], reverse=True)
    assert (dead["State"]["Name"], alive["State"]["Name"]) == ("terminated", "running")
    assert dead["StateReason"]["Code"] == code
    assert dead["StateReason"]["Message"].startswith(f"{code}: ")
    assert "StateReason" not in alive
    assert [one["id"] for one in emulator.held()] == [alive["InstanceId"]]


def test_terminate_takes_all_or_none(emulator: Emulator, ec2: EC2Client) -> None:
    """An unknown or malformed id refuses the whole call; a second time is no error."""
    ids = ids_of(run(ec2, 2))
    with refused("InvalidInstanceID.NotFound") as said:
        ec2.terminate_instances(InstanceIds=[*ids, "i-00000000000000000"])
    assert "i-00000000000000000" in said.words
    with refused("InvalidInstanceID.Malformed"):
        ec2.terminate_instances(InstanceIds=[*ids, "node"])
    assert len(emulator.held()) == 2
    for before in ("running", "terminated"):
        changes = ec2.terminate_instances(InstanceIds=ids)["TerminatingInstances"]
        assert {change["PreviousState"]["Name"] for change in changes} == {before}
    (reason,) = {node["StateReason"]["Code"] for node in _all(ec2)}
    assert reason == "Client.UserInitiatedShutdown"


def _all(ec2: EC2Client) -> list[Any]:
    return [node for launch in ec2.describe_instances()["Reservations"] for node in launch["Instances"]]


def test_a_protected_machine_is_not_terminated(emulator: Emulator, ec2: EC2Client) -> None:
    """disableApiTermination refuses the call until it is taken away."""
    (id_,) = ids_of(run(ec2, DisableApiTermination=True))
    with refused("OperationNotPermitted"):
        ec2.terminate_instances(InstanceIds=[id_])
    ec2.modify_instance_attribute(InstanceId=id_, DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=[id_])
    assert emulator.held() == []


def test_filters(ec2: EC2Client) -> None:
    """Each documented filter that matters to finding one's own machines."""
    held = reserve(ec2)
    ec2.create_placement_group(GroupName="close", Strategy="cluster")
    placed = {"AvailabilityZone": ZONE, "GroupName": "close"}
    (in_group,) = ids_of(run(ec2, ClientToken="t1", Placement=placed, TagSpecifications=tagged("instance", run="r1")))
    (reserved,) = ids_of(run(ec2, CapacityReservationSpecification=aimed(held)))
    (gone,) = ids_of(run(ec2, Placement={"AvailabilityZone": "us-east-1b"}))
    ec2.terminate_instances(InstanceIds=[gone])
    assert listed(ec2, only("instance-state-name", "pending", "running")) == [in_group, reserved]
    assert listed(ec2, only("tag:run", "r1")) == [in_group]
    assert listed(ec2, only("tag-key", "run")) == [in_group]
    assert listed(ec2, only("client-token", "t1")) == [in_group]
    assert listed(ec2, only("placement-group-name", "close")) == [in_group]
    assert listed(ec2, only("capacity-reservation-id", held["CapacityReservationId"])) == [reserved]
    assert listed(ec2, only("availability-zone", "us-east-1b")) == [gone]
    assert listed(ec2, only("instance.group-name", "default"), only("availability-zone", ZONE)) == [in_group, reserved]
    with refused("InvalidParameterValue"):
        listed(ec2, only("colour", "blue"))
    with refused("InvalidParameterValue"):
        ec2.describe_instances(Filters=[{"Name": "tag:run", "Values": []}])


def test_pages_lose_no_machine(ec2: EC2Client) -> None:
    """MaxResults counts machines, and a launch may go on in the next page."""
    ids = ids_of(run(ec2, 12))
    pages = list(ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
    seen = [node["InstanceId"] for page in pages for launch in page["Reservations"] for node in launch["Instances"]]
    assert (len(pages), seen) == (3, ids)
    with refused("InvalidParameterCombination"):
        ec2.describe_instances(InstanceIds=ids, MaxResults=5)
    with refused("InvalidParameterValue"):
        ec2.describe_instances(MaxResults=4)


def test_what_a_launch_set_can_be_read(ec2: EC2Client) -> None:
    """Shutdown behaviour and user data come back as attributes."""
    (id_,) = ids_of(run(ec2, UserData="#!/bin/sh\n", InstanceInitiatedShutdownBehavior="terminate"))
    behaviour = ec2.describe_instance_attribute(InstanceId=id_, Attribute="instanceInitiatedShutdownBehavior")
    assert behaviour["InstanceInitiatedShutdownBehavior"] == {"Value": "terminate"}
    data = ec2.describe_instance_attribute(InstanceId=id_, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(data) == b"#!/bin/sh\n"
    with refused("InvalidParameterValue"):
        ec2.describe_instance_attribute(InstanceId=id_, Attribute="kernel")


def test_status_is_of_running_machines(emulator: Emulator, ec2: EC2Client) -> None:
    """DescribeInstanceStatus leaves out what does not run, unless it is asked for all."""
    emulator.weather(boot_s=60)
    run(ec2)
    assert ec2.describe_instance_status()["InstanceStatuses"] == []
    (status,) = ec2.describe_instance_status(IncludeAllInstances=True)["InstanceStatuses"]
    assert status["InstanceState"]["Name"] == "pending"


def test_machines_are_of_their_region(connect: Connect) -> None:
    """Another region neither lists nor terminates them."""
    ids = ids_of(run(connect()))
    other = connect("eu-west-1")
    assert listed(other) == []
    with refused("InvalidInstanceID.NotFound"):
        other.terminate_instances(InstanceIds=ids)


@pytest.mark.parametrize("kind", ["instance", "capacity-reservation", "placement-group"])
def test_tags_are_added_and_taken_away(emulator: Emulator, ec2: EC2Client, kind: str) -> None:
    """CreateTags and DeleteTags work alike on all that the World keeps."""
    if kind == "instance":
        (id_,) = ids_of(run(ec2))
    elif kind == "capacity-reservation":
        id_ = reserve(ec2)["CapacityReservationId"]
    else:
        id_ = ec2.create_placement_group(GroupName="g", Strategy="spread")["PlacementGroup"]["GroupId"]
    ec2.create_tags(Resources=[id_], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    assert emulator.held()[0]["tags"] == {"a": "1", "b": "2"}
    tags = ec2.describe_tags(Filters=only("resource-id", id_))["Tags"]
    assert [(tag["Key"], tag["ResourceType"]) for tag in tags] == [("a", kind), ("b", kind)]
    ec2.delete_tags(Resources=[id_], Tags=[{"Key": "a"}, {"Key": "b", "Value": "not this"}])
    assert emulator.held()[0]["tags"] == {"b": "2"}
    ec2.delete_tags(Resources=[id_])
    assert emulator.held()[0]["tags"] == {}


def test_tags_are_refused_for_what_is_not_there(ec2: EC2Client) -> None:
    """All or none, and moto keeps the tags of networks."""
    (id_,) = ids_of(run(ec2))
    tags: Any = [{"Key": "a", "Value": "1"}]
    with refused("InvalidCapacityReservationId.NotFound"):
        ec2.create_tags(Resources=[id_, "cr-00000000000000000"], Tags=tags)
    with refused("InvalidParameterValue"):
        ec2.create_tags(Resources=[id_], Tags=[{"Key": "", "Value": ""}])
    assert ec2.describe_tags()["Tags"] == []
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    with refused("UnsupportedOperation"):
        ec2.create_tags(Resources=[id_, subnet], Tags=tags)
    ec2.create_tags(Resources=[subnet], Tags=tags)
    assert ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["Tags"] == tags


def test_what_the_emulator_does_not_know_is_said_so(ec2: EC2Client) -> None:
    """No operation on machines is answered by a service that knows none of them."""
    (id_,) = ids_of(run(ec2))
    with refused("UnsupportedOperation") as said:
        ec2.reboot_instances(InstanceIds=[id_])
    assert "RebootInstances" in said.words
