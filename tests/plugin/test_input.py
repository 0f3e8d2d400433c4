"""What a user may get wrong around the configuration: files, interpreters, variables; and what is told instead."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.emulated import ROOT, Emulator
from tests.plugin.conftest import CONFIG, Run

ASKS = """
    def test_asks(capacity):
        pass

    def test_asks_too(capacity_node):
        pass

    def test_does_not():
        pass
"""


@pytest.fixture(autouse=True)
def suite(pytester: pytest.Pytester) -> None:
    """Two tests that ask for capacity, and one that does not."""
    pytester.makepyfile(ASKS)


def refused(result: pytest.RunResult, *words: str) -> None:
    """A usage error with these words, before any test."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str()
    for word in words:
        assert word in result.stderr.str()
    result.stdout.no_fnmatch_line("*passed*")


@pytest.mark.parametrize("way", ["flag", "environment", "ini"])
def test_the_keepers_interpreter_may_be_relative(
    run_on: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """To where pytest was started, from ini to the ini-file, though the keeper runs elsewhere."""
    below = pytester.mkdir("below")
    script = f'#!/bin/sh\ntouch {pytester.path}/was-asked\nexec {sys.executable} "$@"\n'
    for folder in (pytester.path, below):
        (folder / "python").write_text(script)
        (folder / "python").chmod(0o755)
    pytester.makeini("[pytest]" + ("\ncapacity_keeper_python = ./python" if way == "ini" else ""))
    if way == "environment":
        monkeypatch.setenv("PYTEST_CAPACITY_KEEPER_PYTHON", "./python")
    (pytester.path / "capacity.yaml").write_text(CONFIG)
    (pytester.path / ("python" if way != "ini" else "below/python")).unlink()
    monkeypatch.chdir(below)
    flag = ["--capacity-keeper-python=./python"] if way == "flag" else []
    result = run_on(*flag, str(pytester.path), config=None)
    result.assert_outcomes(passed=3)
    assert (pytester.path / "was-asked").exists()


def test_an_interpreter_that_is_not_there(run: Run, pytester: pytest.Pytester) -> None:
    """A usage error with the path that was looked at."""
    refused(run("--capacity-keeper-python=v/bin/python"), "--capacity-keeper-python", f"{pytester.path}/v/bin/python")
    refused(run("--capacity-keeper-python=no-such-python"), "there is no program no-such-python")
    (pytester.path / "text").write_text("not a program")
    refused(run("--capacity-keeper-python=./text"), f"there is no program {pytester.path}/text")


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_an_interpreter_that_lacks_something(run: Run, pytester: pytest.Pytester, workers: str) -> None:
    """It is asked before anything is started; its own words are in the usage error, under -n too."""
    refused(run("--capacity-keeper-python=/bin/false", workers), "beside /bin/false", "no Python interpreter")
    lacks = pytester.path / "lacks"
    # Called as `lacks -I -c CODE ...`.
    lacks.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.append({str(ROOT)!r})\n"
        "sys.modules['botocore'] = None\ncode = sys.argv[3]\nsys.argv[1:] = sys.argv[4:]\nexec(code)\n"
    )
    lacks.chmod(0o755)
    refused(run(f"--capacity-keeper-python={lacks}", workers), f"beside {lacks}", "[aws]'")


def test_flags_without_a_file(run: Run, pytester: pytest.Pytester) -> None:
    """Who passes --capacity-emulator means to use the plugin: the error names where no file was found."""
    result = run("--capacity-emulator", config=None)
    result.assert_outcomes(passed=1, errors=2)
    told = f"--capacity-emulator alone chooses none; looked for capacity.yaml in {pytester.path}"
    result.stdout.fnmatch_lines([f"*no backend was chosen*{told}:*"])
    result = run("--capacity-emulator", config="regions: [us-east-1]\n")
    result.stdout.fnmatch_lines(
        [f"*chooses none, and neither does {pytester.path}/capacity.yaml: it has no `backend:`*"]
    )
    run(config=None).stdout.no_fnmatch_line("*looked for*")
    result = run("--capacity-emulator", config="backned: aws\n")
    result.stdout.fnmatch_lines(["*it has no `backend:`. Did you mean that by `backned:`?*"])


def test_a_file_that_cannot_be_read(run: Run, pytester: pytest.Pytester) -> None:
    """The reason is the true one, and never that it lacks a key: a directory, a loop of links, no text, no UTF-8."""
    (pytester.path / "loop.yaml").symlink_to("loop.yaml")
    (pytester.path / "latin.yaml").write_bytes("# für\nbackend: aws\n".encode("latin-1"))
    (pytester.path / "utf16.yaml").write_bytes("backend: aws\nregoins: [x]\n".encode("utf-16"))
    for name, why in (
        (".", "is a directory"),
        ("loop.yaml", "Too many levels of symbolic links"),
        ("latin.yaml", "Save it as UTF-8 text"),
        ("utf16.yaml", "regoins: is not a known key"),
        ("none.yaml", "there is no file"),
    ):
        refused(run(f"--capacity-config={name}", config=None), why)


def test_a_mistyped_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the plugin is on it is a usage error, since it may be the region; where it is off, a warning."""
    monkeypatch.setenv("PYTEST_CAPACITY_REGOIN", "eu-west-1")
    monkeypatch.setenv("PYTEST_CAPACITY_XYZZY", "1")
    result = run("-k", "not asks", config=None)
    result.assert_outcomes(passed=1, deselected=2, warnings=2)
    result.stdout.fnmatch_lines(["*PYTEST_CAPACITY_REGOIN*Did you mean*", "*PYTEST_CAPACITY_XYZZY*Known*BACKEND*"])
    refused(run(), "PYTEST_CAPACITY_REGOIN, which is not known. Did you mean PYTEST_CAPACITY_REGION?", "XYZZY")


def test_a_scenario_that_is_no_good_under_xdist(run: Run, pytester: pytest.Pytester) -> None:
    """Said once, as a usage error with the emulator's own words, and no second keeper is started for it.

    It is waited for, though the account would not be: no test may begin.
    """
    pytester.makeconftest("from pytest_capacity.plugin import session\nsession.IDENTITY_PATIENCE = 0.1\n")
    (pytester.path / "sc.yaml").write_text("stok: {}\n")
    result = run("-n1", "--capacity-emulator=sc.yaml")
    refused(result, "--capacity-emulator", "sc.yaml: unknown key stok; known keys: boot_s")
    assert (result.stdout.str() + result.stderr.str()).count("unknown key stok") == 1
    (log,) = [
        word for line in result.outlines if "keeper log" in line for word in line.split() if word.endswith(".log")
    ]
    assert Path(log).read_text().count(" of run ") == 1


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_without_credentials(run: Run, cloud: Emulator, monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    """Each test that asks, and the summary, say who said what and how to give credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    result = run(workers)
    result.assert_outcomes(passed=1, errors=2)
    words = (
        "asked the cloud who we are, and the SDK said NoCredentialsError: Unable to locate credentials. Name working"
    )
    assert sum(words in line for line in result.outlines) >= 3
    assert "no owner has started" not in result.stdout.str()
    summary = result.stdout.str().partition("= capacity =")[2]
    assert words in summary
    assert cloud.calls() == []


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_an_unknown_profile(run: Run, monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    """The reason and the remedy, wherever it is told."""
    monkeypatch.setenv("AWS_PROFILE", "nope")
    result = run(workers)
    told = result.stdout.str() + result.stderr.str()
    assert result.ret == (pytest.ExitCode.USAGE_ERROR if workers == "-n0" else pytest.ExitCode.TESTS_FAILED)
    assert "The config profile (nope) could not be found. Correct aws.profile or AWS_PROFILE" in told
    for vague in ("no owner has started", "ProfileNotFound(", "the keeper failed"):
        assert vague not in told


def test_old_logs_go_when_a_run_starts(run_on: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The log of a run of last month is removed, this run's own is there."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    logs = tmp_path / "pytest-capacity" / "logs"
    logs.mkdir(parents=True, mode=0o700)
    (logs / "old.log").write_text("old")
    month = time.time() - 31 * 86400
    os.utime(logs / "old.log", (month, month))
    run_on().assert_outcomes(passed=3)
    assert [log.name == "old.log" for log in logs.iterdir()] == [False]


def test_an_emulated_run_is_told_nothing_of_credentials(run: Run, pytester: pytest.Pytester) -> None:
    """It has none of the user's, and it is emulated already: what refuses it is the scenario."""
    pytester.makepyfile("def test_nodes(capacity): pass")
    (pytester.path / "sc.yaml").write_text(
        "faults: [{operation: GetCallerIdentity, error: InvalidClientTokenId}]\n", encoding="utf-8"
    )
    result = run("--capacity-emulator=sc.yaml")
    result.assert_outcomes(errors=1)
    told = result.stdout.str()
    assert "InvalidClientTokenId" in told
    assert "An emulator refuses what its scenario says (faults)" in told
    assert "working credentials" not in told
    assert "try --capacity-emulator" not in told
