from __future__ import annotations

from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import TYPE_CHECKING

import asyncssh
import pytest

from tests.emulated import Emulator
from tests.emulator.asking import state
from tests.emulator.shells import Shell, eventually, gone, home, start

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

FAILS = "#!/bin/sh\n# emulator: cloud-init error\n"


def message(text: str) -> str:
    whole = MIMEMultipart()
    whole.attach(MIMEText("#!/bin/sh\ntrue\n", "x-shellscript"))
    whole.attach(MIMEText(text, "x-shellscript", "utf-8"))
    return whole.as_string()


@pytest.mark.parametrize(
    "command",
    [
        "shutdown now",
        "shutdown -h +0",
        "sudo poweroff",
        "sudo -n /sbin/halt",
        "systemctl poweroff",
        "/bin/sh -c 'init 0'",
    ],
)
def test_a_node_that_shuts_itself_down_is_terminated(emulator: Emulator, ec2: EC2Client, command: str) -> None:
    """With shutdown behaviour terminate; this machine goes on."""
    shell = start(emulator, ec2, InstanceInitiatedShutdownBehavior="terminate")
    assert shell.run(f"{command}; sleep 1000").exit_status is None
    eventually(lambda: state(ec2, shell.id) == "terminated", "it is terminated")
    told = ec2.describe_instances(InstanceIds=[shell.id])["Reservations"][0]["Instances"][0]
    assert told["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_without_that_behaviour_it_stops(emulator: Emulator, ec2: EC2Client) -> None:
    """It bills no more and leaves its place in the zone, but is still held, till it is terminated."""
    emulator.weather(stock={"us-east-1a": {"*": 1}}, stop_s=1000)
    shell = start(emulator, ec2)
    shell.run("sudo shutdown now")
    eventually(lambda: state(ec2, shell.id) == "stopping", "it stops")
    emulator.weather(clock={"advance_s": 1001})
    assert state(ec2, shell.id) == "stopped"
    usd = emulator.world()["bill"]["usd"]
    emulator.weather(clock={"advance_s": 3600})
    assert emulator.world()["bill"]["usd"] == usd
    assert [one["state"] for one in emulator.held("instance")] == ["stopped"]
    assert start(emulator, ec2).say("echo up") == "up\n"
    ec2.terminate_instances(InstanceIds=[shell.id])
    emulator.weather(clock={"advance_s": 1001})
    assert state(ec2, shell.id) == "terminated"


def test_a_shutdown_can_be_put_off_and_cancelled(emulator: Emulator, ec2: EC2Client) -> None:
    """In minutes of the World's clock; without a time it is one."""
    shell = start(emulator, ec2, InstanceInitiatedShutdownBehavior="terminate")
    shell.say("shutdown -P +10")
    shell.say("shutdown -c")
    emulator.weather(clock={"advance_s": 660})
    assert state(ec2, shell.id) == "running"
    assert shell.run("shutdown 23:59").exit_status == 1
    shell.say("shutdown")
    assert shell.say("echo still") == "still\n"
    eventually(lambda: emulator.weather(clock={"advance_s": 61}) and state(ec2, shell.id) == "terminated", "it ends")


def test_a_reboot_breaks_what_runs_and_keeps_the_rest(emulator: Emulator, ec2: EC2Client) -> None:
    """Connections and processes end; port, host key and files stay, and the machine runs on."""
    shell = start(emulator, ec2)
    path = home(shell)
    left = int(shell.say("echo kept > file; sleep 1000 >/dev/null 2>&1 & echo $!"))
    assert shell.run("sudo reboot; sleep 1000").exit_status is None
    eventually(lambda: gone(left), "what ran has ended")
    assert (shell.say("cat file"), home(shell), state(ec2, shell.id)) == ("kept\n", path, "running")


def test_sudo_runs_the_command(emulator: Emulator, ec2: EC2Client) -> None:
    """As the user that runs the emulator, with the usual options and variables."""
    shell = start(emulator, ec2)
    assert shell.say("sudo -n -E -H -u postgres A='b c' sh -c 'echo \"$A\"'") == "b c\n"
    assert shell.say("sudo --user=root -- echo -n one; sudo --user root echo two") == "onetwo\n"
    assert shell.run("sudo -n sh -c 'exit 6'").exit_status == 6
    assert shell.run("sudo -i", "echo inside\n").stdout == "inside\n"


def test_the_node_has_a_name(emulator: Emulator, ec2: EC2Client) -> None:
    """The private one that EC2 gives it, which it keeps."""
    shell = start(emulator, ec2)
    told = ec2.describe_instances(InstanceIds=[shell.id])["Reservations"][0]["Instances"][0]
    short = told["PrivateDnsName"].partition(".")[0]
    assert shell.say("hostname; hostname -s; hostname -f; hostname -I; echo $HOSTNAME").split() == [
        short,
        short,
        told["PrivateDnsName"],
        told["PrivateIpAddress"],
        short,
    ]
    assert shell.run("sudo hostname other").exit_status == 1


def test_services_are_refused(emulator: Emulator, ec2: EC2Client) -> None:
    """This machine's are out of reach."""
    shell = start(emulator, ec2)
    for command in ("systemctl restart ssh", "sudo service ssh restart", "init 3"):
        done = shell.run(command)
        assert (done.exit_status, "an emulated node has no services" in str(done.stderr)) == (1, True)


def test_cloud_init_ends_when_the_weather_says(emulator: Emulator, ec2: EC2Client) -> None:
    """`status` tells, `--wait` waits for it."""
    emulator.weather(cloud_init_s=1000)
    shell = start(emulator, ec2)
    assert shell.say("cloud-init status") == "status: running\n"

    async def work(connection: asyncssh.SSHClientConnection) -> str:
        process = await connection.create_process("cloud-init status --wait")
        assert await process.stdout.read(1) == "."
        emulator.weather(clock={"advance_s": 1001})
        done = await process.wait(check=True)
        return str(done.stdout)

    assert shell.on(work).endswith("\nstatus: done\n")
    assert shell.say("cloud-init status --long").splitlines()[:2] == ["status: done", "extended_status: done"]
    assert '"status": "done"' in shell.say("cloud-init status --format json")
    assert shell.run("cloud-init clean").exit_status == 2


@pytest.mark.parametrize("user_data", [FAILS, message(FAILS)], ids=["script", "message"])
def test_cloud_init_fails_where_the_user_data_says_so(emulator: Emulator, ec2: EC2Client, user_data: str) -> None:
    """With exit status 1."""
    shell: Shell = start(emulator, ec2, UserData=user_data)
    eventually(lambda: "running" not in str(shell.run("cloud-init status").stdout), "cloud-init has ended")
    done = shell.run("cloud-init status --wait")
    assert (str(done.stdout).splitlines()[-1], done.exit_status) == ("status: error", 1)


def test_user_data_is_there_and_is_not_run(emulator: Emulator, ec2: EC2Client) -> None:
    """Byte by byte."""
    shell = start(emulator, ec2, UserData="#!/bin/sh\ntouch ran\n")
    assert shell.say("cat user-data") == "#!/bin/sh\ntouch ran\n"
    assert shell.run("cat ran").exit_status != 0
