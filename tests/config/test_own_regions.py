"""Regions that topologies have for themselves, and users that groups have for themselves."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_capacity import ladder
from pytest_capacity.config.source import Overrides
from pytest_capacity.model import NodeGroup, Topology
from tests.config.files import IMAGE, Loader

OTHER = "ami-0fedcba9876543210"
DB = {"count": 1, "instance_type": "i4i.large"}


def two(**changes: Any) -> dict[str, Any]:
    """A topology in each of two regions, with keys changed; None removes one."""
    values: dict[str, Any] = {
        "backend": "aws",
        "topologies": {
            "east": {"regions": ["us-east-1"], "groups": {"db": DB}},
            "west": {"regions": "us-west-2", "groups": {"db": DB}},
        },
        "aws": {"image": {"us-east-1": IMAGE, "us-west-2": OTHER}},
    }
    return {key: value for key, value in {**values, **changes}.items() if value is not None}


def test_each_topology_is_in_its_own_region(loading: Loader) -> None:
    """The run is in all of them; no common one is needed, and the environment's is not taken."""
    request = loading(two(), environ={"AWS_REGION": "eu-west-1"})
    assert request.regions == ("us-east-1", "us-west-2")
    assert {name: ladder.regions(request, one) for name, one in request.topologies.items()} == {
        "east": ("us-east-1",),
        "west": ("us-west-2",),
    }
    assert ladder.regions_in_use(request) == ("us-east-1", "us-west-2")


def test_the_others_have_the_common_ones(loading: Loader) -> None:
    """A run may have both; `groups` is a topology that names none."""
    topologies = {"west": {"regions": ["us-west-2"], "groups": {"db": DB}}}
    request = loading(two(topologies=topologies, groups={"db": DB}, regions=["us-east-1"]))
    assert request.regions == ("us-east-1", "us-west-2")
    assert {name: one.regions for name, one in request.topologies.items()} == {
        "default": ("us-east-1",),
        "west": ("us-west-2",),
    }
    by_environment = loading(two(topologies=topologies, groups={"db": DB}), environ={"AWS_REGION": "us-east-1"})
    assert by_environment.topologies == request.topologies


def test_without_own_regions_all_is_as_before(loading: Loader) -> None:
    """A topology has no regions then, so that a journal of an earlier version says the same."""
    request = loading(two(topologies={"a": {"groups": {"db": DB}}}, regions=["us-east-1"]))
    assert request.topologies["a"].regions == ()


def test_groups_need_images_of_their_own_regions_only(loading: Loader) -> None:
    """What a topology never sees of the other region is not asked for."""
    east: dict[str, Any] = {"regions": ["us-east-1"], "groups": {"db": {**DB, "image": {"us-east-1": IMAGE}}}}
    west: dict[str, Any] = {"regions": ["us-west-2"], "groups": {"db": {**DB, "image": OTHER}}}
    request = loading(two(topologies={"east": east, "west": west}, aws=None))
    assert [one.group("db").image for one in request.topologies.values()] == [IMAGE, OTHER]
    west["groups"] = {"db": DB}
    (fault,) = loading.faults(two(topologies={"east": east, "west": west}, aws=None))
    assert f"{loading.path}: topologies.west.groups.db.image: no image is known for us-west-2" in fault


def test_a_topology_moves_along_its_own_regions(loading: Loader) -> None:
    """With fallback along regions: those of the other topology are none of its."""
    topologies = two()["topologies"]
    topologies["east"]["regions"] = ["us-east-1", "us-east-2"]
    images = dict.fromkeys(("us-east-1", "us-east-2", "us-west-2"), IMAGE)
    request = loading(two(topologies=topologies, aws={"image": images}, fallback={"regions": True}))
    assert {name: ladder.regions(request, one) for name, one in request.topologies.items()} == {
        "east": ("us-east-1", "us-east-2"),
        "west": ("us-west-2",),
    }
    (fault,) = loading.faults(two(topologies=topologies, aws={"image": images}))
    assert f"{loading.path}: topologies.east.regions: us-east-1, us-east-2: nodes are placed in one region" in fault


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"regions": ["eu-west-1"]}, "regions: is given, and every topology names regions for itself"),
        (
            {"fallback": {"regions": True}},
            "fallback.regions: there is no other region to fall back to than us-east-1",
        ),
        (
            {"topologies": {"a": {"regions": ["moon"], "groups": {"db": DB}}}},
            "topologies.a.regions: 'moon' does not have the right form",
        ),
        ({"topologies": {"a": {"regions": [], "groups": {"db": DB}}}}, "topologies.a.regions: names no region"),
        ({"topologies": {"a": {"region": "us-east-1", "groups": {"db": DB}}}, "regions": "us-east-1"}, "mean regions?"),
        ({"zones": ["eu-west-1a"]}, "zones: 'eu-west-1a' is not a zone of us-east-1, us-west-2"),
    ],
)
def test_each_fault_is_named(loading: Loader, changes: dict[str, Any], fault: str) -> None:
    """One line, where it stands."""
    faults = loading.faults(two(**changes))
    assert any(fault in line for line in faults), faults


def test_a_flag_is_for_all_topologies(loading: Loader) -> None:
    """So it contradicts regions of one."""
    faults = loading.faults(two(), Overrides(regions=("us-east-1",), source={"regions": "--capacity-region"}))
    fault = f"{loading.path}: topologies.east.regions: is given, and --capacity-region names regions for all topologies"
    assert faults[0].startswith(fault)


def test_a_hook_may_give_them(loading: Loader) -> None:
    """Regions and users are fields of the structs."""
    group = NodeGroup(name="db", count=1, instance_type="i4i.large", user="centos")
    given = {"east": Topology((group,), "east", ("us-east-1",))}
    request = loading(two(topologies=None), topologies=given)
    assert request.regions == ("us-east-1",)
    assert request.topologies["east"].group("db").user == "centos"


# Users.


def test_a_group_has_a_user_of_its_own(loading: Loader) -> None:
    """Its nodes are reached by SSH, then, and the others as the section says."""
    groups = {"db": {**DB, "ssh": {"user": "scyllaadm"}}, "loader": DB}
    values = two(topologies=None, groups=groups, regions=["us-east-1"])
    request = loading(values)
    assert [group.user for group in request.topologies["default"].groups] == ["scyllaadm", None]
    assert request.ssh is not None
    (fault,) = loading.faults({**values, "ssh": False})
    assert "ssh: is false, and the `ssh` of default/db cannot do without" in fault


@pytest.mark.parametrize(
    ("ssh", "fault"),
    [
        ({"user": "-x"}, "groups.db.ssh.user: '-x' does not have the right form"),
        ({"key": "x"}, "groups.db.ssh.key: is no key of a group: only `user` is. Write it in the section `ssh:`"),
        (True, "groups.db.ssh: does not hold keys and values"),
    ],
)
def test_faults_of_a_user(loading: Loader, ssh: object, fault: str) -> None:
    """Keys, ports and bastions are of the run."""
    values = two(topologies=None, groups={"db": {**DB, "ssh": ssh}}, regions=["us-east-1"])
    (line,) = loading.faults(values)
    assert fault in line


def test_machines_of_ones_own_have_users_too(loading: Loader) -> None:
    """Beside those that hosts have, which go first."""
    groups = {"db": {"hosts": ["10.0.0.1"], "ssh": {"user": "admin"}}}
    request = loading({"backend": "static", "groups": groups})
    assert request.topologies["default"].group("db").user == "admin"
