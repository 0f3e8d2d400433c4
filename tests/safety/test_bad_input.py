"""Bad input is a usage error that names where it stands, what is wrong and what to do, before any call is made."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from tests.emulated import ROOT
from tests.safety.runs import GROUPS, Ended, Suite, provisioned_nothing, provisioned_once

DB: Final[Mapping[str, Any]] = {"count": 1, "instance_type": "i4i.large"}
NOTHING: Final[Sequence[str]] = ()


def refused(suite: Suite, ended: Ended, *words: str) -> None:
    """Exit code 4, all of ``words`` on standard error, no traceback, no test, and no call of any kind."""
    assert ended.code == 4, ended
    for word in words:
        assert word in ended.err, ended
    assert "Traceback" not in ended.text
    assert "INTERNALERROR" not in ended.text
    assert " passed" not in ended.text
    assert suite.emulator.calls() == []
    provisioned_nothing(suite, ended)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        pytest.param({"grups": 1}, ("capacity.yaml: grups", "Did you mean groups?"), id="unknown-key"),
        pytest.param(
            {"groups": {"db": {**DB, "instance-type": "x"}}},
            ("groups.db.instance-type", "Did you mean instance_type?"),
            id="unknown-key-of-a-group",
        ),
        pytest.param({"groups": {"db": {**DB, "count": 0}}}, ("groups.db.count", "whole number from 1"), id="count-0"),
        pytest.param({"groups": {}}, ("groups", "Add a group"), id="no-group"),
        pytest.param({"duration": "soon"}, ("capacity.yaml: duration", "'soon'", "90m"), id="duration"),
        pytest.param({"release_timeout": "2d"}, ("release_timeout", "is too long", "1h"), id="release-timeout"),
        pytest.param({"aws": {}}, ("groups.db", "image", "us-east-1"), id="no-image"),
        pytest.param({"backend": "asw"}, ("capacity.yaml: backend", "'asw'", "aws"), id="backend"),
        pytest.param({"zones": ["eu-west-1a"]}, ("capacity.yaml: zones", "is not a zone of us-east-1"), id="zone"),
        pytest.param(
            {"groups": {"db": {"count": 1, "instance_type": "t3.large", "placement_group": True}}},
            ("groups.db.placement_group", "burstable"),
            id="placement-group",
        ),
        pytest.param({"endpoint": "http://ec2.example.com"}, ("endpoint", "Use https"), id="endpoint"),
    ],
)
def test_file(suite: Suite, keys: Mapping[str, Any], words: Sequence[str]) -> None:
    """The file's faults: each with file, key and remedy."""
    suite.configure(**{"groups": GROUPS, **keys})
    refused(suite, suite.run(endpoint="endpoint" not in keys), str(suite.tests / "capacity.yaml"), *words)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        pytest.param(("--capacity-config=nope.yaml",), {}, ("--capacity-config", "nope.yaml"), id="no-such-file"),
        pytest.param(("--capacity-zone=eu-west-1a",), {}, ("--capacity-zone", "is not a zone of us-east-1"), id="zone"),
        pytest.param(("--tx", "ssh=host//python=python3"), {}, ("--tx ssh=host", "-n N"), id="tx-ssh"),
        pytest.param(("--tx", "3*socket=host:8888"), {}, ("--tx 3*socket=host:8888", "-n N"), id="tx-socket"),
        pytest.param(NOTHING, {"PYTEST_CAPACITY_RESERVE": "maybe"}, ("PYTEST_CAPACITY_RESERVE", "'maybe'"), id="truth"),
        pytest.param(NOTHING, {"PYTEST_CAPACITY_DURATION": "x"}, ("PYTEST_CAPACITY_DURATION", "90m"), id="env"),
        pytest.param(NOTHING, {"PYTEST_CAPACITY_BACKEND": "x"}, ("PYTEST_CAPACITY_BACKEND", "aws"), id="env-backend"),
        pytest.param(NOTHING, {"PYTEST_CAPACITY_CREDENTIALS": "x"}, ("CREDENTIALS", "warn, error"), id="env-choice"),
        pytest.param(
            ("--capacity-keeper-python=/no/such/python",),
            {},
            ("/no/such/python", "--capacity-keeper-python"),
            id="python",
        ),
    ],
)
def test_flags_and_environment(
    suite: Suite, arguments: Sequence[str], environment: Mapping[str, str], words: Sequence[str]
) -> None:
    """The faults of flags and variables: each by its name."""
    refused(suite, suite.run(*arguments, env=environment), *words)


def test_a_path_after_the_emulator_flag_is_a_path(suite: Suite) -> None:
    """`--capacity-emulator tests/` runs the tests in that folder, against the emulator."""
    (suite.tests / "tests").mkdir()
    suite.write("tests/test_here.py", "def test_one(capacity):\n    assert capacity.nodes('db')\n")
    ended = suite.run("--capacity-emulator", "tests/", endpoint=False)
    assert ended.code == 0, ended
    assert "1 passed" in ended.out
    assert "EMULATED" in ended.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-o", "capacity_emulator="), "ini capacity_emulator: it is empty"),
        (("--capacity-scenario=weather.yaml",), "--capacity-scenario: a scenario is the emulator's"),
        (("--capacity-emulator", "--capacity-scenario=none.yaml"), "there is no scenario file"),
        (("--capacity-emulator=a.yaml", "--capacity-scenario=b.yaml"), "both name a scenario"),
    ],
)
def test_emulator_and_scenario(suite: Suite, arguments: tuple[str, ...], words: str) -> None:
    """What would mean the real cloud by mistake, or two scenarios, is a usage error."""
    refused(suite, suite.run(*arguments, endpoint=False), words)


def test_broken_scenario(suite: Suite) -> None:
    """A scenario that the emulator does not take is a usage error with the emulator's words."""
    suite.write("weather.yaml", "latency: 3\n")
    ended = suite.run("--capacity-emulator=weather.yaml", endpoint=False)
    refused(suite, ended, "--capacity-emulator", "weather.yaml: unknown key latency")


def test_several_at_once(suite: Suite) -> None:
    """Everything that is wrong is said at once, wherever it was written."""
    suite.configure(groups={"db": {**DB, "count": 0}, "x": {"count": 1}}, duration="soon", grups=1, prices={"a": -1})
    ended = suite.run("--capacity-zone=eu-west-1a", env={"PYTEST_CAPACITY_TIMEOUT": "late"})
    words = ("db.count", "groups.x.instance_type", "duration", "grups", "prices.a", "--capacity-zone", "_TIMEOUT")
    refused(suite, ended, *words)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("backend: aws\n\tgroups: [", id="yaml"),
        pytest.param("backend: aws\nbackend: aws\n", id="twice"),
        pytest.param("backend: aws\ngroups: &a [*a, *a]\n", id="recursive"),
    ],
)
def test_file_that_is_no_yaml(suite: Suite, text: str) -> None:
    """Broken YAML, a key given twice, an anchor that holds itself: the file is named, there is no traceback."""
    suite.write("capacity.yaml", text)
    refused(suite, suite.run(), str(suite.tests / "capacity.yaml"))


def test_unknown_profile(suite: Suite) -> None:
    """A profile that the SDK's files do not have is found when the SDK is, before any call."""
    suite.configure(aws={"image": {"us-east-1": "ami-12c6146b"}, "profile": "nobody"})
    refused(suite, suite.run(), "aws.profile", "nobody", "AWS_SHARED_CREDENTIALS_FILE")
    # Nor is it listed for ever as one that is under way.
    with closing(sqlite3.connect(suite.journal)) as journal:
        assert [kind for (kind,) in journal.execute("SELECT kind FROM events")] == ["run-started", "run-ended"]


def environment_without(path: Path, *modules: str) -> Path:
    """The interpreter of a new environment that has all that ours has, but for ``modules``."""
    venv.create(path, symlinks=True)
    (theirs,) = path.glob("lib/python3*/site-packages")
    ours = Path(sysconfig.get_path("purelib"))
    for entry in ours.iterdir():
        if not entry.name.startswith(modules):
            (theirs / entry.name).symlink_to(entry)
    return path / "bin" / "python"


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with pytest-capacity and without the SDK."""
    return environment_without(tmp_path_factory.mktemp("bare") / "venv", "boto")


def test_extra_not_installed(suite: Suite, bare_python: Path) -> None:
    """The SDK is not installed beside pytest: the error names the extra, and nothing is started."""
    ended = suite.run(program=(str(bare_python), "-m", "pytest"), env={"PYTHONPATH": _checkout()})
    refused(suite, ended, "botocore", "[aws]'", "--capacity-keeper-python")
    assert list(suite.state.iterdir()) == []


def test_extra_not_installed_for_the_keeper(suite: Suite, bare_python: Path) -> None:
    """The SDK is not installed where the keeper runs: found when it starts, before any call."""
    ended = suite.run(f"--capacity-keeper-python={bare_python}")
    refused(suite, ended, "botocore", "[aws]'")


def test_keeper_on_another_interpreter(suite: Suite, bare_python: Path) -> None:
    """pytest runs where no SDK is installed, the keeper where it is: one provisioning as ever."""
    ended = suite.run(
        f"--capacity-keeper-python={sys.executable}",
        program=(str(bare_python), "-m", "pytest"),
        env={"PYTHONPATH": _checkout()},
    )
    assert ended.code == 0, ended
    provisioned_once(suite, ended)


def test_keeper_on_something_that_is_no_interpreter(suite: Suite) -> None:
    """A program that is no Python, or has no pytest-capacity: its last words are shown, with the flag's name."""
    suite.write("test_suite.py", "def test(capacity):\n    pass\n")
    ended = suite.run("--capacity-keeper-python=/bin/false")
    assert ended.code in (1, 4), ended
    assert "keeper" in ended.text
    provisioned_nothing(suite, ended)


def _checkout() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@pytest.mark.parametrize(("choice", "code", "outcome"), [("error", 1, "error"), ("skip", 0, "skipped")])
def test_disabled(suite: Suite, choice: str, code: int, outcome: str) -> None:
    """Without a backend there is no process and no file; a test that asks gets what ini capacity_when_disabled says."""
    (suite.tests / "capacity.yaml").unlink()
    ended = suite.run("-o", f"capacity_when_disabled={choice}", "-rs", "-p", "no:cacheprovider", endpoint=False)
    assert ended.code == code, ended
    assert (ended.count(outcome), ended.count("passed")) == (2, 1), ended
    assert "--capacity-backend" in ended.out
    assert list(suite.state.iterdir()) == list(suite.home.iterdir()) == []
    assert suite.keepers() == []
    assert "receipt" not in ended.out


def test_secrets_are_not_shown(suite: Suite) -> None:
    """A password in a URL, keys in the environment: no message repeats them."""
    ended = suite.run("--capacity-endpoint=http://user:hunter2@127.0.0.1:1", env={"AWS_SECRET_ACCESS_KEY": "s3cr3t"})
    refused(suite, ended, "--capacity-endpoint", "holds a user or password")
    assert "hunter2" not in ended.text
    assert "s3cr3t" not in json.dumps([ended.text, suite.logs()])
