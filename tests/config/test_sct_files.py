"""Whole files in the form of scylla-cluster-tests: each is read, or refused in words that its author can follow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_capacity.backends import INSTALLED
from pytest_capacity.backends.aws.settings import settings_of
from pytest_capacity.config import backend_of, why_no_backend
from pytest_capacity.config.loading import load
from pytest_capacity.config.sct import sct_keys
from pytest_capacity.config.sct_keys import REFUSED, ignored
from pytest_capacity.config.source import Overrides
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Request
from tests.config.files import Loader

FOLDER = Path(__file__).parent / "sct"
AMI = "ami-12c6146b"
NO_FALLBACK = {"instance_provision_fallback_on_demand": False}
DEBIAN = "/aws/service/debian/release/12/latest/amd64"
BASE: dict[str, Any] = yaml.safe_load((FOLDER / "base-aws.yaml").read_text())
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.stem.startswith("base-"))
#: A key of ours in an advice or at its head: the file would be refused with it.
OURS = re.compile(
    r"`(?:backend|regions|zones|groups|topologies|market|reserve|fallback|use_reservations|duration|aws|gce|azure|oci)\b"
    r"|--config|placement_group to"
)


def read(*paths: Path, **environ: str) -> Request:
    """The files, one over the other."""
    return load(Overrides(), clouds=INSTALLED, path=paths, environ=environ, new_run=lambda: "r", warn=pytest.fail)


def over(case: str, cloud: str = "aws") -> Request:
    """The case over what its job gives."""
    return read(FOLDER / f"base-{cloud}.yaml", FOLDER / f"{case}.yaml")


def refused() -> set[str]:
    """Keys of every cloud that ask for machines that cannot be had."""
    return {*REFUSED, *(key for name in INSTALLED.names() for key in INSTALLED.get(name).sct.refused)}


def asks(request: Request) -> dict[str, tuple[int, str]]:
    """How many of which type, by group."""
    return {group.name: (group.count, group.instance_type) for group in request.topologies["default"].groups}


@pytest.mark.parametrize("cloud", ["aws", "gce", "azure", "oci"])
def test_what_the_jobs_give_is_read(cloud: str) -> None:
    """Each cloud by its own keys of region, image and types; spot where they say nothing, but on-demand on OCI."""
    request = read(FOLDER / f"base-{cloud}.yaml")
    expected = {
        "aws": ("eu-west-1", "i4i.large", "spot"),
        "gce": ("us-east1", "n2-highmem-8", "spot"),
        "azure": ("eastus", "Standard_L8s_v3", "spot"),
        "oci": ("us-phoenix-1", "VM.DenseIO.E5.Flex", "on-demand"),
    }
    assert (*request.regions, asks(request)["db"][1], request.market) == expected[cloud]
    assert {name: count for name, (count, _) in asks(request).items()} == {"db": 3, "loader": 1, "monitor": 1}


def test_types_of_oci_have_their_size_behind_them() -> None:
    """OCPUs and memory."""
    groups = read(FOLDER / "base-oci.yaml").topologies["default"].groups
    assert [(group.cloud["ocpus"], group.cloud["memory_gb"]) for group in groups] == [(16, 192), (4, 16), (2, 8)]


@pytest.mark.parametrize("cloud", ["aws", "gce", "azure", "oci"])
@pytest.mark.parametrize("case", CASES)
def test_each_file_is_read_or_refused_in_its_own_words(case: str, cloud: str) -> None:
    """No fault speaks of a key that the file may not have, and each names one of the files and a key in it."""
    try:
        over(case, cloud)
    except ConfigError as error:
        files = [str(FOLDER / f"{name}.yaml") for name in (f"base-{cloud}", case)]
        known = {*sct_keys(INSTALLED), *refused(), "n_loader", "instance_type_bd"}
        for fault in error.faults:
            file, key = fault.split(": ")[:2]
            assert file in files, fault
            assert key in known, fault
            assert not OURS.search(fault), fault


def test_an_artifact_test() -> None:
    """One node with a larger root disk; what is about the test itself is left to it."""
    request = over("artifact")
    assert asks(request) == {"db": (1, "i4i.large")}
    (group,) = request.topologies["default"].groups
    disk = settings_of(request, group).aws.root_volume
    assert disk is not None
    assert disk.size_gb == 50
    assert (request.fallback.zones, request.fallback.spot_to_on_demand, request.duration_s) == (True, True, 3600)
    assert over("artifact", "gce").topologies["default"].group("db").cloud == {"disk_gb": 50}
    assert over("artifact", "azure").topologies["default"].group("db").cloud["os_disk_gb"] == 50
    assert over("artifact", "oci").topologies["default"].group("db").cloud["boot_volume_gb"] == 50


@pytest.mark.parametrize(
    ("case", "faults"),
    [
        ("five-dcs-uneven", ["region_name: us-east-1, us-west-2, eu-west-1: a cluster across several regions"]),
        ("two-dcs", ["region_name: us-east-1, eu-west-1: a cluster across several regions"]),
        ("grow", ["use_placement_group: is true, and the nodes are in several zones"]),
        ("sized", [f"sizing_{name}: " for name in ("db", "loader", "monitor")]),
        ("sized-disk", ["sizing_db: {'vcpu': 8, 'local_disk_gb': '>=900', 'arch': 'arm64'} is about machines"]),
        ("typo", ["n_loader: is not a known key. Did you mean n_loaders", "instance_type_bd: is not a known key. Did"]),
    ],
)
def test_what_cannot_be_had_is_named(case: str, faults: list[str]) -> None:
    """With the file in which it stands, of the two that were read."""
    with pytest.raises(ConfigError) as caught:
        over(case)
    assert len(caught.value.faults) == len(faults)
    for said, fault in zip(caught.value.faults, faults, strict=True):
        assert said.startswith(f"{FOLDER / case}.yaml: {fault}")


def test_a_growing_cluster_in_one_zone(tmp_path: Path) -> None:
    """The same file with what its fault advises; who asks for a reservation does not get spot by default."""
    last = tmp_path / "mine.yaml"
    last.write_text("colocate: zone\n")
    request = read(FOLDER / "base-aws.yaml", FOLDER / "grow.yaml", last)
    assert asks(request)["db"] == (3, "i4i.2xlarge")
    assert (request.market, request.reserve, request.colocate, request.zones) == (
        "on-demand",
        True,
        "zone",
        ("a", "b", "c"),
    )
    assert [group.placement_group for group in request.topologies["default"].groups] == [True, True, False]


def test_an_image_by_its_name() -> None:
    """It is looked for in each region, among those of owners that can be meant."""
    request = over("loader-by-name")
    image = settings_of(request, request.topologies["default"].group("loader")).image("eu-west-1")
    assert (getattr(image, "name", ""), getattr(image, "or_tag", None)) == ("scylla-qa-loader-ami-v26", True)
    assert "self" in getattr(image, "owners", ())
    assert settings_of(request, request.topologies["default"].group("db")).image("eu-west-1") == AMI


# What stands in no case.


def sct(**changes: Any) -> dict[str, Any]:
    """What a job on AWS gives, with keys changed; None removes one."""
    return {key: value for key, value in {**BASE, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "resolve:ssm:/aws/service/debian/release/12/latest/amd64",
            {"ssm": "/aws/service/debian/release/12/latest/amd64"},
        ),
        (
            "resolve:owner:131827586825/x86_64/OL8.*",
            {"owner": "131827586825", "architecture": "x86_64", "name": "OL8*"},
        ),
    ],
)
def test_an_image_that_is_resolved(loading: Loader, value: str, expected: dict[str, str]) -> None:
    """By a parameter, or by owner, architecture and name: for every region."""
    request = loading(
        sct(ami_id_db_scylla=value, region_name="eu-west-1 us-east-1", fallback_to_next_region=True, colocate="zone")
    )
    assert request.settings["image"] == dict.fromkeys(("eu-west-1", "us-east-1"), expected)


@pytest.mark.parametrize(
    "value", ["resolve:owner:1/x86_64/OL8", "resolve:other:x", "resolve:owner:131827586825/x86_64/OL(8|9)"]
)
def test_an_image_that_nothing_resolves(loading: Loader, value: str) -> None:
    """It is no id, and no lookup that is understood."""
    (fault,) = loading.faults(sct(ami_id_db_scylla=value))
    assert fault.startswith(f"{loading.path}: ami_id_db_scylla: {value!r} does not have the right form")


def test_the_market_of_a_file_that_says_nothing(loading: Loader) -> None:
    """Spot, as there; but a reservation that is asked for cannot be of spot."""
    assert loading(sct()).market == "spot"
    assert loading(sct(use_capacity_reservation=True)).market == "on-demand"
    assert loading(sct(use_capacity_reservation=False)).market == "spot"
    assert loading(sct(instance_provision="on_demand")).market == "on-demand"
    assert loading(sct(), Overrides(market="on-demand")).market == "on-demand"


def test_users_and_the_key_of_the_account(loading: Loader, tmp_path: Path) -> None:
    """Who logs in, by group; with which key, which on AWS is called as its file. Our `ssh` goes over it."""
    key = tmp_path / "scylla_test_id"
    key.write_text("key")
    key.chmod(0o600)
    users = {"ami_db_scylla_user": "scyllaadm", "ami_loader_user": "ubuntu"}
    assert loading(sct(**users)).ssh is None
    request = loading(sct(**users, user_credentials_path=str(key)))
    assert request.ssh is not None
    assert request.ssh.key == str(key)
    assert request.settings["key_name"] == "scylla_test_id"
    assert [group.user for group in request.topologies["default"].groups] == ["scyllaadm", "ubuntu", None]
    assert loading(sct(**users, ssh={})).ssh == loading(sct(**users, ssh=True)).ssh
    request = loading(sct(**users, ssh=True))
    assert request.ssh is not None
    assert [group.user for group in request.topologies["default"].groups] == ["scyllaadm", "ubuntu", None]
    request = loading(sct(ssh={"user": "root", "port": 2222}, collect=["/var/log"]))
    assert (request.ssh.user, request.ssh.port, request.collect) == ("root", 2222, ("/var/log",))  # type: ignore[union-attr]
    assert loading(sct(user_credentials_path=str(key), ssh=False)).ssh is None
    (fault,) = loading.faults(sct(user_credentials_path="/none"))
    assert fault.startswith(f"{loading.path}: user_credentials_path: '/none' cannot be read")


def test_one_user_for_all(loading: Loader) -> None:
    """As the other clouds have it."""
    gce = yaml.safe_load((FOLDER / "base-gce.yaml").read_text())
    request = loading({**gce, "gce_image_username": "scylla-test", "ssh": True})
    assert request.ssh is not None
    assert request.ssh.user == "scylla-test"


def test_disks_and_instance_profiles(loading: Loader) -> None:
    """Data volumes of each database node; and what GCE has of its own."""
    disks = {"data_volume_disk_num": 2, "data_volume_disk_size": 500, "data_volume_disk_type": "gp3"}
    request = loading(sct(**disks, aws_instance_profile_name_loader="tests", ip_ssh_connections="public"))
    db, loader, _ = request.topologies["default"].groups
    assert [(one.size_gb, one.type) for one in settings_of(request, db).aws.volumes] == [(500, "gp3")] * 2
    assert settings_of(request, loader).aws.iam_instance_profile == "tests"
    assert request.settings["public_ip"] is True
    (fault,) = loading.faults(sct(data_volume_disk_num=1))
    assert "data_volume_disk_size: is missing" in fault
    (fault,) = loading.faults(sct(**{**disks, "data_volume_disk_type": "gp9"}))
    assert fault.startswith(f"{loading.path}: data_volume_disk_num: 'gp9' is not one of")
    gce = yaml.safe_load((FOLDER / "base-gce.yaml").read_text())
    request = loading({**gce, "gce_n_local_ssd_disk_db": 2, "gce_root_disk_type_loader": "pd-ssd"})
    clouds = [group.cloud for group in request.topologies["default"].groups]
    assert [clouds[0]["local_ssds"], clouds[1]["disk_type"]] == [2, "pd-ssd"]
    assert "data_volume_disk_num" in loading.faults({**gce, **disks})[0]


@pytest.mark.parametrize("key", sorted(refused() - {"data_volume_disk_num"}))
def test_machines_that_cannot_be_had_are_refused(loading: Loader, key: str) -> None:
    """Each with an advice; one that is off says what is done anyway."""
    cloud = "gce" if key.startswith("gce_") else "aws"
    base = yaml.safe_load((FOLDER / f"base-{cloud}.yaml").read_text())
    (fault,) = loading.faults({**base, key: "2"})
    assert fault.startswith(f"{loading.path}: {key}: '2' is about machines, and cannot be obeyed. ")
    for off in (0, False, "", None):
        loading({**base, key: off})


def test_no_key_is_in_two_lists() -> None:
    """Obeyed, refused or left to the test; the last are many, and none of ours."""
    obeyed = set(sct_keys(INSTALLED))
    assert obeyed & ignored() == set()
    assert refused() & ignored() == set()
    assert refused() & obeyed <= {"data_volume_disk_num"}
    assert len(ignored()) > 400
    assert {"stress_cmd", "nemesis_class_name", "add_node_cnt", "test_metadata", "user_prefix"} <= ignored()


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"use_placement_group": True, "instance_type_db": "t3.large"}, "set `use_placement_group: false`"),
        (
            {"instance_provision": "spot", "use_capacity_reservation": True, **NO_FALLBACK},
            "`instance_provision: on_dem",
        ),
        ({"fallback_to_next_region": True}, "Name the others in `region_name`"),
        ({"region_name": "eu-west-1 us-east-1", "ami_id_db_scylla": [AMI, AMI]}, "`fallback_to_next_region: true`"),
        ({"ami_id_db_scylla": None}, "Name one a region, in their order: `ami_id_db_scylla: ami-"),
        ({"region_name": None}, "Write `region_name: us-east-1`"),
        ({"cluster_backend": None}, "Write `cluster_backend: aws`"),
        ({"ssh": False, "collect": ["/var/log"]}, "Write `ssh: true`"),
    ],
)
def test_an_advice_can_be_followed_in_the_file(loading: Loader, changes: dict[str, Any], advice: str) -> None:
    """In its own keys: those of ours would make the file a mixture, but for `ssh`."""
    faults = loading.faults(sct(**changes))
    assert any(advice in fault for fault in faults), faults
    assert [fault for fault in faults if OURS.search(fault)] == []


def test_a_flat_refusal_names_the_right_file(tmp_path: Path) -> None:
    """A mixture of the two kinds of keys, in two files."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("regions: [eu-west-1]\n")
    with pytest.raises(ConfigError) as caught:
        read(FOLDER / "base-aws.yaml", mine)
    assert caught.value.faults[0].startswith(f"{mine}: regions: beside keys of scylla-cluster-tests")


def test_a_file_without_its_cloud_is_told_its_own_key(tmp_path: Path) -> None:
    """`backend:` would make it a mixture."""
    path = tmp_path / "capacity.yaml"
    path.write_text("n_db_nodes: 3\ncluster_backnd: aws\n")
    assert backend_of(path) is None
    assert why_no_backend(path) == f"{path}: it has no `cluster_backend:`. Did you mean that by `cluster_backnd:`?"


# Several files of ours.


def test_a_later_file_goes_before_an_earlier_one(tmp_path: Path) -> None:
    """Key by key within mappings; all else is replaced. Relative paths are those of the file that has them."""
    first, last = tmp_path / "base.yaml", tmp_path / "other" / "last.yaml"
    last.parent.mkdir()
    key = tmp_path / "id"
    key.write_text("key")
    key.chmod(0o600)
    first.write_text(
        yaml.safe_dump(
            {
                "backend": "aws",
                "regions": ["us-east-1"],
                "zones": ["a", "b"],
                "groups": {"db": {"count": 3, "instance_type": "i4i.large"}},
                "aws": {"image": {"us-east-1": AMI}},
                "ssh": {"key": "id"},
            }
        )
    )
    last.write_text("groups: {db: {count: 5}, app: {count: 1, instance_type: t3.large}}\nzones: [c]\n")
    request = read(first, last)
    assert asks(request) == {"db": (5, "i4i.large"), "app": (1, "t3.large")}
    assert request.zones == ("c",)
    assert request.ssh is not None
    assert request.ssh.key == str(key)
    last.write_text("groups: {db: {count: 0}}\nzoens: [c]\n")
    with pytest.raises(ConfigError) as caught:
        read(first, last)
    assert all(fault.startswith(f"{last}: ") for fault in caught.value.faults)
    assert len(caught.value.faults) == 2
