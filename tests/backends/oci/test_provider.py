"""The first face of OCI: what a configuration may say, and what is said of what it may not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_capacity.backends import provider
from pytest_capacity.backends.oci.forms import family, zone_aliases
from pytest_capacity.backends.oci.settings import ImageLookup, section_of, settings_of
from tests.config.conftest import loading
from tests.config.files import Loader

__all__ = ["loading"]

IMAGE = "ocid1.image.oc1.iad.aaaa"
SUBNET = "ocid1.subnet.oc1.iad.aaaa"
COMPARTMENT = "ocid1.compartment.oc1..aaaa"
GOOD: Mapping[str, Any] = {
    "backend": "oci",
    "regions": ["us-ashburn-1"],
    "groups": {"db": {"count": 3, "instance_type": "VM.Standard.E4.Flex"}},
    "oci": {"compartment": COMPARTMENT, "image": IMAGE},
}


def with_(**changes: Any) -> dict[str, Any]:
    """The good configuration with keys of the section changed."""
    return {**GOOD, "oci": {**GOOD["oci"], **changes}}


def group(**changes: Any) -> dict[str, Any]:
    """The good configuration with keys of the group changed."""
    return {**GOOD, "groups": {"db": {"count": 3, "instance_type": "VM.Standard.E4.Flex", **changes}}}


def test_a_whole_section(loading: Loader) -> None:
    """Every key arrives as it is written."""
    section = {
        "compartment": COMPARTMENT,
        "image": {"operating_system": "Oracle Linux", "version": "9"},
        "subnets": {"us-ashburn-1": SUBNET},
        "network_security_groups": ["ocid1.networksecuritygroup.oc1.iad.a"],
        "network_cidr": "10.9.0.0/24",
        "ssh_sources": ["192.0.2.0/24"],
        "public_ip": True,
        "ocpus": 4,
        "memory_gb": 64,
        "boot_volume_gb": 100,
        "fault_domains": [1, "FAULT-DOMAIN-2"],
        "tags": {"team": "storage"},
        "defined_tags": {"SCT": {"TestId": "1"}},
        "capacity_report": False,
        "auth": "api_key",
        "profile": "NIGHTLY",
        "config_file": "oci/config",
        "account": "ocid1.tenancy.oc1..aaaa",
    }
    request = loading({**GOOD, "oci": section})
    read = section_of(request)
    assert read.image == {"us-ashburn-1": ImageLookup(operating_system="Oracle Linux", version="9")}
    assert read.fault_domains == ("FAULT-DOMAIN-1", "FAULT-DOMAIN-2")
    assert read.network_security_groups == {"us-ashburn-1": ("ocid1.networksecuritygroup.oc1.iad.a",)}
    assert read.config_file == str(loading.path.parent / "oci/config")
    assert (read.ocpus, read.memory_gb, read.boot_volume_gb, read.public_ip) == (4.0, 64.0, 100, True)
    assert provider("oci").account_setting(request) == ("oci.account", "ocid1.tenancy.oc1..aaaa")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"compartment": "tests"}, "oci.compartment: 'tests' does not have the right form"),
        ({"image": "ami-0123456789abcdef0"}, "oci.image: 'ami-0123456789abcdef0' does not have the right form"),
        ({"image": {"version": "9"}}, "oci.image.operating_system: is missing"),
        ({"subnets": {"us-phoenix-1": SUBNET}}, "oci.subnets: there is no subnet in us-ashburn-1"),
        ({"subnets": {"AD-1": SUBNET}}, "oci.subnets.AD-1: is neither a region nor an availability domain"),
        ({"network_cidr": "10.0.0.1/24"}, "oci.network_cidr: '10.0.0.1/24' is no network"),
        ({"network_cidr": "10.0.0.0/8"}, "oci.network_cidr: '10.0.0.0/8' has no size that a VCN takes"),
        ({"ssh_sources": ["all"]}, "oci.ssh_sources: 'all' is no network"),
        ({"ocpus": 0}, "oci.ocpus: 0 is not a number from 1 to 1000"),
        ({"boot_volume_gb": 10}, "oci.boot_volume_gb: 10 is not a number from 50 to 32768"),
        ({"fault_domains": [4, 4]}, "oci.fault_domains: names a fault domain twice"),
        ({"fault_domains": ["FD-1"]}, "oci.fault_domains: 'FD-1' does not have the right form"),
        ({"tags": dict.fromkeys("abc", "1")}, "oci.tags: has 3 tags; OCI takes 10 free-form ones and 8 are ours"),
        ({"tags": {"Backend": "x"}}, "oci.tags.Backend: is a tag that this plugin sets itself"),
        ({"tags": {"a b": "x"}}, "oci.tags.a b: is no name of a tag"),
        ({"defined_tags": {"SCT": {"a": 1}}}, "oci.defined_tags.SCT.a: is not a text"),
        ({"auth": "password"}, "oci.auth: 'password' is not one of auto, api_key, security_token"),
        ({"acount": "x"}, "oci.acount: is not a known key. Did you mean account?"),
        ({"cluster_placement_group": "mine"}, "oci.cluster_placement_group: 'mine' does not have the right form"),
    ],
)
def test_bad_sections(loading: Loader, changes: dict[str, Any], words: str) -> None:
    """Each is named by its key, with what is wrong and how it is written."""
    assert any(words in fault for fault in loading.faults(with_(**changes))), loading.faults(with_(**changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"instance_type": "i4i.large"}, "'i4i.large' does not have the right form. Write it like VM.Standard.E4.Flex"),
        ({"instance_type": "VM.Standard2.1", "oci": {"ocpus": 4}}, "groups.db.oci: VM.Standard2.1 has a fixed size"),
        ({"oci": {"subnets": {}}}, "groups.db.oci.subnets: is not a known key"),
        ({"image": IMAGE, "oci": {"image": IMAGE}}, "groups.db.oci.image: is there beside image"),
        ({"user_data": "#!/bin/sh\n" + "x" * 24000}, "takes 32016 bytes in base64"),
    ],
)
def test_bad_groups(loading: Loader, changes: dict[str, Any], words: str) -> None:
    """So is what a group says of its own."""
    assert any(words in fault for fault in loading.faults(group(**changes))), loading.faults(group(**changes))


@pytest.mark.parametrize(
    ("zones", "words"),
    [
        (["a"], "'a' does not have the right form. Write it like 1, AD-1"),
        (["AD-1", "1"], "'1' is there twice"),
        (["us-ashburn-1"], "'us-ashburn-1' does not have the right form"),
        (["AD-1/FD-1"], "'AD-1/FD-1' does not have the right form"),
    ],
)
def test_bad_zones(loading: Loader, zones: list[str], words: str) -> None:
    """A domain is named once, in a form that Oracle has."""
    assert any(words in fault for fault in loading.faults({**GOOD, "zones": zones}))


def test_good_zones(loading: Loader) -> None:
    """All spellings stay as they are written."""
    zones = ["1", "AD-2", "Uocm:US-ASHBURN-AD-3", "AD-1/FAULT-DOMAIN-2"]
    assert loading({**GOOD, "zones": zones}).zones == tuple(zones)


def test_spellings_of_a_fault_domain() -> None:
    """A whole domain stands for each of its fault domains, and each has spellings of its own."""
    aliases = zone_aliases("Uocm:PHX-AD-1.FAULT-DOMAIN-2")
    assert {"AD-1", "1", "Uocm:PHX-AD-1", "AD-1/FAULT-DOMAIN-2", "PHX-AD-1.FAULT-DOMAIN-2"} <= set(aliases)
    assert "AD-1/FAULT-DOMAIN-1" not in aliases


def test_a_group_has_sizes_and_images_of_its_own(loading: Loader) -> None:
    """They go before those of the section; an image that is the same everywhere is the group's."""
    request = loading(group(image="ocid1.image.oc1.iad.b", oci={"ocpus": 2, "memory_gb": 8}))
    (db,) = request.topologies["default"].groups
    assert db.image == "ocid1.image.oc1.iad.b"
    assert settings_of(request, db).shape_config(db.instance_type) == {"ocpus": 2.0, "memoryInGBs": 8.0}


@pytest.mark.parametrize(
    ("shape", "section", "size"),
    [
        ("VM.Standard.E4.Flex", {}, {"ocpus": 1.0, "memoryInGBs": 16.0}),
        ("VM.Standard.E4.Flex", {"ocpus": 2}, {"ocpus": 2.0, "memoryInGBs": 32.0}),
        ("VM.DenseIO.E4.Flex", {}, {"ocpus": 8.0, "memoryInGBs": 128.0}),
        ("VM.Standard2.1", {}, {}),
    ],
)
def test_sizes_of_flexible_shapes(loading: Loader, shape: str, section: dict[str, Any], size: dict[str, float]) -> None:
    """What is not said is the least that the shape can have; a fixed shape takes none."""
    request = loading({**with_(**section), "groups": {"db": {"count": 1, "instance_type": shape}}})
    (db,) = request.topologies["default"].groups
    assert settings_of(request, db).shape_config(shape) == size


@pytest.mark.parametrize(
    ("shape", "limit"),
    [
        ("VM.Standard.E4.Flex", "Standard.E4"),
        ("BM.Standard.E4.128", "Standard.E4"),
        ("VM.Standard2.4", "Standard2"),
        ("VM.DenseIO.E4.Flex", "DenseIO.E4"),
    ],
)
def test_families_are_those_of_service_limits(shape: str, limit: str) -> None:
    """Virtual and bare metal of a series share one."""
    assert family(shape) == limit


def test_the_keys_of_scylla_cluster_tests(loading: Loader) -> None:
    """The seeds' keys: the switch, the count, the compartment, the domain, the shape, the images."""
    request = loading(
        {
            "cluster_backend": "oci",
            "region_name": "us-ashburn-1",
            "n_db_nodes": 2,
            "oci_use_capacity_reservation": True,
            "oci_compartment_id": COMPARTMENT,
            "oci_availability_domain": "AD-1",
            "oci_instance_shape": "VM.DenseIO.E4.Flex",
            "oci_reserved_instance_count": 2,
            "oci_image_db": IMAGE,
        }
    )
    assert (request.backend, request.zones) == ("oci", ("AD-1",))
    assert section_of(request).compartment == COMPARTMENT
    (db,) = request.topologies["default"].groups
    assert (db.instance_type, db.count, db.reserve) == ("VM.DenseIO.E4.Flex", 2, True)
    assert settings_of(request, db).image("us-ashburn-1") == IMAGE


def test_a_bad_compartment_of_scylla_cluster_tests(loading: Loader) -> None:
    """It is named by the key that the user wrote."""
    values = {"cluster_backend": "oci", "region_name": "us-ashburn-1", "n_db_nodes": 1}
    values |= {"oci_instance_shape": "VM.Standard2.1", "oci_compartment_id": "tests"}
    assert any("oci_compartment_id: 'tests' does not have the right form" in fault for fault in loading.faults(values))


def test_the_environment_chooses_region_and_profile(loading: Loader) -> None:
    """As Oracle's command line reads it."""
    oci = provider("oci")
    assert oci.default_regions({"OCI_CLI_REGION": "us-phoenix-1"}) == (("us-phoenix-1",), "OCI_CLI_REGION")
    request = loading(GOOD)
    environ = {"OCI_CLI_PROFILE": "NIGHTLY"}
    assert oci.chosen_profile(request, environ) == "NIGHTLY"
    assert section_of(oci.with_environment(request, environ)).profile == "NIGHTLY"


def test_pytest_never_loads_the_sdk() -> None:
    """Provider and configuration import nothing of Oracle; the backend loads the base client, no generated service."""
    code = """
import sys
from pytest_capacity.backends import provider
provider("oci")
print(sorted(name for name in sys.modules if name.split(".")[0] in ("oci", "requests", "cryptography")))
import pytest_capacity.backends.oci.backend
print(sorted(name for name in sys.modules if name.startswith(("oci.core", "oci.identity"))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]
