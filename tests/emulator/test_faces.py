"""The interface of faces, and what each region and service of AWS answers through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from pytest_capacity.emulator.catalogue import MachineType, Place, TableCatalogue
from pytest_capacity.emulator.refusal import NoStock, OverQuota, Refusal, StaleVersion
from pytest_capacity.emulator.things import Machine, Operation, Other
from pytest_capacity.emulator.view import held, tell
from pytest_capacity.emulator.weather import WeatherError, read_change
from pytest_capacity.emulator.world import World
from tests.emulated import Emulator
from tests.emulator.asking import ZONE, aimed, reserve, run
from tests.emulator.gce.calls import reservation

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from tests.emulator.conftest import Connect


class Wall:
    """A clock that stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def two_clouds() -> tuple[World, Wall]:
    wall = Wall()
    world = World(wall, lambda digits: "0" * digits)
    for cloud in ("left", "right"):
        types = {"small": MachineType(2, 8, hourly=3.6)}
        world.add_cloud(cloud, TableCatalogue({"north": ("1", "2"), "south": ("1",)}, types, ["Make"]))
    return world, wall


def weather(world: World, **parts: Any) -> None:
    world.change(read_change(parts, world.names))


def machine(world: World, cloud: str, id_: str, **more: Any) -> Machine:
    asked: dict[str, Any] = {"region": "north", "zone": "1", "type": "small", "running_at": world.clock.now(), **more}
    made = Machine(**world.born(cloud), id=id_, kind="machine", **asked)
    world.room().seats(Place(cloud, made.region, made.zone), made.type, made.market, 1, 1)
    world.add_machine(made)
    return made


def test_times_and_faults_may_be_those_of_one_cloud() -> None:
    """Of the others, none; without a name they are those of every cloud. An unknown name is refused."""
    world, _ = two_clouds()
    weather(world, latency_ms={"left": 20}, boot_s=5, faults=[{"cloud": "left", "operation": "Make", "error": "Odd"}])
    assert [world.weather.of("latency_ms", cloud) for cloud in ("left", "right")] == [20, 0]
    assert [world.weather.of("boot_s", cloud) for cloud in ("left", "right")] == [5, 5]
    struck = [world.faults.strike(cloud, "Make", "north").error is not None for cloud in ("left", "right")]
    assert struck == [True, False]
    for part in ({"latency_ms": {"middle": 1}}, {"faults": [{"cloud": "middle", "error": "Odd"}]}):
        with pytest.raises(WeatherError, match="'middle'"):
            weather(world, **part)


def test_several_clouds_live_in_one_emulator(emulator: Emulator, ec2: EC2Client) -> None:
    """Each call and each thing says whose it is, and a fault of one cloud leaves the other."""
    url = f"{emulator.url}/compute/v1/projects/emulated-project/zones/us-central1-a/reservations"
    bearer = {"Authorization": f"Bearer {emulator.secret}"}
    reserve(ec2)
    assert requests.post(url, json=reservation("held"), headers=bearer, timeout=60).ok
    assert sorted(one["cloud"] for one in emulator.world()["held"]) == ["aws", "gce"]
    assert {one["cloud"] for one in emulator.calls()} == {"aws", "gce"}
    emulator.weather(faults=[{"cloud": "gce", "error": "INTERNAL", "http": 500}])
    reserve(ec2)
    assert requests.post(url, json=reservation("other"), headers=bearer, timeout=60).status_code == 500
    assert sorted(one["cloud"] for one in emulator.world()["held"]) == ["aws", "aws", "gce"]


def test_stock_of_zones_with_one_name_is_apart() -> None:
    """Zone 1 of one cloud or region has run dry, those of the others have not; a plain `1` is refused."""
    world, _ = two_clouds()
    weather(world, stock={"left/north/1": {"*": 1}, "right/south/1": {"*": 0}})
    machine(world, "left", "a")
    with pytest.raises(NoStock) as caught:
        machine(world, "left", "b")
    assert caught.value.elsewhere == ("2",)
    machine(world, "right", "c")
    with pytest.raises(NoStock):
        machine(world, "right", "d", region="south")
    with pytest.raises(WeatherError, match=r"'1' may be left/north/1, left/south/1"):
        weather(world, stock={"1": {"*": 0}})


def test_quota_counts_in_a_region_and_over_all() -> None:
    """The tighter of the two limits refuses, and says what is used."""
    world, _ = two_clouds()
    weather(world, quota={"left/*": {"vcpus": 4}, "left/north": {"vcpus": 8}})
    machine(world, "left", "a")
    machine(world, "left", "b", region="south")
    with pytest.raises(OverQuota) as caught:
        machine(world, "left", "c")
    assert (caught.value.region, caught.value.limit, caught.value.used, caught.value.left) == ("", 4, 4, 0)
    machine(world, "right", "d")


def test_an_operation_takes_time_and_may_fail_at_its_end() -> None:
    """Its end comes once, by the clock, with the error that it was begun with."""
    world, wall = two_clouds()
    ended: list[str] = []
    common: dict[str, Any] = {"kind": "operation", "region": "north", "verb": "Make", "target": "x"}
    for id_, error in (("good", None), ("bad", Refusal("NoSpace", "none left"))):
        born = world.born("left")
        then = lambda one: ended.append(one.id)  # noqa: E731
        world.begin(Operation(**born, **common, id=id_, done_at=1005.0, error=error, then=then))
    world.settle()
    assert [one["state"] for one in tell(world, calls=False)["operations"]] == ["running", "running"]
    wall.now = 1005.0
    world.settle()
    world.settle()
    assert ended == ["good", "bad"]
    assert [one["state"] for one in tell(world, calls=False)["operations"]] == ["done", "failed"]


def test_a_stopped_machine_starts_again_if_there_is_room() -> None:
    """It bills nothing and holds no place while stopped, and asks for one when it starts."""
    world, wall = two_clouds()
    weather(world, stock={"left/north/1": {"*": 1}})
    one = machine(world, "left", "a")
    wall.now += 100
    world.stop(one)
    other = machine(world, "left", "b")
    wall.now += 1000
    with pytest.raises(NoStock):
        world.start(one)
    world.leave(other)
    world.start(one)
    assert one.stage(wall.now) == "running"
    assert world.meter.bill(wall.now)["usd"] == pytest.approx(0.1 + 1.0)


def test_a_container_takes_its_contents_along() -> None:
    """Machines leave, other things are gone with their bills, and a stale version changes nothing."""
    world, wall = two_clouds()
    group = Other(**world.born("left"), id="g", kind="group", region="north")
    disk = Other(**world.born("left"), id="d", kind="disk", region="north", container="g", hourly=3.6)
    world.add(group)
    world.add(disk)
    one = machine(world, "left", "a", container="g")
    with pytest.raises(StaleVersion):
        world.check_version(disk, "7")
    wall.now += 1000
    world.remove_contents("g")
    assert one.stage(wall.now) == "gone"
    assert [held["id"] for held in held(world)] == ["g"]
    assert world.meter.bill(wall.now + 500)["usd"] == pytest.approx(2.0)


@pytest.mark.parametrize("region", ["us-gov-west-1", "cn-north-1", "ap-southeast-7", "mx-central-1", "ap-east-2"])
def test_every_region_answers(connect: Connect, region: str) -> None:
    """A region without offerings has an empty list of them; its ARNs are of its partition."""
    ec2 = connect(region)
    offered = ec2.describe_instance_type_offerings(LocationType="availability-zone")["InstanceTypeOfferings"]
    assert isinstance(offered, list)
    arn = ec2.create_placement_group(GroupName="g", Strategy="cluster")["PlacementGroup"]["GroupArn"]
    partition = {"us-gov": "aws-us-gov", "cn-nor": "aws-cn"}.get(region[:6], "aws")
    assert arn.startswith(f"arn:{partition}:ec2:{region}:")


def test_the_use_of_a_reservation_is_told(ec2: EC2Client) -> None:
    """How many machines sit in it, and whose."""
    held = reserve(ec2, 2)
    run(ec2, CapacityReservationSpecification=aimed(held))
    told = ec2.get_capacity_reservation_usage(CapacityReservationId=held["CapacityReservationId"])
    assert (told["TotalInstanceCount"], told["AvailableInstanceCount"], told["State"]) == (2, 1, "active")
    assert [(one["AccountId"], one["UsedInstanceCount"]) for one in told["InstanceUsages"]] == [("123456789012", 1)]


def test_quotas_are_told(emulator: Emulator) -> None:
    """Service Quotas tells what the weather limits."""
    emulator.weather(quota={"us-east-1": {"vcpus": 64, "spot_vcpus": 0}})
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": emulator.secret}
    make: Any = boto3.client
    quotas = make("service-quotas", "us-east-1", endpoint_url=emulator.url, **keys)
    told = {one["QuotaCode"]: one["Value"] for one in quotas.list_service_quotas(ServiceCode="ec2")["Quotas"]}
    assert told == {"L-1216C47A": 64.0, "L-34B43A08": 0.0}
    assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-1216C47A")["Quota"]["Value"] == 64.0
    with pytest.raises(quotas.exceptions.NoSuchResourceException):
        quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-0")


def test_what_a_service_does_not_know_is_refused(emulator: Emulator) -> None:
    """In its own words; they name what the emulator knows of it."""
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": emulator.secret}
    make: Any = boto3.client
    for service, operation, known, code in (
        ("service-quotas", "list_services", "ListServiceQuotas", "IllegalArgumentException"),
        ("ssm", "describe_parameters", "GetParameter", "UnknownOperationException"),
    ):
        with pytest.raises(ClientError, match=known) as caught:
            getattr(make(service, "us-east-1", endpoint_url=emulator.url, **keys), operation)()
        assert caught.value.response["Error"]["Code"] == code


def test_a_late_fault_comes_after_acceptance(emulator: Emulator, ec2: EC2Client) -> None:
    """The reservation is pending, then failed, and was never billed."""
    fault = {"cloud": "aws", "operation": "CreateCapacityReservation", "error": "Odd", "late": True, "times": 1}
    emulator.weather(pending_s=5, faults=[fault])
    held = reserve(ec2)
    assert held["State"] == "pending"
    emulator.weather(clock={"advance_s": 5})
    (told,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    assert (told["State"], told["AvailabilityZone"]) == ("failed", ZONE)
    assert emulator.held() == []
    assert emulator.world()["bill"]["usd"] == 0
