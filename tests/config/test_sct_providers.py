"""What a provider adds to the keys of scylla-cluster-tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pytest_capacity.backends import INSTALLED
from pytest_capacity.config.fields import Faults, as_choice
from pytest_capacity.config.files import Files
from pytest_capacity.config.loading import _KEYS, is_reserving
from pytest_capacity.config.provider import Reader, SctKeys, SctReading
from pytest_capacity.config.sct import is_sct, translate
from pytest_capacity.config.source import Overrides, Source
from tests.config.test_sct import NEXT_ZONE, sct


class Cloudy(Reader):
    """A cloud with every kind of key that a provider can add."""

    name = "cloudy"
    sct = SctKeys(
        reserve="cloudy_use_capacity_reservation",
        count="cloudy_reserved_count",
        zones=("cloudy_zones",),
        instance_type="cloudy_shape",
        types={"db": "cloudy_type_db", "loader": "cloudy_type_loader"},
        images={"db": "cloudy_image"},
        images_by_region=False,
        others=("cloudy_reservation_type",),
    )

    def read_sct(self, values: Mapping[str, Any], where: Callable[[str], str], faults: Faults) -> SctReading:
        key = "cloudy_reservation_type"
        kind = as_choice(values[key], ("zonal", "regional"), where(key), faults) if key in values else None
        return SctReading(spread_by=key if kind == "regional" else "", section={"kind": kind} if kind else {})


class WithCloudy:
    """What is installed, and one more."""

    def names(self) -> tuple[str, ...]:
        return (*INSTALLED.names(), "cloudy")

    def get(self, name: str) -> Reader:
        return Cloudy() if name == "cloudy" else INSTALLED.get(name)


def cloudy(**changes: Any) -> tuple[dict[str, Any], list[str]]:
    """A small file for it, translated, and the faults that are found in it."""
    faults = Faults()
    none = {"instance_type_db": None, "ami_id_db_scylla": None}
    source = Source(
        sct(cluster_backend="cloudy", **none, **changes), Files(values={}, name="capacity.yaml"), Overrides()
    )
    clouds = WithCloudy()
    found = translate(source, {}, (*_KEYS, *clouds.names()), clouds, lambda _words: None, faults)
    return found.values, faults.lines


def test_a_provider_adds_its_own_keys() -> None:
    """Switch, zones, one type and one image for all, and its section of the file."""
    values, faults = cloudy(
        cloudy_use_capacity_reservation=True,
        availability_zone=1,
        cloudy_zones=["1", 2],
        cloudy_shape="big",
        cloudy_image="an-image",
        cloudy_reserved_count="4",
        cloudy_reservation_type="zonal",
        **{NEXT_ZONE: True},
    )
    assert faults == []
    assert (values["backend"], values["reserve"], values["zones"]) == ("cloudy", True, ["1", "2", "*"])
    assert values["groups"] == {"db": {"count": 1, "instance_type": "big"}}
    assert values["cloudy"] == {"kind": "zonal", "image": "an-image"}
    assert values["fallback"] == {"spot_to_on_demand": False, "zones": True, "regions": False}


def test_a_type_of_the_cloud_goes_before_the_common_one() -> None:
    """And one alone asks for one node of its group, as `instance_type_loader` does."""
    keys = {"cloudy_image": "i", "cloudy_type_db": "own", "cloudy_type_loader": "small"}
    values, faults = cloudy(**keys, instance_type_loader="common", instance_type_monitor="common")
    assert faults == []
    assert {name: (group["count"], group["instance_type"]) for name, group in values["groups"].items()} == {
        "db": (1, "own"),
        "loader": (1, "small"),
        "monitor": (1, "common"),
    }


def test_a_provider_can_spread_the_nodes() -> None:
    """A reservation of a whole region is one a zone; that contradicts `colocate: zone`."""
    keys = {"cloudy_shape": "big", "cloudy_image": "i", "cloudy_reservation_type": "regional"}
    values, faults = cloudy(**keys)
    assert (values["colocate"], faults) == ("region", [])
    (fault,) = cloudy(**keys, colocate="zone")[1]
    assert fault.startswith("capacity.yaml: cloudy_reservation_type: is 'regional', and `colocate: zone`")


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"cloudy_reserved_count": 0}, "cloudy_reserved_count: 0 is not a number of machines"),
        ({"cloudy_reserved_count": True}, "cloudy_reserved_count: True is not a number of machines"),
        ({"cloudy_reservation_type": "global"}, "cloudy_reservation_type: 'global' is not one of zonal"),
        ({"cloudy_use_capacity_reservation": "maybe"}, "cloudy_use_capacity_reservation: 'maybe' is neither true nor"),
        ({"instance_type_db": "small"}, "instance_type_db: is 'small', and cloudy_shape is 'big'"),
        (
            {"instance_type_loader": "other", "cloudy_reserved_count": 3, "use_capacity_reservation": True},
            "cloudy_reserved_count: is one number, and several types are reserved: big, other",
        ),
        ({"cloudy_zonse": "1"}, "cloudy_zonse: is not a known key. Did you mean cloudy_zones?"),
    ],
)
def test_the_keys_of_a_provider_are_checked(keys: dict[str, Any], fault: str) -> None:
    """By its own rules, and those that hold for every cloud."""
    good = {"cluster_backend": "cloudy", "cloudy_shape": "big", "cloudy_image": "i"}
    values = {**sct(instance_type_db=None, ami_id_db_scylla=None), **good, **keys}
    faults = Faults()
    clouds = WithCloudy()
    translate(
        Source(values, Files(values={}, name="capacity.yaml"), Overrides()),
        {},
        (*_KEYS, *clouds.names()),
        clouds,
        lambda _words: None,
        faults,
    )
    assert len(faults.lines) == 1
    assert faults.lines[0].startswith(f"capacity.yaml: {fault}")


def test_a_key_of_a_provider_makes_a_file_one_of_sct() -> None:
    """Alone, too; and it is known in a file for another cloud."""
    clouds = WithCloudy()
    known = (*_KEYS, *clouds.names())
    assert is_sct({"cloudy_shape": "big"}, known, clouds)
    assert not is_sct({"backend": "aws", "cloudy": {}, "other": 1}, known, clouds)
    switch = {"cloudy_use_capacity_reservation": "true"}
    assert is_reserving({"cluster_backend": "cloudy", **switch}, "params", clouds)
    assert not is_reserving({"cluster_backend": "aws", **switch}, "params", clouds)
