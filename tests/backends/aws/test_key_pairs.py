"""The run's key pair: planned, imported once, given to nodes, listed and removed."""

from __future__ import annotations

import base64
import shlex
import time
from itertools import chain
from pathlib import Path
from typing import Any, Final

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.validate import ParamValidator
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.aws.plan import create_parameters, plan_rounds
from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.engine import Engine
from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.engine.reach import KeyFiles, Reach
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.journal import Journal
from pytest_capacity.model import Change, Held, Order, Piece, Request, Ssh, Topology, Unread
from tests.backends.aws.account import Account, rounds, stranger
from tests.backends.aws.orders import IMAGE, NOW, REGION, RUN, ZONE, group, order, request
from tests.emulated import Emulator
from tests.engine.runs import within

DB = group("db", "i4i.large", 2)
MONITOR = group("monitor", "t3.large", reserve=False)
CLUSTERED = group("near", "c6i.xlarge", reserve=False, placement_group=True)

_BLOB: Final = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(range(32))
KEY: Final = f"ssh-ed25519 {base64.b64encode(_BLOB).decode()} pytest-capacity"
FACTS: Final = {"ssh-key": KEY}


def planned(wanted: Request, **more: Any) -> list[list[Piece]]:
    """The rounds of ``wanted`` with a key."""
    return plan_rounds(wanted, order(wanted, **{"facts": FACTS, **more}))


def kinds(pieces: list[list[Piece]]) -> list[list[str]]:
    """The kinds of each round."""
    return [[piece.kind for piece in one] for one in pieces]


def the_pair(wanted: Request, **more: Any) -> Piece:
    """The one key pair of a plan."""
    (piece,) = (piece for piece in chain(*planned(wanted, **more)) if piece.kind == "key-pair")
    return piece


@pytest.fixture
def account(emulator: Emulator) -> Account:
    """Nodes that are reached by SSH, some of them reserved."""
    return Account(emulator, request(DB, MONITOR, ssh=Ssh()))


def now_order(account: Account, **more: Any) -> Order:
    """The account's order with a key, from the real now."""
    return order(account.request, now=time.time(), **{"facts": FACTS, **more})


def pair_of(account: Account) -> Held:
    """The run's key pair, made."""
    (piece,) = account.backend.create(next(_pairs(account)))
    return piece


def _pairs(account: Account) -> Any:
    return (piece for piece in chain(*account.backend.plan(now_order(account))) if piece.kind == "key-pair")


def names(emulator: Emulator) -> list[str]:
    """The key pairs that EC2 has."""
    return sorted(pair["KeyName"] for pair in stranger(emulator).describe_key_pairs()["KeyPairs"])


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (request(DB, MONITOR), [["reservation", "key-pair"], ["node", "node"]]),
        (request(MONITOR), [["key-pair"], ["node"]]),
        (request(CLUSTERED), [["placement-group", "key-pair"], ["node"]]),
        (request(DB, CLUSTERED), [["placement-group"], ["reservation", "key-pair"], ["node", "node"]]),
    ],
    ids=["beside reservations", "alone", "beside a placement group", "in the last round before the nodes"],
)
def test_a_key_pair_costs_no_round_where_there_is_one(wanted: Request, found: list[list[str]]) -> None:
    """Only the nodes wait for it."""
    assert kinds(planned(wanted)) == found
    pair = the_pair(wanted)
    for piece in planned(wanted)[-1]:
        assert pair.subject in [need.subject for need in piece.needs]
        assert piece.spec["KeyName"] == pair.spec["KeyName"]


def test_no_key_pair_where_nobody_needs_it() -> None:
    """Without a key, without nodes, or where the user has one already."""
    own = AwsSettings(image={REGION: IMAGE}, key_name="mine")
    assert kinds(planned(request(DB), facts={})) == [["reservation"], ["node"]]
    assert kinds(planned(request(DB), launch=False)) == [["reservation"]]
    assert kinds(planned(request(DB, aws=own))) == [["reservation"], ["node"]]
    one = group("db", "i4i.large", cloud={"key_name": "mine"})
    nodes = {piece.group: piece for piece in planned(request(one, MONITOR))[-1]}
    assert nodes["db"].spec["KeyName"] == "mine"
    assert nodes["monitor"].spec["KeyName"] == the_pair(request(one, MONITOR)).spec["KeyName"] != "mine"


def test_each_attempt_topology_and_run_has_a_pair_of_its_own() -> None:
    """A run id may be used again, and the next rung starts beside the release of the last."""
    wanted = request(MONITOR)
    other = Topology((MONITOR,), "other")
    all_of_them = [
        the_pair(wanted),
        the_pair(wanted, attempt=2),
        the_pair(wanted, nonce="n"),
        the_pair(wanted, topology=other),
        the_pair(replace(wanted, run="run-2")),
    ]
    assert len({piece.spec["KeyName"] for piece in all_of_them}) == 5
    long = the_pair(replace(wanted, run="ü" * 400)).spec["KeyName"]
    assert long.isascii()
    assert len(long) == 255


def test_the_call_is_one_that_the_sdk_knows() -> None:
    """Whole stamp, public half, no token, since EC2 takes none; and it survives the journal."""
    piece = the_pair(request(MONITOR, aws=AwsSettings(image={REGION: IMAGE}, tags={"team": "storage"})))
    again = msgspec.json.decode(msgspec.json.encode(piece), type=Piece)
    operation, parameters = create_parameters(again)
    assert (operation, parameters["PublicKeyMaterial"]) == ("import_key_pair", KEY)
    assert "ClientToken" not in parameters
    model = boto3.client("ec2", region_name=REGION).meta.service_model
    shape = model.operation_model("ImportKeyPair").input_shape
    assert shape is not None
    assert ParamValidator().validate(parameters, shape).generate_report() == ""
    (tagged,) = parameters["TagSpecifications"]
    tags = {tag["Key"]: tag["Value"] for tag in tagged["Tags"]}
    assert tagged["ResourceType"] == "key-pair"
    assert (tags["pytest-capacity:run"], tags["pytest-capacity:piece"]) == (RUN, piece.subject)
    assert (tags["pytest-capacity:deadline"], tags["team"]) == ("2033-05-18T04:03:20Z", "storage")


def test_nodes_are_launched_with_the_key(account: Account) -> None:
    """One import, and all nodes bear its name."""
    held = account.make(now_order(account))
    (pair,) = (one for one in held if one.kind == "key-pair")
    assert account.asked("ImportKeyPair") == 1
    assert pair.facts["name"] == f"pytest-capacity-{RUN}-default-1"
    assert (pair.state, pair.zone, pair.id[:4]) == ("ready", ZONE, "key-")
    launches = stranger(account.emulator).describe_instances()["Reservations"]
    assert {one["KeyName"] for launch in launches for one in launch["Instances"]} == {pair.facts["name"]}
    assert list(account.backend.refresh([pair])) == [pair]


def test_an_import_whose_answer_was_lost_is_found_by_name_and_stamp(account: Account) -> None:
    """There is no token; the second call is refused as a duplicate, which is ours."""
    piece = next(_pairs(account))
    account.emulator.weather(faults=[{"operation": "ImportKeyPair", "lose_reply": True, "times": 1}])
    with pytest.raises(ConnectionClosedError) as caught:
        account.backend.create(piece)
    assert account.backend.diagnose(caught.value).step == "ask-again"
    first, again = account.backend.create(piece), account.backend.create(piece)
    assert first == again
    assert (first[0].subject, first[0].zone) == (piece.subject, ZONE)
    assert len(names(account.emulator)) == 1


def test_a_key_pair_of_somebody_elses_is_not_ours(account: Account) -> None:
    """The name alone proves nothing: the holder of its other half could log in."""
    piece = next(_pairs(account))
    stranger(account.emulator).import_key_pair(KeyName=piece.spec["KeyName"], PublicKeyMaterial=KEY.encode())
    with pytest.raises(ClientError, match=r"InvalidKeyPair\.Duplicate") as caught:
        account.backend.create(piece)
    diagnosis = account.backend.diagnose(caught.value)
    assert (diagnosis.step, diagnosis.kind) == ("stop", "conflict")


def test_a_key_pair_goes_first_and_its_nodes_run_on(account: Account) -> None:
    """It is in the way of nothing, so nothing waits for it; asked again, it is still gone."""
    held = account.make(now_order(account))
    (pair,) = (one for one in held if one.kind == "key-pair")
    assert pair in account.backend.releasable(held)
    account.backend.release([pair])
    account.backend.release([pair])
    assert [one.state for one in account.backend.refresh([pair])] == ["unseen"]
    assert names(account.emulator) == []
    nodes = [one for one in held if one.kind == "node"]
    assert {one.state for one in account.backend.refresh(nodes)} == {"ready"}
    with pytest.raises(ValueError, match=pair.id):
        account.backend.release([replace(pair, subject="")])


def test_a_launch_without_its_key_pair_is_too_early(account: Account) -> None:
    """What EC2 says of a pair that is too young to be known leads back here; of the user's own slip it stops."""
    wanted = request(MONITOR, endpoint=account.emulator.url)
    launch = planned(wanted)[-1][0]
    with pytest.raises(ClientError) as caught:
        account.backend.create(launch)
    assert account.backend.diagnose(caught.value).step == "gone"
    with pytest.raises(ClientError) as caught:
        account.backend.create(replace(launch, token="other", spec={**launch.spec, "KeyName": "typo"}))
    diagnosis = account.backend.diagnose(caught.value)
    assert (diagnosis.step, diagnosis.kind) == ("stop", "invalid")


def test_the_inventory_of_a_run_with_ssh_lists_its_key_pair(account: Account) -> None:
    """Beside the other reads, in one round; not another run's, and not a stranger's."""
    pair = pair_of(account)
    other = Account(account.emulator, replace(account.request, run="run-2"))
    pair_of(other)
    stranger(account.emulator).import_key_pair(KeyName="theirs", PublicKeyMaterial=KEY.encode())
    account.emulator.weather(latency_ms=1000)
    before = len(account.emulator.calls())
    assert list(account.backend.inventory(RUN, [REGION])) == [pair]
    calls = account.emulator.calls()[before:]
    assert (len(calls), rounds(calls)) == (4, 1)
    assert [one.id for one in other.backend.inventory("run-2", [REGION]) if isinstance(one, Held)] != [pair.id]


@pytest.mark.parametrize(
    ("changes", "asks"),
    [
        ({}, False),
        ({"ssh": Ssh()}, True),
        ({"ssh": Ssh(key="/a/key")}, False),
        ({"ssh": Ssh(), "aws": AwsSettings(image={REGION: IMAGE}, key_name="mine")}, False),
    ],
    ids=["no ssh", "ssh", "a key of one's own", "a key pair of one's own"],
)
def test_key_pairs_are_listed_where_there_can_be_one(emulator: Emulator, changes: dict[str, Any], asks: bool) -> None:
    """Not every account lets us look, and a receipt must not fail for what cannot be there."""
    emulator.weather(faults=[{"operation": "DescribeKeyPairs", "error": "UnauthorizedOperation"}])
    backend = Account(emulator, request(MONITOR, **changes)).backend
    found = list(backend.inventory(RUN, [REGION]))
    assert [one.kind for one in found if isinstance(one, Unread)] == (["key-pair"] if asks else [])
    assert len(found) == asks


def test_another_runs_key_pairs_are_always_looked_for(emulator: Emulator) -> None:
    """It is not known here whether it used SSH; where we may not look, it is said."""
    account = Account(emulator, request(MONITOR, ssh=Ssh()))
    pair = pair_of(account)
    cleaner = Account(emulator, request(MONITOR, run="cleaner")).backend
    assert list(cleaner.inventory(RUN, [REGION])) == [pair]
    emulator.weather(faults=[{"operation": "DescribeKeyPairs", "error": "UnauthorizedOperation"}])
    (unread,) = cleaner.inventory(RUN, [REGION])
    assert isinstance(unread, Unread)
    assert unread.kind == "key-pair"


def test_an_earlier_runs_key_pair_is_looked_for_once_it_was_released(account: Account) -> None:
    """A run id may be used again, without SSH this time: that the old pair is gone must be seen, not believed."""
    pair = pair_of(account)
    later = Account(account.emulator, request(MONITOR)).backend
    later.release([pair])
    before = account.asked("DescribeKeyPairs")
    assert list(later.inventory(RUN, [REGION])) == []
    assert account.asked("DescribeKeyPairs") == before + 1


def test_a_key_pair_can_be_removed_by_hand_and_never_ends_by_itself(account: Account) -> None:
    """It costs nothing and stays for ever, so no message says that it is bound to end."""
    pair = pair_of(account)
    (command,) = account.backend.by_hand([pair])
    assert shlex.split(command)[:3] == ["aws", "ec2", "delete-key-pair"]
    assert shlex.split(command)[-2:] == ["--key-pair-id", pair.id]
    assert account.backend.ends(pair, NOW) is None


def test_the_deadline_in_its_stamp_can_be_moved(account: Account) -> None:
    """Like that of anything that EC2 does not end itself."""
    pair = pair_of(account)
    later = float(int(time.time()) + 7200)
    changed = account.backend.change(pair, Change(deadline=later))
    assert changed.deadline == later
    assert list(account.backend.refresh([pair])) == [changed]


def test_who_logs_in_and_what_the_console_says(account: Account) -> None:
    """Amazon's own user; the console's text as it is, and nothing for a machine that does not run yet."""
    assert account.backend.default_user == "ec2-user"
    account.emulator.weather(boot_s=60)
    nodes = [one for one in account.make(now_order(account)) if one.kind == "node"]
    assert account.backend.console(nodes[0]) == ""
    account.emulator.weather(clock={"advance_s": 61})
    assert "\n" in account.backend.console(nodes[0])
    with pytest.raises(ClientError) as caught:
        account.backend.console(replace(nodes[0], id="i-00000000000000000"))
    assert account.backend.diagnose(caught.value).step == "gone"


def test_opening_with_ssh_makes_no_call(emulator: Emulator) -> None:
    """Nor needs a key."""
    open_backend(request(MONITOR, ssh=Ssh(), endpoint=emulator.url))
    assert emulator.calls() == []


@pytest.mark.parametrize(
    "fault",
    [
        {"operation": "ImportKeyPair", "lose_reply": True},
        {"operation": "RunInstances", "lose_reply": True},
        {"operation": "DeleteKeyPair", "lose_reply": True},
        {"operation": "DeleteKeyPair", "error": "RequestLimitExceeded"},
        {"operation": "CreateCapacityReservation", "zone": ZONE, "error": "InsufficientInstanceCapacity"},
    ],
    ids=lambda fault: " ".join(map(str, fault.values())),
)
def test_whatever_goes_wrong_the_pair_is_made_once_and_removed(
    emulator: Emulator, tmp_path: Path, fault: dict[str, Any]
) -> None:
    """An engine's whole run: the nodes stand, and at its end the cloud has neither them nor a key."""
    wanted = request(DB, MONITOR, ssh=Ssh(), endpoint=emulator.url, zones=("a", "b"))
    emulator.weather(faults=[{**fault, "times": 1}])
    journal = Journal(tmp_path / "journal")
    run_state = RunState(journal, RUN, SystemClock())
    run_state.intend("run-started", data={"started": time.time(), "nonce": "n"})
    engine = Engine(
        wanted, open_backend(wanted), run_state, SystemClock(), Reach(wanted, "ec2-user", KeyFiles(KEY, "/key", None))
    )
    try:
        engine.open()
        placed = engine.provision("default")
        assert {node.access.key for nodes in placed.nodes.values() for node in nodes if node.access} == {"/key"}
        assert sum(f"-n-default-{placed.attempt}" in name for name in names(emulator)) == 1
        receipt = engine.release(within(60))
    finally:
        engine.close()
        journal.close()
    assert (receipt.clean, receipt.left) == (True, ())
    assert names(emulator) == []
    assert emulator.held() == []
