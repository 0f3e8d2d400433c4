"""The configuration of scylla-cluster-tests, as it is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_capacity.backends import INSTALLED
from pytest_capacity.backends.aws.settings import section_of
from pytest_capacity.config import backend_of
from pytest_capacity.config.loading import is_reserving, load
from pytest_capacity.config.sct import sct_keys
from pytest_capacity.config.source import Overrides
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Request
from tests.config.files import IMAGE, Loader

OTHER = "ami-0fedcba9876543210"
NEXT_ZONE = "fallback_to_next_availability_zone"
NEXT_REGION = "fallback_to_next_region"
FILE: Mapping[str, Any] = {
    "cluster_backend": "aws",
    "region_name": "us-east-1",
    "n_db_nodes": 1,
    "instance_type_db": "i4i.large",
    "ami_id_db_scylla": IMAGE,
}
TWO: Mapping[str, Any] = {"region_name": "us-east-1,us-west-2", "ami_id_db_scylla": f"{IMAGE} {OTHER}"}


def sct(**changes: Any) -> dict[str, Any]:
    """A small file, with keys changed; None removes one."""
    return {key: value for key, value in {**FILE, **changes}.items() if value is not None}


def test_a_whole_file(loading: Loader) -> None:
    """Every key about machines arrives where it belongs."""
    request = loading(
        {
            "cluster_backend": "aws",
            "region_name": "us-east-1",
            "availability_zone": "b",
            "n_db_nodes": 3,
            "n_loaders": "2",
            "n_monitor_nodes": 1,
            "instance_type_db": "i4i.large",
            "instance_type_loader": "c6i.xlarge",
            "instance_type_monitor": "t3.large",
            "ami_id_db_scylla": IMAGE,
            "ami_id_loader": OTHER,
            "test_duration": 180,
            "instance_provision": "on_demand",
            "instance_provision_fallback_on_demand": False,
            "use_capacity_reservation": True,
            "use_placement_group": True,
            NEXT_ZONE: False,
            NEXT_REGION: False,
            "test_id": "nightly-42",
        }
    )
    assert (request.backend, request.regions, request.zones) == ("aws", ("us-east-1",), ("b",))
    assert (request.run, request.duration_s, request.market, request.reserve) == (
        "nightly-42",
        10800,
        "on-demand",
        True,
    )
    assert (request.fallback.zones, request.fallback.regions, request.colocate) == (False, False, "zone")
    groups = request.topologies["default"].groups
    assert [(group.name, group.count, group.instance_type) for group in groups] == [
        ("db", 3, "i4i.large"),
        ("loader", 2, "c6i.xlarge"),
        ("monitor", 1, "t3.large"),
    ]
    # The monitor is neither reserved nor in the placement group.
    assert [(group.reserve, group.placement_group) for group in groups] == [(True, True), (True, True), (False, False)]
    # Those of the database serve the roles that have none.
    assert section_of(request).image == {"us-east-1": IMAGE}
    assert [group.image for group in groups] == [None, OTHER, None]


def test_what_a_short_file_leaves_open(loading: Loader) -> None:
    """No reservation, no fallback along zones or regions, and spot; empty keys are as if they were not there."""
    request = loading(sct(availability_zone="", instance_provision=None, use_capacity_reservation=""))
    assert (request.reserve, request.market, request.zones) == (False, "spot", ())
    assert (request.fallback.zones, request.fallback.regions) == (False, False)
    assert [group.name for group in request.topologies["default"].groups] == ["db"]
    assert loading(sct(instance_type_loader="c6i.large")).topologies["default"].group("loader").count == 1
    assert len(loading(sct(instance_type_loader="c6i.large", n_loaders=0)).topologies["default"].groups) == 1


@pytest.mark.parametrize("nodes", [3, "3", "2 1", [2, 1], ["2", 1], "2,1"])
def test_db_nodes_are_summed(loading: Loader, nodes: object) -> None:
    """A number, a text, several in a text, or a list."""
    assert loading(sct(n_db_nodes=nodes)).topologies["default"].group("db").count == 3


# Fallback along zones, and its rule.


def test_next_zone(loading: Loader) -> None:
    """The zones that are named first, then every other one, as scylla-cluster-tests tries them."""
    request = loading(sct(**{NEXT_ZONE: True}))
    assert (request.fallback.zones, request.zones, request.colocate) == (True, (), "zone")
    request = loading(sct(availability_zone="c", **{NEXT_ZONE: "yes"}))
    assert (request.fallback.zones, request.zones, request.colocate) == (True, ("c", "*"), "zone")


@pytest.mark.parametrize("nodes", [3, "3", "2 1", [2, 1]])
@pytest.mark.parametrize("key", [NEXT_ZONE, f"aws_{NEXT_ZONE}"])
def test_next_zone_wants_one_db_node(loading: Loader, nodes: object, key: str) -> None:
    """In the words of scylla-cluster-tests; unless `colocate: zone` says that they move together."""
    with pytest.warns() if key.startswith("aws_") else nullcontext():
        (fault,) = loading.faults(sct(n_db_nodes=nodes, **{key: True}))
        assert fault.startswith(
            f"{loading.path}: {key}: {NEXT_ZONE} only works with n_db_nodes=1. Current configuration has 3 db nodes. "
            "Zone fallback with multiple nodes would result in mixed availability zones which is not supported. "
        )
        assert "colocate: zone" in fault
        request = loading(sct(n_db_nodes=nodes, colocate="zone", **{key: True}))
    assert (request.fallback.zones, request.colocate) == (True, "zone")


def test_loaders_do_not_count(loading: Loader) -> None:
    """The rule is about database nodes."""
    values = sct(n_loaders=4, instance_type_loader="c6i.large", **{NEXT_ZONE: True})
    assert loading(values).fallback.zones


def test_the_old_name_of_next_zone(loading: Loader) -> None:
    """It works, and a warning names its successor; the new one has the last word."""
    told: list[str] = []
    request = read(loading, sct(**{f"aws_{NEXT_ZONE}": True}), told)
    assert request.fallback.zones
    assert told == [f"{loading.path}: aws_{NEXT_ZONE}: is deprecated. Write {NEXT_ZONE} instead"]
    assert read(loading, sct(**{f"aws_{NEXT_ZONE}": True, NEXT_ZONE: False}), told).fallback.zones is False
    assert read(loading, sct(**{NEXT_ZONE: True}), []).fallback.zones is True


def read(loading: Loader, values: Mapping[str, Any], told: list[str]) -> Request:
    """The request; ``told`` gets the warnings."""
    loading.path.write_text(yaml.safe_dump(dict(values)))
    return load(Overrides(), clouds=INSTALLED, path=loading.path, environ={}, warn=told.append)


def test_nodes_in_several_zones(loading: Loader) -> None:
    """Without fallback they are put into the zones in turn; a cluster placement group is in one."""
    request = loading(sct(n_db_nodes=3, availability_zone="a,b,c"))
    assert (request.zones, request.colocate, request.fallback.zones) == (("a", "b", "c"), "region", False)
    assert loading(sct(n_db_nodes=3, availability_zone=["a", "b"], colocate="zone")).colocate == "zone"
    (fault,) = loading.faults(sct(availability_zone="a b", use_placement_group=True))
    assert f"{loading.path}: use_placement_group: is true, and the nodes are in several zones" in fault


# Fallback along regions, and its rules.


@pytest.mark.parametrize("name", ["us-east-1,us-west-2", "us-east-1 us-west-2", ["us-east-1", "us-west-2"]])
def test_next_region(loading: Loader, name: object) -> None:
    """The configured regions in their order, each with its image."""
    request = loading(sct(**{**TWO, "region_name": name, NEXT_REGION: True, NEXT_ZONE: True}))
    assert (request.regions, request.fallback.regions) == (("us-east-1", "us-west-2"), True)
    assert section_of(request).image == {"us-east-1": IMAGE, "us-west-2": OTHER}
    assert (request.topologies["default"].group("db").image, request.topologies["default"].group("db").cloud) == (
        None,
        {},
    )


def test_images_of_loaders_in_each_region(loading: Loader) -> None:
    """Named in the order of the file's regions, also where a flag takes one of these."""
    loaders = {"n_loaders": 1, "instance_type_loader": "c6i.large", "ami_id_loader": [OTHER, IMAGE]}
    request = loading(sct(**TWO, **loaders, **{NEXT_REGION: True}))
    own = {"us-east-1": OTHER, "us-west-2": IMAGE}
    assert request.topologies["default"].group("loader").cloud == {"image": own}
    request = loading(sct(**TWO, **loaders, **{NEXT_REGION: True}), Overrides(regions=("us-west-2",)))
    assert request.topologies["default"].group("loader").image == IMAGE


@pytest.mark.parametrize("nodes", [2, "1 1", [1, 1]])
def test_next_region_wants_one_db_node(loading: Loader, nodes: object) -> None:
    """In the words of scylla-cluster-tests; unless `colocate: zone` says that they move together."""
    values = sct(n_db_nodes=nodes, **TWO, **{NEXT_REGION: True})
    (fault,) = loading.faults(values)
    assert fault.startswith(
        f"{loading.path}: {NEXT_REGION}: {NEXT_REGION} only works with n_db_nodes=1. Current configuration has 2 db "
        "nodes. Region fallback with multiple nodes would result in split clusters across regions which is not "
        "supported. "
    )
    assert loading({**values, "colocate": "zone"}).fallback.regions


def test_next_region_wants_several_regions(loading: Loader) -> None:
    """In the words of scylla-cluster-tests."""
    (fault,) = loading.faults(sct(**{NEXT_REGION: True}))
    assert (
        f"{NEXT_REGION} requires multiple regions to be configured. Current regions: ['us-east-1']. Name the" in fault
    )


def test_several_regions_alone_are_refused(loading: Loader) -> None:
    """There they mean a cluster across regions."""
    (fault,) = loading.faults(sct(n_db_nodes="1 1", **TWO))
    assert fault.startswith(f"{loading.path}: region_name: us-east-1, us-west-2: a cluster across several regions")


def test_variables_of_the_environment(loading: Loader) -> None:
    """The three of fallback come before the file; a message names the variable. A file of ours does not heed them."""
    on = {"SCT_FALLBACK_TO_NEXT_AVAILABILITY_ZONE": "true", "SCT_FALLBACK_TO_NEXT_REGION": "1"}
    found = loading(sct(**TWO, **{NEXT_ZONE: False}), environ=on).fallback
    assert (found.zones, found.regions) == (True, True)
    assert not loading(
        sct(**{NEXT_ZONE: True}), environ={"SCT_FALLBACK_TO_NEXT_AVAILABILITY_ZONE": "no"}
    ).fallback.zones
    assert loading(sct(**{NEXT_ZONE: True}), environ={"SCT_FALLBACK_TO_NEXT_AVAILABILITY_ZONE": ""}).fallback.zones
    with pytest.warns(match=f"SCT_AWS_FALLBACK_TO_NEXT_AVAILABILITY_ZONE: is deprecated. Write {NEXT_ZONE} instead"):
        assert loading(sct(), environ={"SCT_AWS_FALLBACK_TO_NEXT_AVAILABILITY_ZONE": "true"}).fallback.zones
    (fault,) = loading.faults(sct(n_db_nodes=2), environ={"SCT_FALLBACK_TO_NEXT_AVAILABILITY_ZONE": "true"})
    assert fault.startswith(f"SCT_FALLBACK_TO_NEXT_AVAILABILITY_ZONE: {NEXT_ZONE} only works with n_db_nodes=1")
    native = {"backend": "aws", "regions": ["us-east-1"], "aws": {"image": IMAGE}}
    native |= {"groups": {"db": {"count": 1, "instance_type": "i4i.large"}}}
    assert not loading(native, environ=on).fallback.regions


def test_flags_come_before_the_file(loading: Loader) -> None:
    """As over any file: they are ours, and their rules too."""
    values = sct(n_db_nodes=3, **{**TWO, NEXT_REGION: True, NEXT_ZONE: True})
    assert loading(values, Overrides(fallback=("none",))).fallback.zones is False
    request = loading(values, Overrides(fallback=("zone",), regions=("us-west-2",)))
    assert (request.regions, request.fallback.zones) == (("us-west-2",), True)
    assert loading(sct(), Overrides(duration="5m", market="spot")).duration_s == 300


# Markets and reservations.


@pytest.mark.parametrize(
    ("word", "market"),
    [("on_demand", "on-demand"), ("spot", "spot"), ("spot_fleet", "spot"), ("spot_low_price", "spot")],
)
def test_instance_provision(loading: Loader, word: str, market: str) -> None:
    """Spot is spot, by whichever API it is asked for there; on-demand nodes stand in for it unless that is off."""
    request = loading(sct(instance_provision=word))
    assert (request.market, request.fallback.spot_to_on_demand) == (market, True)
    request = loading(sct(instance_provision=word, instance_provision_fallback_on_demand=False))
    assert request.fallback.spot_to_on_demand is False


def test_spot_and_reservations(loading: Loader) -> None:
    """Spot first, then reserved on-demand; without that fallback nothing could use the reservation."""
    group = loading(sct(instance_provision="spot", use_capacity_reservation=True)).topologies["default"].group("db")
    assert (group.market, group.reserve) == ("spot", True)
    values = sct(instance_provision="spot", use_capacity_reservation=True, instance_provision_fallback_on_demand=False)
    (fault,) = loading.faults(values)
    assert f"{loading.path}: use_capacity_reservation: is true, and instance_provision is spot" in fault


def test_is_reserving() -> None:
    """`CapacityReservation.is_enabled`: the cloud's own switch, else the one for all."""
    assert is_reserving({"cluster_backend": "aws", "use_capacity_reservation": True}, "params", INSTALLED)
    assert not is_reserving({"cluster_backend": "aws", "n_db_nodes": 3}, "params", INSTALLED)
    assert not is_reserving({"use_capacity_reservation": True}, "params", INSTALLED)
    with pytest.raises(ConfigError, match="params: use_capacity_reservation: 'maybe'"):
        is_reserving({"cluster_backend": "aws", "use_capacity_reservation": "maybe"}, "params", INSTALLED)


def test_params() -> None:
    """`CapacityReservation.reserve` takes them as a mapping; without a region the environment's will do."""
    values = sct(region_name=None, use_capacity_reservation=True)
    request = load(Overrides(), clouds=INSTALLED, path=None, environ={"AWS_REGION": "eu-west-1"}, values=values)
    assert (request.regions, section_of(request).image) == (("eu-west-1",), {"eu-west-1": IMAGE})
    with pytest.raises(ConfigError, match=r"^params: n_db_nodes: 'x' is not a number of nodes"):
        load(
            Overrides(),
            clouds=INSTALLED,
            path=None,
            environ={"AWS_REGION": "eu-west-1"},
            values={**values, "n_db_nodes": "x"},
        )


# Keys of a provider alone.


def test_a_cloud_without_a_backend(loading: Loader) -> None:
    """It is refused, with what else is wrong."""
    faults = loading.faults(sct(cluster_backend="gcp", region_name="us-east1", n_db_nodes="x"))
    assert faults[0].startswith(f"{loading.path}: cluster_backend: 'gcp' is not one of aws, ")
    assert f"{loading.path}: n_db_nodes: 'x' is not a number of nodes" in faults[1]
    assert len(faults) == 2


# Faults.


@pytest.mark.parametrize(
    ("values", "where", "remedy"),
    [
        (sct(cluster_backend=None), "cluster_backend: no backend is chosen", "`cluster_backend: aws`"),
        (sct(cluster_backend="awz"), "cluster_backend: 'awz' is not one of aws", "Did you mean aws?"),
        (sct(region_name=None), "region_name: no region is named", "`region_name: us-east-1`"),
        (sct(region_name="useast1"), "region_name: 'useast1' does not have the right form", "us-east-1"),
        (sct(availability_zone="A!"), "availability_zone: 'A!' does not have the right form", "a, us-east-1a"),
        (sct(n_db_nodes=None), "n_db_nodes: is missing", "n_db_nodes: 3"),
        (sct(n_db_nodes=0), "n_db_nodes: no machines are asked for", "n_db_nodes: 3"),
        (sct(n_db_nodes="x"), "n_db_nodes: 'x' is not a number of nodes", '"2 1"'),
        (sct(n_db_nodes=[]), "n_db_nodes: [] is not a number of nodes", '"2 1"'),
        (sct(n_db_nodes=[True]), "n_db_nodes: [True] is not a number of nodes", '"2 1"'),
        (sct(n_db_nodes=-1), "n_db_nodes: -1 is not a number of nodes", '"2 1"'),
        (sct(n_db_nodes=2000), "n_db_nodes: 2000 is not a number of nodes", "1 to 1000"),
        (sct(n_loaders=2), "instance_type_loader: is missing", "the group loader"),
        (sct(instance_type_db=None), "instance_type_db: is missing", "the group db"),
        (sct(n_loaders="x"), "n_loaders: 'x' is not a number of nodes", '"2 1"'),
        (sct(instance_type_db="large"), "instance_type_db: 'large' does not have", "i4i.large"),
        (sct(ami_id_db_scylla=None), "ami_id_db_scylla: no image is known", "ami_id_db_scylla: ami-"),
        (sct(ami_id_db_scylla="ami-x"), "ami_id_db_scylla: 'ami-x' does not have the right form", "ami-"),
        (sct(ami_id_db_scylla=f"{IMAGE},{OTHER}"), "ami_id_db_scylla: names 2 images", "one a region"),
        (sct(test_duration="soon"), "test_duration: 'soon' is not a number of minutes", "90"),
        (sct(test_duration=0), "test_duration: 0 is not a number of minutes", "90"),
        (sct(test_duration=True), "test_duration: True is not a number of minutes", "90"),
        (sct(test_duration=20000), "test_duration: '20000m' is too long: a run lasts at most 7d", "shorter"),
        (sct(instance_provision="mixed"), "instance_provision: 'mixed' is not one of on_demand, spot", "Give"),
        (sct(use_placement_group=2), "use_placement_group: 2 is neither true nor false", "true or false"),
        (
            sct(use_placement_group=True, instance_type_db="t3.large"),
            "use_placement_group: 't3.large' cannot join",
            "another type",
        ),
        (sct(**{NEXT_ZONE: "maybe"}), f"{NEXT_ZONE}: 'maybe' is neither true nor false", "true or false"),
        (sct(fallback_to_next_regoin=True), "fallback_to_next_regoin: is not a known key", f"mean {NEXT_REGION}?"),
        (
            sct(stress_kommand_of_mine="cassandra-stress", zzz=5),
            "stress_kommand_of_mine, zzz: not known, and this is a file of scylla-cluster-tests",
            "Correct them, or leave them out",
        ),
        (
            sct(groups={}, duration="1h", colocate="zone"),
            "duration, groups: beside keys of scylla-cluster-tests (ami_id_db_scylla, cluster_backend, ",
            "only `colocate: zone` goes with",
        ),
        (sct(colocate="region"), "colocate: 'region' beside keys of scylla-cluster-tests", "`colocate: zone`"),
    ],
)
def test_each_fault_names_the_key_of_the_file(loading: Loader, values: dict[str, Any], where: str, remedy: str) -> None:
    """One bad value is one line, in the words of who wrote it."""
    loading.refuses(values, where, remedy)


def test_all_faults_at_once(loading: Loader) -> None:
    """Those of the translation and those of what comes of it."""
    faults = loading.faults(sct(n_loaders="x", test_duration=20000, instance_type_db="large", region_name="r"))
    text = "\n".join(faults)
    for key in ("n_loaders:", "test_duration:", "instance_type_db:", "region_name:"):
        assert f"{loading.path}: {key}" in text
    assert len(faults) == 4


def test_every_key_is_in_the_manual() -> None:
    """The page for those who bring such a file names each of them."""
    page = (Path(__file__).parents[2] / "docs/how-to/scylla-cluster-tests.md").read_text()
    assert [key for key in sct_keys(INSTALLED) if f"`{key}`" not in page] == []


def test_such_a_file_chooses_a_backend(tmp_path: Path) -> None:
    """`cluster_backend` switches the plugin on, in whichever form YAML has it."""
    for text in ("cluster_backend: 'aws'\n", "n_db_nodes: 3\ncluster_backend: aws # x\n", "{cluster_backend: aws}"):
        (tmp_path / "capacity.yaml").write_text(text)
        assert backend_of(tmp_path / "capacity.yaml") == "aws"
    (tmp_path / "capacity.yaml").write_text("my_backend: aws\nother_cluster_backend: aws\n")
    assert backend_of(tmp_path / "capacity.yaml") is None
