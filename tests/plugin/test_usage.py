"""Bad input is a usage error before any call; what wins over what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.plugin.conftest import CONFIG, Run

SHOWS_CONFIG = """
    import msgspec

    def test_config(capacity_config):
        print("CONFIG " + msgspec.json.encode(capacity_config).decode())
"""


def shown(result: pytest.RunResult) -> dict[str, Any]:
    """What the suite's capacity_config was."""
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    line = next(line for line in result.outlines if "CONFIG " in line)
    config: dict[str, Any] = json.loads(line.partition("CONFIG ")[2])
    return config


def along(config: dict[str, Any]) -> list[str]:
    """The switches of fallback that are on."""
    return [name for name, on in config["fallback"].items() if on is True]


@pytest.fixture(autouse=True)
def suite(pytester: pytest.Pytester) -> None:
    """A suite that shows its configuration and provisions nothing."""
    pytester.makepyfile(SHOWS_CONFIG)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--capacity-backend=azzure"], ["*--capacity-backend*azzure*"]),
        (["--capacity-duration=soon"], ["*--capacity-duration*soon*"]),
        (["--capacity-market=bazaar"], ["*--capacity-market*bazaar*"]),
        (["--capacity-region=us-east-1", "--capacity-zone=eu-west-1a"], ["*--capacity-zone*"]),
        (["--capacity-endpoint=ftp://x", "--capacity-fallback=zones"], ["*-fallback*zone?*", "*--capacity-endpoint*"]),
        (["--capacity-on-exhausted=ignore"], ["ERROR: *-on-exhausted: 'ignore' is none of fail, skip, xfail*"]),
        (["-o", "capacity_reserve=maybe"], ["*ini capacity_reserve: 'maybe' is neither true nor false*"]),
        (["--capacity-config=nowhere.yaml"], ["*there is no file */nowhere.yaml*"]),
        (["--capacity-emulator=nowhere.yaml"], ["*there is no scenario file */nowhere.yaml*"]),
        (["--capacity-emulator=."], ["*--capacity-emulator: '.' is no scenario file*"]),
        (["-d", "--tx", "ssh=host"], ["*--tx ssh=host: a worker on another machine*"]),
        (["-d", "--tx", "2*socket=host:8888"], ["*another machine*-n N*"]),
    ],
)
def test_a_bad_flag_is_a_usage_error(run: Run, arguments: list[str], words: list[str]) -> None:
    """It names the flag and the remedy, and no test runs."""
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(words)
    result.stdout.no_fnmatch_line("*passed*")


def test_a_flag_wins_over_environment_ini_and_file(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLI over environment over ini over file, seen on the duration."""
    with_file = CONFIG + "duration: 10m\n"
    assert shown(run("-s", config=with_file))["duration_s"] == 600
    pytester.makeini("[pytest]\ncapacity_duration = 11m")
    assert shown(run("-s", config=with_file))["duration_s"] == 660
    monkeypatch.setenv("PYTEST_CAPACITY_DURATION", "12m")
    assert shown(run("-s", config=with_file))["duration_s"] == 720
    assert shown(run("-s", "--capacity-duration=13m", config=with_file))["duration_s"] == 780


def test_lists_and_truth_values_come_from_everywhere(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zones repeat on the command line, stand comma-separated in the environment and line by line in ini."""
    from_flags = shown(run("-s", "--capacity-zone=b", "--capacity-zone=a", "--capacity-retry-until=1m"))
    assert (from_flags["zones"], from_flags["retry_until_s"]) == (["b", "a"], 60)
    pytester.makeini("[pytest]\ncapacity_zone =\n  c\n  b\ncapacity_reserve = no\ncapacity_fallback = zone, type")
    from_ini = shown(run("-s"))
    assert (from_ini["zones"], from_ini["reserve"]) == (["c", "b"], False)
    assert along(from_ini) == ["zones", "instance_types"]
    monkeypatch.setenv("PYTEST_CAPACITY_ZONE", "a, c")
    monkeypatch.setenv("PYTEST_CAPACITY_RESERVE", "1")
    monkeypatch.setenv("PYTEST_CAPACITY_FALLBACK", "none")
    from_environment = shown(run("-s"))
    assert (from_environment["zones"], from_environment["reserve"]) == (["a", "c"], True)
    assert along(from_environment) == []
    from_flags = shown(run("-s", "--no-capacity-reserve", "--capacity-fallback=spot,zone"))
    assert from_flags["reserve"] is False
    assert along(from_flags) == ["spot_to_on_demand", "zones"]


def test_the_file_is_found_from_a_subdirectory_too(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """capacity.yaml is looked for where pytest starts, then in its root directory."""
    pytester.makeini("[pytest]")
    (pytester.path / "capacity.yaml").write_text(CONFIG)
    monkeypatch.chdir(pytester.mkdir("below"))
    assert shown(run("-s", str(pytester.path), config=None))["backend"] == "aws"


def test_the_journal_is_beside_its_file(run: Run, pytester: pytest.Pytester) -> None:
    """A relative journal in capacity.yaml is relative to that file, since the keeper runs in another directory."""
    assert shown(run("-s", config=CONFIG + "journal: j.sqlite\n"))["journal"] == str(pytester.path / "j.sqlite")


def test_topologies_come_from_the_hook_too(run: Run, pytester: pytest.Pytester) -> None:
    """They stand beside those of the file, under the mapping's key."""
    pytester.makeconftest(
        """
        from pytest_capacity import NodeGroup, Topology

        def pytest_capacity_topologies(config):
            return {"wide": Topology(groups=(NodeGroup(name="db", count=9, instance_type="i4i.large"),))}
        """
    )
    topologies = shown(run("-s"))["topologies"]
    assert isinstance(topologies, dict)
    assert set(topologies) == {"default", "wide"}
    assert topologies["wide"]["name"] == "wide"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return ['wide']", "*return a mapping by name*"),
        ("return {'wide': 3}", "*'wide' is 3; make it a pytest_capacity.Topology*"),
    ],
)
def test_the_hook_must_return_topologies(run: Run, pytester: pytest.Pytester, body: str, words: str) -> None:
    """Anything else is a usage error that says what is wanted."""
    pytester.makeconftest(f"def pytest_capacity_topologies(config):\n    {body}\n")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([words])


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ("grup='db'", "*unexpected keyword argument 'grup'*"),
        ("count=0", "*count is 0: write a whole number from 1 up*"),
        ("group=3", "*group is 3*"),
        ("'default', 'db'", "*too many positional arguments*"),
    ],
)
def test_a_misused_marker_is_a_usage_error(run_on: Run, pytester: pytest.Pytester, mark: str, words: str) -> None:
    """It names the test and the signature, before any test runs."""
    pytester.makepyfile(f"import pytest\n@pytest.mark.capacity({mark})\ndef test_it(capacity_node): pass\n")
    result = run_on()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([words])
    result.stderr.fnmatch_lines(["*::test_it: marker `capacity`*capacity(topology=*"])


IMPOSSIBLE = """
    import pytest

    @pytest.mark.capacity("wide")
    def test_topology(capacity_node): pass

    @pytest.mark.capacity(group="nope")
    @pytest.mark.parametrize("n", range(3))
    def test_group(capacity_node, n): pass

    @pytest.mark.capacity(group="db", count=3)
    def test_count(capacity_node): pass

    @pytest.mark.capacity(count=0)
    def test_zero(capacity_node): pass

    @pytest.mark.skipif(True, reason="a wide configuration only")
    @pytest.mark.capacity("wide")
    def test_skipped(capacity_node): pass

    def test_sound(capacity_node): pass
"""


def test_every_marker_that_cannot_be_met_is_named_at_once(run_on: Run, pytester: pytest.Pytester) -> None:
    """Unknown topology and group, too high a count, bad arguments: one usage error; what is skipped may ask so."""
    pytester.makepyfile(IMPOSSIBLE)
    result = run_on()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*::test_topology: marker `capacity`: no topology 'wide' is configured. There are: default",
            "*::test_group: marker `capacity`: no group 'nope' in topology 'default'. It has: db, loader",
            "*::test_count: marker `capacity`: *3 nodes at once, and group 'db' of topology 'default' has 2. Lower *",
            "*::test_zero: marker `capacity`: count is 0*",
        ]
    )
    assert result.stderr.str().count("marker `capacity`") == 4
    result.stdout.no_fnmatch_line("*capacity: *attempt*")


@pytest.mark.parametrize("option", ["--fixtures", "--fixtures-per-test"])
def test_fixtures_can_be_shown_whatever_the_markers_say(run_on: Run, pytester: pytest.Pytester, option: str) -> None:
    """A user who looks up the fixtures is about to mend the marker."""
    pytester.makepyfile(IMPOSSIBLE)
    assert run_on(option).ret == 0


def test_a_misused_marker_in_a_worker_fails_that_test(run_on: Run, pytester: pytest.Pytester) -> None:
    """Under -n the others run: a usage error in a worker would only be the controller's internal error."""
    pytester.makepyfile(
        "import pytest\n@pytest.mark.capacity(grup='db')\ndef test_it(): pass\ndef test_other(): pass\n"
    )
    result = run_on("-n1")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*test_it: marker `capacity`*'grup'*"])
