"""Wherever and however pytest is started, there is exactly one provisioning, and the World holds nothing at the end."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.emulated import SECRET
from tests.safety.runs import PATIENCE, Suite, provisioned_once, until

#: A user of this machine without an entry in the password file.
NOBODY_KNOWN = 54321

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who does not exist")


@pytest.mark.matrix
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("-n4", "--dist=loadgroup"), id="n4-loadgroup"),
        pytest.param(("-p", "no:xdist"), id="no-xdist"),
        pytest.param(("-n0", "-q", "-s"), id="n0-quiet-no-capture"),
        pytest.param(("-n1", "--dist=loadfile"), id="n1-loadfile"),
        pytest.param(("-vv", "-p", "no:capture", "-p", "no:logging"), id="verbose-no-capture-plugin"),
        pytest.param(("-n2", "--dist=each"), id="n2-each"),
        pytest.param(("-p", "no:terminal"), id="no-terminal"),
        pytest.param(("-p", "no:cacheprovider", "-qq"), id="no-cache"),
        pytest.param(("--import-mode=importlib", "--setup-show"), id="importlib-setup-show"),
    ],
)
def test_options_of_pytest(suite: Suite, arguments: tuple[str, ...]) -> None:
    """All tests pass on one provisioning, whatever else is switched on or off."""
    if "no:xdist" in arguments:
        suite.as_installed()  # Named by `-p xdist` in pytest.ini, its options would be there all the same.
    ended = suite.run(*arguments)
    assert ended.code == 0, ended
    provisioned_once(suite, ended)


@pytest.mark.parametrize("order", ["-p capacity -p xdist", "-p xdist -p capacity"])
def test_order_of_plugins(suite: Suite, order: str) -> None:
    """Whether xdist is loaded before us or after: under -n the lines come from the controller as they happen."""
    suite.only_ours(order)
    ended = suite.run("-n1")
    assert ended.code == 0, ended
    assert "us-east-1a: got 2 nodes" in ended.out
    assert "capacity: account 123456789012" in ended.out
    provisioned_once(suite, ended)


@pytest.mark.matrix
@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"TERM": "dumb", "NO_COLOR": "1"}, id="dumb-terminal"),
        pytest.param({"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}, id="ascii"),
        pytest.param({"TERM": None, "LANG": None, "FORCE_COLOR": "1", "CI": "true"}, id="ci"),
    ],
)
def test_terminals(suite: Suite, environment: dict[str, str | None]) -> None:
    """A terminal that can do nothing, a locale without UTF-8: lines are written, none breaks the run."""
    refused = {"operation": "CreateCapacityReservation", "zone": "us-east-1a", "times": 1}
    words = "Nicht genug Kapazität \u2014 keine mehr \u202e"
    suite.emulator.weather(faults=[{**refused, "error": "InsufficientInstanceCapacity", "message": words}])
    ended = suite.run(env=environment)
    assert ended.code == 0, ended
    assert "placed after" in ended.out
    assert "no-capacity" in ended.out
    assert ("\x1b[" in ended.out) == ("FORCE_COLOR" in environment)
    assert "\u202e" not in ended.out
    suite.nothing_left()


def test_user_modules_and_startup_files(suite: Suite) -> None:
    """A user's queue.py, a broken msgspec on PYTHONPATH, PYTHONSTARTUP: the keeper sees none of them."""
    suite.write("queue.py", "raise RuntimeError('the user has a queue of their own')")
    suite.write("sqlite3.py", "raise RuntimeError('and a database')")
    startup = suite.write("startup.py", "raise RuntimeError('not here')")
    script = str(Path(sys.executable).parent / "pytest")
    ended = suite.run(
        "--import-mode=importlib",
        program=(script,),
        env={"PYTHONSTARTUP": str(startup), "PYTHONPATH": os.environ.get("PYTHONPATH")},
    )
    assert ended.code == 0, ended
    provisioned_once(suite, ended)


def test_working_directory_on_the_path(suite: Suite) -> None:
    """`python -m pytest` puts the working directory on sys.path: what shadows the keeper's modules there does not."""
    loaded = suite.tests / "loaded"
    for name in ("sqlite3", "boto3", "botocore", "filelock"):
        suite.write(f"{name}.py", f"open({str(loaded)!r}, 'a').write({name!r} + '\\n')\nraise RuntimeError('shadowed')")
    # Where coverage is measured, pytest itself would load sqlite3 from there.
    environment = {"PYTHONPATH": _path_with(suite.tests), "COVERAGE_PROCESS_START": None}
    ended = suite.run("--import-mode=importlib", env=environment)
    assert ended.code == 0, ended
    provisioned_once(suite, ended)
    assert not loaded.exists()


def test_queue_py_in_the_working_directory(suite: Suite) -> None:
    """With `python -m pytest` it stands before Python's own module, which is not loaded by us (by xdist it is)."""
    suite.only_ours("-p capacity")
    suite.write("queue.py", "raise RuntimeError('shadowed')")
    ended = suite.run("--import-mode=importlib", env={"COVERAGE_PROCESS_START": None})
    assert ended.code == 0, ended
    provisioned_once(suite, ended)


def _path_with(directory: Path) -> str:
    return os.pathsep.join(filter(None, [str(directory), os.environ.get("PYTHONPATH")]))


def test_no_home(suite: Suite) -> None:
    """Without HOME, and without a name in the environment; the state directory alone is given."""
    ended = suite.run(env={"HOME": None, "XDG_STATE_HOME": str(suite.state), "USER": None, "LOGNAME": None})
    assert ended.code == 0, ended
    provisioned_once(suite, ended)


def test_user_without_a_name(suite: Suite) -> None:
    """A container's arbitrary uid, no HOME, no entry in the password file: all stands in TMPDIR, privately."""
    become = ("unshare", "--user", f"--map-user={NOBODY_KNOWN}", f"--map-group={NOBODY_KNOWN}")
    if subprocess.run([*become, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this machine allows no user namespaces")
    ended = suite.run(prefix=become, env=dict.fromkeys(("HOME", "XDG_STATE_HOME", "USER", "LOGNAME")))
    assert ended.code == 0, ended
    provisioned_once(suite, ended)
    state = suite.tmp / f"pytest-capacity-{NOBODY_KNOWN}"
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "journal.sqlite").stat().st_mode & 0o777 == 0o600


def test_very_long_temporary_path(suite: Suite) -> None:
    """TMPDIR and --basetemp far beyond what a socket's path may hold."""
    long = suite.tmp / ("a" * 80) / ("b" * 80)
    long.mkdir(parents=True)
    ended = suite.run(f"--basetemp={long / 'base'}", "-n1", env={"TMPDIR": str(long)})
    assert ended.code == 0, ended
    provisioned_once(suite, ended)


def test_pipe_ends_with_pytest(suite: Suite) -> None:
    """`pytest | cat` ends when pytest does, even while the keeper still releases: it holds no inherited pipe."""
    suite.emulator.hold("TerminateInstances")
    suite.write("test_suite.py", "import os, signal\ndef test(capacity):\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    pytest_command = shlex.join([sys.executable, "-m", "pytest", f"--capacity-endpoint={suite.emulator.url}"])
    going = suite.start(program=("sh", "-c", f"{pytest_command} 2>&1 | cat"), endpoint=False)
    going.wait()
    assert suite.emulator.held(), "the pipe was over while things were still held"
    suite.emulator.go_on()
    suite.nothing_left()


def test_reader_goes_away(suite: Suite) -> None:
    """`pytest | head -1`: the reader is gone, and everything is given back all the same."""
    command = shlex.join([sys.executable, "-m", "pytest", "-v", f"--capacity-endpoint={suite.emulator.url}"])
    suite.run(program=("sh", "-c", f"{command} 2>&1 | head -1"), endpoint=False)
    suite.nothing_left()
    assert suite.emulator.calls("RunInstances") == [] or suite.emulator.calls("TerminateInstances")


def test_everything_closed(suite: Suite) -> None:
    """Standard input, output and error closed by the process that started pytest: the run holds nothing at the end."""
    command = shlex.join(
        [sys.executable, "-m", "pytest", "-p", "no:capture", f"--capacity-endpoint={suite.emulator.url}"]
    )
    ended = suite.run(program=("sh", "-c", f"exec {command} <&- 2>/dev/null"), endpoint=False)
    assert ended.code == 0, ended
    provisioned_once(suite, ended)


def test_debugger_without_input(suite: Suite) -> None:
    """`--pdb` where no terminal is there: the debugger gives up, the run ends, nothing is left."""
    suite.write("test_suite.py", "def test(capacity):\n    assert False\n")
    ended = suite.run("--pdb")
    assert ended.code != 0, ended
    provisioned_once(suite, ended)


@AS_ROOT
def test_read_only_working_directory(suite: Suite) -> None:
    """A checkout mounted read-only: nothing of ours needs to be written into it."""
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" "$0" && cd "$0" && exec "$@"'
    if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this machine allows no mount namespaces")
    ended = suite.run(prefix=("unshare", "-m", "sh", "-c", script, str(suite.tests)))
    assert ended.code == 0, ended
    assert not (suite.tests / ".pytest_cache").exists(), "it was read-only"
    provisioned_once(suite, ended)


def test_relative_credentials_file(suite: Suite) -> None:
    """A credentials file named relative to where pytest starts is found by the keeper, which runs in `/`."""
    suite.write("secrets", f"[ci]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = {SECRET}\n")
    suite.configure(aws={"image": {"us-east-1": "ami-12c6146b"}, "profile": "ci"})
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    ended = suite.run(env={"AWS_SHARED_CREDENTIALS_FILE": "secrets", **dict.fromkeys(keys)})
    assert ended.code == 0, ended
    assert "profile ci" in ended.out
    provisioned_once(suite, ended)


def test_two_runs_at_once_share_nothing(suite: Suite) -> None:
    """Two runs side by side with one journal: each has its own keeper and nodes, and each gives back its own."""
    suite.write("test_suite.py", _MEET.format(directory=str(suite.path)))
    runs = [suite.start(env={"MEET": name}) for name in ("one", "two")]
    ended = [run.wait() for run in runs]
    assert [one.code for one in ended] == [0, 0], ended
    suite.nothing_left()
    nodes = [(suite.path / name).read_text().split() for name in ("one", "two")]
    assert len(set(nodes[0] + nodes[1])) == 6


def test_an_emulated_run_sees_nothing_of_the_users_accounts(suite: Suite) -> None:
    """Profiles that are not there or that run a program, in variables and files: none is read, and nothing is run."""
    ran = suite.path / "ran"
    program = suite.write("credentials.sh", f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    sections = "".join(f"[{name}]\ncredential_process = {program}\n" for name in ("default", "profile ci"))
    folder = suite.home / ".aws"
    folder.mkdir()
    (folder / "config").write_text(sections)
    files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"))
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"))
    for profile in ("ci", "not-there"):
        env = {"AWS_PROFILE": profile, **files, **keys}
        ended = suite.run("--capacity-emulator", "-p", "no:xdist", endpoint=False, env=env)
        assert ended.code == 0, ended
        assert "profile" not in ended.out, "none is used, so none is shown"
        assert not ran.exists()


_MEET = """
import os, pathlib, time
def test_meet(capacity):
    here = pathlib.Path({directory!r})
    mine = here / (os.environ["MEET"] + ".part")
    mine.write_text(" ".join(node.id for node in capacity.nodes()))
    mine.rename(here / os.environ["MEET"])
    end = time.monotonic() + 200
    while not all((here / name).exists() for name in ("one", "two")):
        assert time.monotonic() < end
        time.sleep(0.02)
"""


def test_same_run_id_twice(suite: Suite) -> None:
    """A second run under the id of one that lives gets an error that says so, and takes nothing from the first."""
    suite.configure(test_id="nightly-7")
    first = suite.path / "first"
    suite.write("test_suite.py", _HOLD.format(ready=str(first), go=str(suite.path / "go")))
    going = suite.start()
    until(first.exists, PATIENCE, "the first run holds its nodes")
    second = suite.run()
    assert second.code == 1, second
    assert suite.logs().count("of run nightly-7 on Python") == 2, (
        "one keeper each: the refused one is not taken for dead"
    )
    assert "nightly-7" in second.text
    assert "has a keeper already" in second.text
    assert suite.emulator.held("instance"), "the first one's are untouched"
    (suite.path / "go").touch()
    ended = going.wait()
    assert ended.code == 0, ended
    provisioned_once(suite, ended)


_HOLD = """
import pathlib, time
def test_hold(capacity):
    pathlib.Path({ready!r}).touch()
    end = time.monotonic() + 200
    while not pathlib.Path({go!r}).exists():
        assert time.monotonic() < end
        time.sleep(0.02)
"""
