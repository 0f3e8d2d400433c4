"""`CapacityReservation`: the interface without pytest, and the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import pytest_capacity
from pytest_capacity import CapacityError, CapacityReservation, ConfigError, cli
from pytest_capacity.remote.machine import Machine
from tests.emulated import IMAGE, Emulator


@pytest.fixture
def params(cloud: Emulator) -> Mapping[str, Any]:
    """Two groups in us-east-1, a or b, on the emulated cloud."""
    return {
        "backend": "aws",
        "regions": ["us-east-1"],
        "zones": ["a", "b"],
        "project": "tests",
        "endpoint": cloud.url,
        "groups": {
            "db": {"count": 2, "instance_type": "i4i.large"},
            "loader": {"count": 1, "instance_type": "c6i.xlarge"},
        },
        "aws": {"image": {"us-east-1": IMAGE}},
    }


def test_reserve_get_id_cancel(cloud: Emulator, params: Mapping[str, Any]) -> None:
    """Reservations only, found by letter and by name, gone when cancelled."""
    cloud.weather(stock={"us-east-1a": {"i4i.large": 0}})
    reservation = CapacityReservation()
    reservation.reserve(params)
    held = {one["id"] for one in cloud.held()}
    assert {reservation.get_id("b", "i4i.large"), reservation.get_id("us-east-1b", "c6i.xlarge")} == held
    with pytest.raises(CapacityError, match=r"no reservation for i4i\.large in a\. This run holds: .*us-east-1b"):
        reservation.get_id("a", "i4i.large")
    with pytest.raises(CapacityError, match="reserved already"):
        reservation.reserve(params)
    reservation.cancel(params)
    assert cloud.held() == []
    assert cloud.calls("RunInstances") == []
    reservation.cancel(params)


def test_another_run_is_cancelled_in_all_regions(cloud: Emulator, params: Mapping[str, Any]) -> None:
    """What bears the test id goes, and what bears another one stays."""
    ours = CapacityReservation()
    ours.reserve({**params, "test_id": "ours"})
    ours.cancel_all_regions("somebody-elses")
    assert len(cloud.held()) == 2
    ours.cancel_all_regions("ours")
    assert cloud.held() == []
    ours.cancel_all_regions("ours", params)


@pytest.mark.parametrize(
    ("changes", "enabled"),
    [
        ({}, True),
        ({"reserve": None}, True),
        ({"reserve": False}, False),
        ({"reserve": "no"}, False),
        ({"reserve": "yes"}, True),
        ({"backend": None}, False),
    ],
)
def test_is_enabled(params: Mapping[str, Any], changes: Mapping[str, Any], enabled: bool) -> None:
    """A backend, and reserve not switched off."""
    assert CapacityReservation().is_enabled({**params, **changes}) is enabled


def test_is_enabled_by_a_file(tmp_path: Path) -> None:
    """The path of a capacity.yaml does as well."""
    path = tmp_path / "capacity.yaml"
    path.write_text("regions: [us-east-1]\n")
    assert CapacityReservation().is_enabled(path) is False
    path.write_text(
        "backend: aws\nregions: [us-east-1]\n"
        f"groups: {{db: {{count: 1, instance_type: i4i.large, image: {IMAGE}}}}}\nreserve: false\n"
    )
    assert CapacityReservation().is_enabled(str(path)) is False
    path.write_text(path.read_text().replace("reserve: false", "reserve: true"))
    assert CapacityReservation().is_enabled(path) is True


def test_is_enabled_does_not_guess(params: Mapping[str, Any], tmp_path: Path) -> None:
    """A path that leads nowhere, a truth value that is none: errors, since either would switch reserving off."""
    with pytest.raises(ConfigError, match=r"nofile\.yaml: cannot be read: No such file"):
        CapacityReservation().is_enabled(tmp_path / "nofile.yaml")
    with pytest.raises(ConfigError, match="params: reserve: 'maybe' is neither true nor false"):
        CapacityReservation().is_enabled({**params, "reserve": "maybe"})


def test_faults_of_a_mapping_speak_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no file, no flag and no hook to be named to a caller who passed a mapping."""
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    params = {"grups": 1, "duration": "soon", "aws": {}, "use_reservations": ["x"]}
    # What regions and reservations look like is for the cloud to say.
    clouds: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["grups", "backend", "duration", "groups"]),
        ({"backend": "aws"}, ["grups", "duration", "regions", "use_reservations", "groups"]),
    ]
    for chosen, told in clouds:
        with pytest.raises(ConfigError) as refused:
            CapacityReservation().reserve({**params, **chosen})
        faults = refused.value.faults
        assert [fault.split(": ")[1] for fault in faults] == told
        assert {fault.split(":")[0] for fault in faults} == {"params"}
        for word in ("capacity.yaml", "--capacity", "hook"):
            assert word not in str(refused.value)


def test_it_needs_no_pytest() -> None:
    """Neither pytest nor an SDK is loaded by it; nor does the class of the nodes load what reaches them."""
    code = (
        "import sys; from pytest_capacity import CapacityReservation; print({'pytest', 'boto3'} & set(sys.modules)); "
        "from pytest_capacity import Node; print({'paramiko', 'boto3'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "set()"]


def test_the_command_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    """pytest-capacity --version."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"pytest-capacity {pytest_capacity.__version__}\n"


def test_the_command_without_a_verb_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """And its status is that of a usage error."""
    assert cli.main([]) == 2
    assert "emulator" in capsys.readouterr().out


def test_the_emulator_without_its_extra_names_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback, but what to install."""
    monkeypatch.setattr(cli, "find_spec", lambda _name: None)
    assert cli.main(["emulator"]) == 1
    assert re.search(r"moto, yaml is not installed.*install .*\[emulator\]'", capsys.readouterr().err)


def test_the_emulator_gets_its_arguments(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`pytest-capacity emulator --help` is the emulator's own."""
    # The process becomes the emulator, which forgets the user's variables; this one goes on.
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(SystemExit):
        cli.main(["emulator", "--help"])
    assert "--scenario" in capsys.readouterr().out


def test_public_names_are_there() -> None:
    """All that __all__ lists can be had, and nothing else; a node is what tests get."""
    for name in pytest_capacity.__all__:
        assert getattr(pytest_capacity, name) is not None
    assert set(dir(pytest_capacity)) == set(pytest_capacity.__all__)
    assert pytest_capacity.Node is Machine
    assert issubclass(pytest_capacity.CommandFailed, pytest_capacity.NodeError)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        pytest_capacity.Nonsense  # noqa: B018
