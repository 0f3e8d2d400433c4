from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ConnectionClosedError

from tests.emulated import Emulator, start_emulator
from tests.emulator.asking import TYPE, ZONE, aimed, in_minutes, refused, reserve, run, tagged
from tests.safety.runs import GRANTED, until

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def test_what_is_held_is_told_in_full(emulator: Emulator, ec2: EC2Client) -> None:
    """Kind, place, state, tags, token and the reservation of each thing that bills or blocks."""
    tags = tagged("capacity-reservation", run="r1")
    held = reserve(ec2, 2, ClientToken="t1", TagSpecifications=tags)
    (node,) = run(ec2, ClientToken="t2", CapacityReservationSpecification=aimed(held))
    ec2.create_placement_group(GroupName="close", Strategy="cluster")
    reservation, instance, group = emulator.held()
    since = reservation.pop("since")
    assert since <= instance["since"] <= emulator.world()["now"]
    assert reservation == {
        "kind": "capacity-reservation",
        "id": held["CapacityReservationId"],
        "cloud": "aws",
        "region": "us-east-1",
        "zone": ZONE,
        "type": TYPE,
        "market": "on-demand",
        "state": "active",
        "count": 2,
        "tags": {"run": "r1"},
        "client_token": "t1",
        "reservation": None,
    }
    assert (instance["id"], instance["state"], instance["client_token"]) == (node["InstanceId"], "running", "t2")
    assert instance["reservation"] == held["CapacityReservationId"]
    assert (group["kind"], group["name"], group["zone"]) == ("placement-group", "close", None)


def test_calls_are_told(emulator: Emulator, ec2: EC2Client) -> None:
    """Each call with its place, status and time; the World's own are not counted, and can be left out."""
    emulator.weather(stock={ZONE: {"*": 0}})
    with refused("InsufficientInstanceCapacity", 500):
        reserve(ec2, ClientToken="t1")
    ec2.describe_instances()
    first, second = emulator.calls()
    assert first["operation"] == "CreateCapacityReservation"
    assert (first["cloud"], first["region"], first["zone"], first["type"]) == ("aws", "us-east-1", ZONE, TYPE)
    assert (first["status"], first["error"], first["token"]) == (500, "InsufficientInstanceCapacity", "t1")
    assert first["began"] <= first["ended"] <= second["began"]
    assert (second["operation"], second["zone"], second["status"]) == ("DescribeInstances", None, 200)
    assert "calls" not in emulator.world(calls=False)


def test_calls_about_things_are_told_with_their_place(emulator: Emulator, ec2: EC2Client) -> None:
    """A cancellation or termination bears the zone of what it ends, so that faults can hit it there."""
    held = reserve(ec2)
    (node,) = run(ec2)
    fault = {"operation": "CancelCapacityReservation", "zone": ZONE, "error": "InternalError", "times": 1}
    emulator.weather(faults=[fault])
    with refused("InternalError", 500):
        ec2.cancel_capacity_reservation(CapacityReservationId=held["CapacityReservationId"])
    ec2.cancel_capacity_reservation(CapacityReservationId=held["CapacityReservationId"])
    ec2.terminate_instances(InstanceIds=[node["InstanceId"]])
    assert [call["zone"] for call in emulator.calls()] == [ZONE] * 5
    assert emulator.held() == []


def test_latency_is_that_of_each_call(emulator: Emulator, ec2: EC2Client) -> None:
    """Every call takes at least the latency; the World's own none."""
    ec2.describe_instances()
    emulator.weather(latency_ms=2000)
    ec2.describe_instances()
    before, after = emulator.calls()
    assert before["ended"] - before["began"] < 1.9 <= after["ended"] - after["began"]


def test_a_fault_strikes_what_it_names_and_as_often(emulator: Emulator, ec2: EC2Client) -> None:
    """Operation, zone and type are matched; after ``times`` it is used up."""
    fault = {"operation": "RunInstances", "zone": "us-east-1b", "type": TYPE, "error": "Odd", "times": 2, "http": 418}
    emulator.weather(faults=[{**fault, "message": "in words"}])
    there: Any = {"AvailabilityZone": "us-east-1b"}
    run(ec2)
    run(ec2, InstanceType="c6i.large", Placement=there)
    for _ in range(2):
        with refused("Odd", 418) as said:
            run(ec2, Placement=there)
        assert said.words == "in words"
    assert run(ec2, Placement=there)
    assert len(emulator.held()) == 3


def test_a_fault_strikes_one_market(emulator: Emulator, ec2: EC2Client) -> None:
    """Spot, or on-demand, which reservations are; the market of a call that asks for capacity is told."""
    spot: Any = {"MarketType": "spot"}
    emulator.weather(faults=[{"market": "spot", "error": "SpotMaxPriceTooLow"}])
    with refused("SpotMaxPriceTooLow"):
        run(ec2, InstanceMarketOptions=spot)
    run(ec2)
    emulator.weather(faults=[{"market": "on-demand", "type": TYPE, "error": "InsufficientInstanceCapacity"}])
    run(ec2, InstanceMarketOptions=spot)
    for ask in (run, reserve):
        with refused("InsufficientInstanceCapacity", 500):
            ask(ec2)
    ec2.describe_instances()
    markets = [call["market"] for call in emulator.calls()]
    assert markets == ["spot", "on-demand", "spot", "on-demand", "on-demand", None]


def test_a_lost_reply_is_that_of_a_call_that_happened(emulator: Emulator, ec2: EC2Client) -> None:
    """The connection is closed without an answer, the thing is there, and the same token finds it."""
    emulator.weather(faults=[{"operation": "CreateCapacityReservation", "lose_reply": True, "times": 1}])
    with pytest.raises(ConnectionClosedError):
        reserve(ec2, ClientToken="t1")
    (held,) = emulator.held()
    assert reserve(ec2, ClientToken="t1")["CapacityReservationId"] == held["id"]
    assert [(call["status"], call["lost"]) for call in emulator.calls()] == [(200, True), (200, False)]


def test_a_reply_can_be_lost_again(emulator: Emulator, ec2: EC2Client) -> None:
    """The repeated call's answer can be lost as well; only errors spare it."""
    emulator.weather(faults=[{"operation": "RunInstances", "lose_reply": True, "times": 2}])
    for _ in range(2):
        with pytest.raises(ConnectionClosedError):
            run(ec2, ClientToken="t1")
    assert [held["id"] for held in emulator.held()] == [run(ec2, ClientToken="t1")[0]["InstanceId"]]


def test_a_delay_comes_before_the_call_takes_effect(emulator: Emulator, ec2: EC2Client) -> None:
    """The call takes that much longer."""
    emulator.weather(faults=[{"operation": "CreatePlacementGroup", "delay_s": 0.2, "times": 1}])
    ec2.create_placement_group(GroupName="close", Strategy="cluster")
    (call,) = emulator.calls()
    assert call["at"] - call["began"] >= 0.19


def test_a_delay_ends_with_its_fault(emulator: Emulator, ec2: EC2Client) -> None:
    """A call that is held open goes on once the faults are replaced, and has its effect then."""
    emulator.weather(faults=[{"operation": "CreatePlacementGroup", "delay_s": 600}])
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(ec2.create_placement_group, GroupName="close", Strategy="cluster")
        until(lambda: emulator.world()["under_way"] == ["CreatePlacementGroup"], GRANTED, "it is under way")
        assert emulator.held() == []
        emulator.weather(faults=[])
        made.result(GRANTED)
    assert [held["name"] for held in emulator.held()] == ["close"]


def test_too_many_calls_are_refused(emulator: Emulator, ec2: EC2Client) -> None:
    """A bucket of writes empties, refills with the World's time, and lets reads pass."""
    emulator.weather(throttle={"us-east-1": {"write": {"burst": 2, "per_second": 0.1}}})
    for name in ("a", "b"):
        ec2.create_placement_group(GroupName=name, Strategy="cluster")
    with refused("RequestLimitExceeded", 503):
        ec2.create_placement_group(GroupName="c", Strategy="cluster")
    assert len(ec2.describe_placement_groups()["PlacementGroups"]) == 2
    emulator.weather(clock={"advance_s": 11})
    ec2.create_placement_group(GroupName="c", Strategy="cluster")


def test_a_reservation_is_billed_once(emulator: Emulator, ec2: EC2Client) -> None:
    """Used or not it bills in full, and machines inside it cost nothing more; the bill outlives the things."""
    held = reserve(ec2, 2)
    nodes = run(ec2, 2, CapacityReservationSpecification=aimed(held))
    emulator.weather(clock={"advance_s": 3600})
    bill = emulator.world()["bill"]
    assert [line["kind"] for line in bill["lines"]] == ["capacity-reservation"]
    assert bill["usd"] == pytest.approx(2 * 0.172, rel=0.01)
    ec2.terminate_instances(InstanceIds=[node["InstanceId"] for node in nodes])
    ec2.cancel_capacity_reservation(CapacityReservationId=held["CapacityReservationId"])
    emulator.weather(clock={"advance_s": 3600})
    assert emulator.world()["bill"]["usd"] == pytest.approx(2 * 0.172, rel=0.01)


def test_a_cancelled_reservation_hands_its_bill_to_its_machines(emulator: Emulator, ec2: EC2Client) -> None:
    """The leak that cancelling without terminating makes is seen in money."""
    held = reserve(ec2, 2)
    run(ec2, 2, CapacityReservationSpecification=aimed(held))
    ec2.cancel_capacity_reservation(CapacityReservationId=held["CapacityReservationId"])
    emulator.weather(clock={"advance_s": 3600})
    (line,) = [line for line in emulator.world()["bill"]["lines"] if line["kind"] == "instance"]
    assert (line["zone"], line["type"], line["market"]) == (ZONE, TYPE, "on-demand")
    assert line["usd"] == pytest.approx(2 * 0.172, rel=0.01)


def test_a_machine_is_billed_from_running_to_leaving(emulator: Emulator, ec2: EC2Client) -> None:
    """Neither booting nor stopping bills, spot is cheaper, and a minute is the least."""
    emulator.weather(boot_s=600, stop_s=600)
    spot: Any = {"MarketType": "spot"}
    ids = [run(ec2)[0]["InstanceId"], run(ec2, InstanceMarketOptions=spot)[0]["InstanceId"]]
    emulator.weather(clock={"advance_s": 600})
    emulator.weather(clock={"advance_s": 1})
    ec2.terminate_instances(InstanceIds=ids)
    emulator.weather(clock={"advance_s": 6000})
    usd = {line["market"]: line["usd"] for line in emulator.world()["bill"]["lines"]}
    assert usd["on-demand"] == pytest.approx(0.172 / 60, rel=0.01)
    assert usd["spot"] == pytest.approx(0.3 * 0.172 / 60, rel=0.01)


def test_a_machine_that_never_ran_costs_nothing(emulator: Emulator, ec2: EC2Client) -> None:
    """Terminated while pending: no line in the bill."""
    emulator.weather(boot_s=600)
    ec2.terminate_instances(InstanceIds=[run(ec2)[0]["InstanceId"]])
    emulator.weather(clock={"advance_s": 6000})
    assert emulator.world()["bill"]["usd"] == 0


def test_a_resized_reservation_bills_each_size_for_its_time(emulator: Emulator, ec2: EC2Client) -> None:
    """An hour of one machine and an hour of three are four machine hours."""
    id_ = reserve(ec2)["CapacityReservationId"]
    emulator.weather(clock={"advance_s": 3600})
    ec2.modify_capacity_reservation(CapacityReservationId=id_, InstanceCount=3)
    emulator.weather(clock={"advance_s": 3600})
    (line,) = emulator.world()["bill"]["lines"]
    assert line["machine_seconds"] == pytest.approx(4 * 3600, rel=0.01)


def test_a_part_of_the_weather_replaces_that_part(emulator: Emulator) -> None:
    """Other parts stay as they are; a reset takes all back to fair weather."""
    emulator.weather(boot_s=5, stock={ZONE: {TYPE: 1}})
    told = emulator.weather(stock={"us-east-1b": {TYPE: 2}})["weather"]
    assert (told["boot_s"], told["stock"]) == (5, {"us-east-1b": {TYPE: 2}})
    told = emulator.reset(latency_ms=1)["weather"]
    assert (told["boot_s"], told["stock"], told["latency_ms"]) == (0, {}, 1)


def test_a_reset_empties_the_world(emulator: Emulator, ec2: EC2Client) -> None:
    """Things, calls, bill, tokens and the clock."""
    reserve(ec2, ClientToken="t1", EndDateType="limited", EndDate=in_minutes(60))
    ahead = emulator.weather(clock={"advance_s": 7200})["now"]
    emulator.reset()
    world = emulator.world()
    assert (world["held"], world["calls"], world["bill"]["usd"]) == ([], [], 0)
    assert world["now"] < ahead - 7000
    assert reserve(ec2, 2, ClientToken="t1")


@pytest.mark.parametrize(
    ("nonsense", "words"),
    [
        ({"wind": 3}, "unknown key wind; known keys: boot_s, clock"),
        ({"stock": {"us-east-9a": {"*": 0}}}, "stock.us-east-9a: no emulated cloud has a zone"),
        ({"stock": {ZONE: {"i4i.lagre": 0}}}, "stock.us-east-1a.i4i.lagre: no emulated cloud has a type"),
        ({"stock": {ZONE: {TYPE: -1}}}, "give 0 or more"),
        ({"stock": {ZONE: {"spot": 0}}}, "a mapping of types to numbers"),
        ({"stock": {ZONE: {TYPE: {"*": 0}}}}, "a type has a number"),
        ({"quota": {ZONE: {"vcpus": 1}}}, "quota.us-east-1a: no emulated cloud has a region"),
        (
            {"quota": {"us-east-1": {"cpus": 1}}},
            "quota.us-east-1: unknown key cpus (did you mean vcpus?); known keys: spot_vcpus",
        ),
        (
            {"faults": [{"operation": "RunInstances", "eror": "Odd"}]},
            "faults[0]: unknown key eror (did you mean error?); known keys: cloud, delay_s, error, http, late,",
        ),
        ({"throttle": {"us-east-1": {"write": {"brst": 5}}}}, "known keys: burst, per_second"),
        ({"throttle": {"us-east-1": {"wirte": {}}}}, "did you mean write?"),
        ({"clock": {"advance": 5}}, "clock: unknown key advance (did you mean advance_s?); known keys: advance_s"),
        ({"reclaim": [{"zon": "a"}]}, "reclaim[0]: unknown key zon (did you mean zone?); known keys: cloud, region"),
        ({"faults": [{"operation": "MakeTea", "error": "Teapot"}]}, "no emulated cloud has an operation 'MakeTea'"),
        ({"faults": [{"operation": "RunInstances"}]}, "does nothing; give error, lose_reply or delay_s"),
        ({"faults": [{"error": "Odd", "times": 0}]}, "times 1 or more"),
        ({"faults": [{"error": "Odd", "http": 200}]}, "between 400 and 599"),
        ({"faults": [{"error": "Odd", "zone": "nowhere"}]}, "faults[0].zone"),
        ({"faults": [{"error": "Odd", "region": "nowhere"}]}, "faults[0].region"),
        ({"faults": [{"error": "Odd", "type": "x"}]}, "faults[0].type"),
        ({"faults": [{"error": "Odd", "market": "flea"}]}, "faults[0].market is 'flea'; give on-demand or spot"),
        ({"images": {ZONE: {"exclude": []}}}, "images.us-east-1a: no emulated cloud has a region"),
        ({"images": {"us-east-1": {"without": []}}}, "unknown key without; known keys: exclude"),
        ({"reclaim_notice_s": -1}, "reclaim_notice_s is -1"),
        ({"throttle": {"us-east-1": {"write": 5}}}, "Expected `object"),
        ({"offerings": {ZONE: {"exclude": ["x"]}}}, "offerings.us-east-1a.exclude"),
        ({"latency_ms": -1}, "latency_ms is -1"),
        ({"clock": {"advance_s": -1}}, "time does not go back"),
        ({"clock": 5}, "clock: Expected"),
        ({"reclaim": [{"zone": 5}]}, "reclaim: "),
        ({"reset": "yes"}, "reset: "),
    ],
)
def test_weather_that_makes_no_sense_changes_nothing(emulator: Emulator, nonsense: Any, words: str) -> None:
    """HTTP 400 with the key and what is known; nothing of the request takes effect."""
    before = emulator.world()["weather"]
    with pytest.raises(ValueError, match="error") as caught:
        emulator.weather(boot_s=9, **nonsense)
    assert words in caught.value.args[0].replace('\\"', '"')
    assert emulator.world()["weather"] == before


def test_a_scenario_is_the_weather_from_the_start(tmp_path: Path) -> None:
    """``--scenario FILE`` has the same form as what is posted."""
    scenario = tmp_path / "dry.yaml"
    scenario.write_text("boot_s: 3\nstock: {us-east-1a: {'*': 0}}\n")
    with start_emulator(None, "--scenario", str(scenario), measured=True) as emulator:
        weather = emulator.world()["weather"]
    assert (weather["boot_s"], weather["stock"]) == (3, {"us-east-1a": {"*": 0}})


@pytest.mark.parametrize(
    ("text", "words"),
    [("wind: 3\n", "unknown key wind"), ("- a\n", "a mapping, not list"), ("{", "cannot be read as YAML")],
)
def test_a_scenario_that_makes_no_sense_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """The process ends with 2, naming the file and the key."""
    scenario = tmp_path / "odd.yaml"
    scenario.write_text(text)
    with pytest.raises(RuntimeError, match="ended with 2") as caught:
        start_emulator(None, "--scenario", str(scenario), measured=True)
    assert "odd.yaml" in str(caught.value)
    assert words in str(caught.value)


def test_a_scenario_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It is not said to be bad YAML."""
    with pytest.raises(RuntimeError, match=r"none\.yaml: No such file or directory\. Name a file of weather \(YAML\)"):
        start_emulator(None, "--scenario", str(tmp_path / "none.yaml"), measured=True)


def test_a_port_in_use_is_named(emulator: Emulator) -> None:
    """With what to do; the folder with the secret goes again."""
    port = emulator.url.rpartition(":")[2]
    with pytest.raises(RuntimeError, match=f"port {port} is in use. Name another one, or leave --port out"):
        start_emulator(None, "--port", port, measured=True)
    with pytest.raises(
        RuntimeError, match=r"(?s)ended with 2: .*argument --port: invalid port \(0 to 65535\) value: '65536'"
    ):
        start_emulator(None, "--port", "65536", measured=True)
