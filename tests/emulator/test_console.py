from __future__ import annotations

from typing import TYPE_CHECKING

import asyncssh

from tests.emulated import Emulator
from tests.emulator.asking import refused, run
from tests.emulator.shells import eventually, home, start

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def test_it_is_empty_before_the_machine_runs(emulator: Emulator, ec2: EC2Client) -> None:
    """Then it says that it booted, with or without a key; one that never ran says nothing."""
    emulator.weather(boot_s=60, faults=[{"operation": "boot", "error": "Server.InternalError", "times": 1}])
    broken, booting = (one["InstanceId"] for one in run(ec2, 2))
    assert ec2.get_console_output(InstanceId=booting)["Output"] == ""
    emulator.weather(clock={"advance_s": 61})
    told = ec2.get_console_output(InstanceId=booting)
    assert (told["InstanceId"], f"Instance {booting}." in told["Output"]) == (booting, True)
    assert (
        told["Timestamp"].timestamp()
        > ec2.describe_instances()["Reservations"][0]["Instances"][0]["LaunchTime"].timestamp()
    )
    assert ec2.get_console_output(InstanceId=broken)["Output"] == ""


def test_it_has_the_fingerprint_of_the_host_key(emulator: Emulator, ec2: EC2Client) -> None:
    """As cloud-init prints it, and it is that of the key with which the SSH server answers."""
    shell = start(emulator, ec2)

    async def host_key(connection: asyncssh.SSHClientConnection) -> str:
        key = connection.get_server_host_key()
        assert key is not None
        return key.get_fingerprint()

    told = ec2.get_console_output(InstanceId=shell.id)["Output"]
    block = told.partition("-----BEGIN SSH HOST KEY FINGERPRINTS-----\n")[2].partition("-----END")[0]
    assert shell.on(host_key) in block


def test_it_has_what_the_nodes_commands_wrote(emulator: Emulator, ec2: EC2Client) -> None:
    """The newest 64 KB of it, and also when the machine is gone."""
    shell = start(emulator, ec2)
    path = home(shell)
    shell.say("echo first >> console; head -c 70000 /dev/zero | tr '\\0' x >> console; echo last >> console")
    told = ec2.get_console_output(InstanceId=shell.id)["Output"]
    assert (len(told), "first" in told, told[-6:]) == (65536, False, "xlast\n")
    ec2.terminate_instances(InstanceIds=[shell.id])
    eventually(lambda: not path.exists(), "its directory is removed")
    assert ec2.get_console_output(InstanceId=shell.id)["Output"] == told


def test_a_machine_that_is_not_there_has_none(ec2: EC2Client) -> None:
    """It is refused, and so is what is no id."""
    with refused("InvalidInstanceID.NotFound"):
        ec2.get_console_output(InstanceId="i-00000000000000000")
    with refused("InvalidInstanceID.Malformed"):
        ec2.get_console_output(InstanceId="ours")
    (node,) = run(ec2)
    with refused("DryRunOperation", 412):
        ec2.get_console_output(InstanceId=node["InstanceId"], DryRun=True)
