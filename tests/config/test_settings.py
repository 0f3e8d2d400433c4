"""The ``aws:`` section: images, networks and keys that are one region's, and those that are looked up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pytest_capacity.backends.aws.settings import Lookup, section_of
from tests.config.files import IMAGE, Loader, aws, db, with_

LOOKUP: Mapping[str, Any] = {"name": "scylla-5.4-*", "owner": 123456789012}
FOUND = Lookup(name="scylla-5.4-*", owner="123456789012")


def two_regions(**changes: Any) -> dict[str, Any]:
    """A good configuration that may move to another region."""
    section = {"image": {"us-east-1": IMAGE, "eu-west-1": IMAGE}, **changes}
    return with_(regions=["us-east-1", "eu-west-1"], fallback={"regions": True}, aws=section)


def test_an_image_may_be_looked_up(loading: Loader) -> None:
    """By name and owner, for all regions or for one of them; our own is the default owner."""
    assert section_of(loading(aws(image=LOOKUP))).image == {"us-east-1": FOUND}
    assert section_of(loading(aws(image={"us-east-1": {"name": "mine"}}))).image == {"us-east-1": Lookup(name="mine")}
    mixed = {"us-east-1": LOOKUP, "eu-west-1": IMAGE}
    assert section_of(loading(two_regions(image=mixed))).image == {"us-east-1": FOUND, "eu-west-1": IMAGE}


@pytest.mark.parametrize("own", [{"image": LOOKUP}, {"aws": {"image": {"us-east-1": LOOKUP}}}])
def test_a_group_may_have_a_lookup_of_its_own(loading: Loader, own: dict[str, Any]) -> None:
    """It travels with the group's settings for the cloud."""
    group = loading(db(**own)).topologies["default"].group("db")
    assert group.image is None
    assert group.cloud == {"image": {"us-east-1": {"name": "scylla-5.4-*", "owner": "123456789012"}}}


def test_a_groups_images_by_region_are_kept_for_each(loading: Loader) -> None:
    """One id for all is the group's image; several are its settings."""
    other = "ami-11111111"
    values = two_regions()
    values["groups"] = {"db": {"count": 1, "instance_type": "i4i.large", "image": {"eu-west-1": other}}}
    group = loading(values).topologies["default"].group("db")
    assert (group.image, group.cloud) == (None, {"image": {"eu-west-1": other}})
    assert loading(db(image=other)).topologies["default"].group("db").image == other


def test_networks_may_be_looked_up(loading: Loader) -> None:
    """Subnets by their tag, security groups by name or by region."""
    request = loading(two_regions(subnets={"name": "test-*"}, security_groups=["ssh only", "cluster"]))
    assert (section_of(request).subnets, section_of(request).subnet_name) == ({}, "test-*")
    assert section_of(request).security_groups == ("ssh only", "cluster")
    by_region = {"us-east-1": ["sg-11111111"], "eu-west-1": ["sg-22222222", "mine"]}
    assert section_of(loading(two_regions(security_groups=by_region))).security_groups == {
        "us-east-1": ("sg-11111111",),
        "eu-west-1": ("sg-22222222", "mine"),
    }


@pytest.mark.parametrize(
    ("values", "where", "remedy"),
    [
        (aws(image={"owner": "self"}), "aws.image.name: is missing", "{name: 'scylla-5.4-*', owner: self}"),
        (aws(image={"name": "x", "owner": "me"}), "aws.image.owner: 'me' does not have", "self, amazon or"),
        (aws(image={"name": "x", "age": 1}), "aws.image.age: is not a known key", "name, owner"),
        (aws(image={"us-east-1": {"name": ""}}), "aws.image.us-east-1.name: is empty", "Give a value"),
        (aws(subnets={"name": ""}), "aws.subnets.name: is empty", "Give a value"),
        (aws(subnets={"name": "x", "us-east-1a": "subnet-11111111"}), "aws.subnets.us-east-1a: is not", "name"),
        (aws(subnet_name="x"), "aws.subnet_name: is not a known key", "subnets"),
        (aws(security_groups=["sg-x"]), "aws.security_groups: 'sg-x' does not have", "or a name"),
        (
            two_regions(security_groups=["sg-11111111"]),
            "aws.security_groups: sg-11111111 is of one region",
            "eu-west-1",
        ),
        (
            two_regions(security_groups={"us-east-1": ["x"]}),
            "aws.security_groups: none is named for eu-west-1",
            "leave",
        ),
        (two_regions(image={"us-east-1": LOOKUP}), "groups.db.image: no image is known for eu-west-1", "ami-"),
    ],
)
def test_a_fault_names_key_and_remedy(loading: Loader, values: dict[str, Any], where: str, remedy: str) -> None:
    """One bad value is one line."""
    loading.refuses(values, where, remedy)


def test_all_faults_of_the_section_come_at_once(loading: Loader) -> None:
    """Of images, networks and keys alike."""
    faults = loading.faults(
        two_regions(image={"name": 1}, subnets={"name": []}, security_groups=["sg-11111111"], key_name="")
    )
    text = "\n".join(faults)
    for where in ("image.name", "subnets.name", "security_groups", "key_name"):
        assert f"{loading.path}: aws.{where}" in text
