"""Machines that are stopped, changed and started again, and their disks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.emulated import Emulator
from tests.emulator.asking import aimed, only, refused, reserve, run, state

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def stopped(ec2: EC2Client, **launch: Any) -> str:
    """A machine that was started and stopped."""
    (node,) = run(ec2, **launch)
    id_: str = node["InstanceId"]
    ec2.stop_instances(InstanceIds=[id_])
    return id_


def aim(ec2: EC2Client, id_: str, specification: Any) -> None:
    ec2.modify_instance_capacity_reservation_attributes(InstanceId=id_, CapacityReservationSpecification=specification)


def size(ec2: EC2Client, volume: str) -> int:
    (found,) = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    return found["Size"]


def test_a_stopped_machine_neither_bills_nor_takes_a_seat(emulator: Emulator, ec2: EC2Client) -> None:
    """Stopping takes its time; then the seat in the reservation is free, and a start takes it again."""
    emulator.weather(stop_s=30)
    reservation = reserve(ec2, 1)
    (node,) = run(ec2, CapacityReservationSpecification=aimed(reservation))
    id_ = node["InstanceId"]
    (change,) = ec2.stop_instances(InstanceIds=[id_])["StoppingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "stopping")
    assert state(ec2, id_) == "stopping"
    with refused("IncorrectInstanceState"):
        ec2.start_instances(InstanceIds=[id_])
    emulator.weather(clock={"advance_s": 30})
    assert state(ec2, id_) == "stopped"
    (seats,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    assert seats["AvailableInstanceCount"] == 1
    ec2.stop_instances(InstanceIds=[id_])
    (change,) = ec2.start_instances(InstanceIds=[id_])["StartingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("stopped", "pending")
    (launch,) = ec2.describe_instances(InstanceIds=[id_])["Reservations"]
    assert launch["Instances"][0]["CapacityReservationId"] == reservation["CapacityReservationId"]


def test_spot_machines_and_pending_ones_are_not_stopped(emulator: Emulator, ec2: EC2Client) -> None:
    """A one-time spot machine cannot be stopped, nor one that is still starting or is gone."""
    (spot,) = run(ec2, InstanceMarketOptions={"MarketType": "spot"})
    with refused("UnsupportedOperation"):
        ec2.stop_instances(InstanceIds=[spot["InstanceId"]])
    emulator.weather(boot_s=60)
    (pending,) = run(ec2)
    with refused("IncorrectInstanceState"):
        ec2.stop_instances(InstanceIds=[pending["InstanceId"]])
    ec2.terminate_instances(InstanceIds=[pending["InstanceId"]])
    with refused("IncorrectInstanceState"):
        ec2.start_instances(InstanceIds=[pending["InstanceId"]])


def test_the_type_changes_while_it_is_stopped(ec2: EC2Client) -> None:
    """To one that exists, of the image's architecture; and a running machine keeps its own."""
    id_ = stopped(ec2, InstanceType="c6i.large")
    for type_, code in (("c6g.large", "InvalidParameterValue"), ("c6i.none", "InvalidInstanceAttributeValue")):
        with refused(code):
            ec2.modify_instance_attribute(InstanceId=id_, InstanceType={"Value": type_})
    ec2.modify_instance_attribute(InstanceId=id_, InstanceType={"Value": "c6i.xlarge"})
    ec2.start_instances(InstanceIds=[id_])
    (launch,) = ec2.describe_instances(InstanceIds=[id_])["Reservations"]
    assert launch["Instances"][0]["InstanceType"] == "c6i.xlarge"
    with refused("IncorrectInstanceState"):
        ec2.modify_instance_attribute(InstanceId=id_, InstanceType={"Value": "c6i.large"})
    with refused("IncorrectInstanceState"):
        aim(ec2, id_, {"CapacityReservationPreference": "none"})


def test_a_start_needs_the_place_at_which_it_is_aimed(emulator: Emulator, ec2: EC2Client) -> None:
    """A reservation of another type is not compatible; aimed at none, what the zone has is taken, if it has any."""
    id_ = stopped(ec2, InstanceType="c6i.large")
    other = reserve(ec2, 1, InstanceType="c6i.xlarge")
    aim(ec2, id_, aimed(other))
    with refused("ReservationCapacityExceeded"):
        ec2.start_instances(InstanceIds=[id_])
    aim(ec2, id_, {"CapacityReservationPreference": "none"})
    emulator.weather(stock={"us-east-1a": {"c6i.large": 0}})
    with refused("InsufficientInstanceCapacity", 500):
        ec2.start_instances(InstanceIds=[id_])
    emulator.weather(stock={})
    ec2.start_instances(InstanceIds=[id_])
    assert state(ec2, id_) == "running"


def test_a_volume_grows_once_in_six_hours(emulator: Emulator, ec2: EC2Client) -> None:
    """It has the size of its launch, is never made smaller, and is as large as before while it is being changed."""
    emulator.weather(operation_s=60)
    disks = [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20}},
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5}},
    ]
    (node,) = run(ec2, BlockDeviceMappings=disks)
    first, second = ec2.describe_volumes(Filters=only("attachment.instance-id", node["InstanceId"]))["Volumes"]
    assert (first["Size"], second["Size"]) == (20, 5)
    volume = first["VolumeId"]
    with refused("InvalidParameterValue"):
        ec2.modify_volume(VolumeId=volume, Size=10)
    began = ec2.modify_volume(VolumeId=volume, Size=50)["VolumeModification"]
    assert (began["ModificationState"], began["OriginalSize"], began["TargetSize"]) == ("modifying", 20, 50)
    with refused("IncorrectModificationState"):
        ec2.modify_volume(VolumeId=volume, Size=60)
    assert size(ec2, volume) == 20
    emulator.weather(clock={"advance_s": 60})
    assert size(ec2, volume) == 50
    (modification,) = ec2.describe_volumes_modifications()["VolumesModifications"]
    assert modification["ModificationState"] == "optimizing"
    with refused("VolumeModificationRateExceeded"):
        ec2.modify_volume(VolumeId=volume, Size=60)
    emulator.weather(clock={"advance_s": 6 * 3600})
    ec2.modify_volume(VolumeId=volume, Size=60)
    ec2.terminate_instances(InstanceIds=[node["InstanceId"]])
    assert ec2.describe_volumes()["Volumes"] == []
    with refused("InvalidVolume.NotFound"):
        ec2.modify_volume(VolumeId=volume, Size=70)
