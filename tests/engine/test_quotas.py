"""What the account's quotas allow stands in the plan."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_capacity.model import NodeGroup
from pytest_capacity.preview import Plan
from pytest_capacity.report import tables
from tests.backends.aws.account import stranger
from tests.emulated import IMAGE, Emulator
from tests.engine.runs import DB, LOADER, Bench, request


def cells(plan: Plan) -> Sequence[str]:
    """The lines of the rungs, with their columns apart."""
    return ["|".join(line.split("  ")) for line in tables.plan(plan) if line.startswith("  ")]


def test_the_room_is_read_from_the_account(bench: Bench, emulator: Emulator) -> None:
    """vCPUs by market: three i4i.large and a c6i.xlarge are 10; machines and reservations count against the limit."""
    emulator.weather(quota={"us-east-1": {"vcpus": 64, "spot_vcpus": 5}})
    spot = NodeGroup(name="spot", count=4, instance_type="c6i.large", market="spot")
    wanted = request(emulator, DB, LOADER, spot, zones=("a",))
    rung, moved = bench.plan_of(wanted).topologies["default"].rungs
    assert [(one.market, one.asked, one.limit, one.free, one.enough) for one in rung.room] == [
        ("on-demand", 10, 64, 64, True),
        ("spot", 8, 5, 5, False),
    ]
    assert [(one.market, one.asked) for one in moved.room] == [("on-demand", 18)]
    assert any("10 of 64 vCPUs, 8, and 5 of 5 vCPUs are free" in line for line in tables.plan(bench.plan_of(wanted)))
    cloud = stranger(emulator)
    some = {"ImageId": IMAGE, "InstanceType": "c6i.4xlarge", "MinCount": 1, "MaxCount": 1}
    cloud.run_instances(**some)
    asked = {"InstanceType": "i4i.xlarge", "InstancePlatform": "Linux/UNIX", "AvailabilityZone": "us-east-1a"}
    cloud.create_capacity_reservation(**asked, InstanceCount=2)
    stopped = cloud.run_instances(**{**some, "InstanceType": "t3.large"})["Instances"][0]["InstanceId"]
    cloud.terminate_instances(InstanceIds=[stopped])
    rung = bench.plan_of(wanted).topologies["default"].rungs[0]
    assert [(one.market, one.free) for one in rung.room] == [("on-demand", 64 - 16 - 8), ("spot", 5)]


def test_each_region_has_its_own(bench: Bench, emulator: Emulator) -> None:
    """And nothing is read but of regions of the run."""
    emulator.weather(quota={"us-east-1": {"vcpus": 4}, "us-west-2": {"vcpus": 100}})
    before = len(emulator.calls())
    plan = bench.plan_of(request(emulator, DB, zones=("a",)))
    assert [one.limit for one in plan.topologies["default"].rungs[0].room] == [4]
    assert not plan.topologies["default"].rungs[0].room[0].enough
    assert plan.good
    asked = [call for call in emulator.calls()[before:] if call["operation"] == "ListServiceQuotas"]
    assert [call["region"] for call in asked] == ["us-east-1"]


def test_what_may_not_be_read_is_told(bench: Bench, emulator: Emulator) -> None:
    """The plan stands, with a question mark as before, and says which right is missing."""
    emulator.weather(faults=[{"operation": "ListServiceQuotas", "error": "AccessDeniedException", "http": 400}])
    plan = bench.plan_of(request(emulator, DB, zones=("a",)))
    assert plan.topologies["default"].rungs[0].room == ()
    assert plan.good
    (trouble,) = plan.troubles
    assert trouble.startswith("asked what the quotas of us-east-1 allow (ListServiceQuotas), and aws said AccessDenied")
    assert "Allow ListServiceQuotas" in trouble


def test_a_run_reads_none(bench: Bench, emulator: Emulator) -> None:
    """Only a plan does: a run is told by the cloud where a quota is full, and needs no right to look."""
    bench.engine(request(emulator, DB)).provision("default")
    assert {"ListServiceQuotas", "DescribeInstanceTypes"}.isdisjoint(call["operation"] for call in emulator.calls())
