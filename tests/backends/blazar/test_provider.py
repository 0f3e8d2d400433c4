"""The first face of Blazar: what the file may say, and what it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_capacity.backends import INSTALLED, provider
from pytest_capacity.backends.blazar.settings import section_of, settings_of
from pytest_capacity.config.loading import load
from pytest_capacity.config.source import Overrides
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Request

IMAGE = "70a599e0-31e7-49b7-b260-868f441e862b"
GOOD: Mapping[str, Any] = {
    "backend": "blazar",
    "regions": ["RegionOne"],
    "groups": {"db": {"count": 3, "instance_type": "m1.large", "image": IMAGE}},
}


def read(folder: Path, environ: Mapping[str, str] | None = None, **changes: Any) -> Request:
    """The good configuration with keys changed, loaded."""
    import yaml

    path = folder / "capacity.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in {**GOOD, **changes}.items() if value is not None}))
    return load(Overrides(), clouds=INSTALLED, path=path, environ=environ or {}, new_run=lambda: "new-run")


def faults(folder: Path, **changes: Any) -> str:
    """What is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        read(folder, **changes)
    return "\n".join(caught.value.faults)


def group(**changes: Any) -> dict[str, Any]:
    """The group, changed."""
    return {"db": {**GOOD["groups"]["db"], **changes}}


def test_a_good_file_is_read(tmp_path: Path) -> None:
    """The section, and over it what a group says itself."""
    section = {"cloud": "lab", "reservation": "physical:host", "metadata": {"team": "db"}, "networks": IMAGE}
    own = {"reservation": "virtual:instance", "affinity": False, "metadata": {"role": "db"}}
    regions = ["RegionOne", "other/RegionTwo"]
    moves = {"regions": True}
    request = read(tmp_path, blazar=section, groups=group(blazar=own), regions=regions, fallback=moves)
    assert request.regions == ("RegionOne", "other/RegionTwo")
    assert (section_of(request).cloud, section_of(request).networks) == ("lab", (IMAGE,))
    settings = settings_of(request, request.topologies["default"].groups[0])
    assert (settings.image, settings.reserve) == (IMAGE, True)
    assert (settings.blazar.reservation, settings.blazar.affinity) == ("virtual:instance", False)
    assert settings.blazar.metadata == {"team": "db", "role": "db"}


def test_the_region_may_come_from_the_environment(tmp_path: Path) -> None:
    """As openstack's own client has it."""
    assert read(tmp_path, {"OS_REGION_NAME": "R1"}, regions=None).regions == ("R1",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": group(market="spot")}, "no spot market"),
        ({"groups": group(placement_group=True)}, "Blazar has none"),
        ({"groups": group(image=None)}, "image: is missing"),
        ({"groups": group(image="debian-12")}, "does not have the right form"),
        ({"groups": group(blazar={"cloud": "x"})}, "is not a known key"),
        ({"blazar": {"reservations": "x"}}, "Did you mean reservation"),
        ({"blazar": {"reservation": "virtual:floatingip"}}, "is not one of virtual:instance"),
        ({"blazar": {"resource_properties": '["==", "$gpu"'}}, "is not JSON"),
        ({"blazar": {"interface": "secret"}}, "is not one of public"),
        ({"use_reservations": ["x"]}, "belong to the lease"),
        ({"regions": ["a/b/c"]}, "does not have the right form"),
        ({"topologies": {"x" * 21: {"db": GOOD["groups"]["db"]}}, "groups": None}, "21 characters"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    """With where it stands, and what to do."""
    assert words in faults(tmp_path, **changes)


def test_the_clouds_file_of_this_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper works in another directory, so its whole path is handed on; a variable goes before it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n")
    blazar = provider("blazar")
    request = read(tmp_path)
    assert section_of(blazar.with_environment(request, {})).clouds_file == str(tmp_path / "clouds.yaml")
    chosen = blazar.with_environment(request, {"OS_CLOUD": "lab", "OS_CLIENT_CONFIG_FILE": "/etc/clouds.yaml"})
    assert (section_of(chosen).cloud, section_of(chosen).clouds_file) == ("lab", None)


def test_the_project_pins_the_run(tmp_path: Path) -> None:
    """By its setting, where there is one."""
    blazar = provider("blazar")
    assert blazar.account_setting(read(tmp_path)) == ("", "")
    assert blazar.account_setting(read(tmp_path, blazar={"project_id": IMAGE})) == ("blazar.project_id", IMAGE)
