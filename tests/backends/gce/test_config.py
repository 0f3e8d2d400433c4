"""The ``gce:`` section, the forms of Compute Engine, and the keys of scylla-cluster-tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_capacity.backends.gce import PROVIDER
from pytest_capacity.backends.gce.settings import GceSettings, section_of, settings_of
from pytest_capacity.config.source import Overrides
from tests.backends.gce.test_plan import request
from tests.config.files import Loader

GOOD: Mapping[str, Any] = {
    "backend": "gce",
    "regions": ["us-central1"],
    "groups": {"db": {"count": 3, "instance_type": "n2-standard-8"}},
}


@pytest.fixture
def loading(tmp_path: Path) -> Loader:
    """Loads files that are written for it."""
    return Loader(tmp_path)


def gce(**section: Any) -> dict[str, Any]:
    """The good configuration with a section."""
    return {**GOOD, "gce": section}


def db(**changes: Any) -> dict[str, Any]:
    """The good configuration with its one group changed."""
    return {**GOOD, "groups": {"db": {"count": 3, "instance_type": "n2-standard-8", **changes}}}


def test_the_least_that_is_wanted(loading: Loader) -> None:
    """Region, count and type: image, network and credentials have defaults."""
    wanted = loading(GOOD)
    assert section_of(wanted) == GceSettings()
    (group,) = wanted.topologies["default"].groups
    assert settings_of(wanted, group).image == "projects/debian-cloud/global/images/family/debian-12"


def test_all_of_the_section(loading: Loader) -> None:
    """Each key comes to stand in the settings."""
    section = {
        "project": "my-project",
        "project_number": "123",
        "impersonate": "tests@my-project.iam.gserviceaccount.com",
        "image": "family/scylla",
        "network": "my-network",
        "subnets": {"us-central1": "mine"},
        "network_tags": ["ssh"],
        "labels": {"team": "storage"},
        "metadata": {"serial-port-enable": "TRUE"},
        "public_ip": True,
        "service_account": "default",
        "scopes": ["https://www.googleapis.com/auth/devstorage.read_only"],
        "disk_gb": 100,
        "disk_type": "pd-ssd",
        "local_ssds": 2,
        "local_ssd_interface": "SCSI",
        "min_cpu_platform": "Intel Ice Lake",
        "on_host_maintenance": "TERMINATE",
        "shielded_vm": True,
        "reservation": "automatic",
        "share_with": ["other-project"],
        "self_terminate": False,
    }
    assert set(section) == set(GceSettings.__struct_fields__) - {"accelerators"}
    read = section_of(loading(gce(**section)))
    for key, value in section.items():
        assert getattr(read, key) == (tuple(value) if isinstance(value, list) else value)


def test_a_group_has_its_own(loading: Loader) -> None:
    """Over those of the section, label by label."""
    values = {
        **db(
            instance_type="n1-standard-8",
            gce={"accelerators": {"nvidia-tesla-t4": 1}, "labels": {"b": "2"}},
            image="mine",
        ),
        "gce": {"labels": {"a": "1"}, "disk_gb": 50},
    }
    wanted = loading(values)
    (group,) = wanted.topologies["default"].groups
    own = settings_of(wanted, group)
    assert own.image == "global/images/mine"
    assert own.gce.accelerators == {"nvidia-tesla-t4": 1}
    assert (own.gce.labels, own.gce.disk_gb) == ({"a": "1", "b": "2"}, 50)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (gce(projekt="x"), "gce.projekt: is not a known key. Did you mean project?"),
        (gce(project="X"), "gce.project: 'X' does not have the right form"),
        (gce(image="family/Ünknown"), "gce.image:"),
        (gce(disk_gb=0), "gce.disk_gb: 0 is not a number of GB"),
        (gce(local_ssds="two"), "gce.local_ssds: 'two' is not a number of disks"),
        (gce(labels={"Team": "x"}), "gce.labels.Team: 'x' is no label of Compute Engine"),
        (gce(labels={"pytest-capacity-run": "x"}), "is a label that this plugin sets itself"),
        (gce(metadata={"startup-script": "x"}), "gce.metadata.startup-script: is set by `user_data`"),
        (gce(subnets={"us-east1": "x"}), "gce.subnets.us-east1: is no region of this run"),
        (gce(reservation="regional"), "gce.reservation: 'regional' is not one of specific, automatic"),
        (gce(on_host_maintenance="NO"), "gce.on_host_maintenance: 'NO' is not one of MIGRATE, TERMINATE"),
        ({**GOOD, "regions": ["us-central-1"]}, "'us-central-1' does not have the right form"),
        ({**GOOD, "zones": ["us-east1-b"]}, "'us-east1-b' is not in us-central1"),
        ({**GOOD, "use_reservations": ["cr-0123456789abcdef0!"]}, "does not have the right form"),
        (db(instance_type="i4i.large"), "'i4i.large' does not have the right form. Write it like n2-standard-8."),
        (db(gce={"project": "other-project"}), "groups.db.gce.project: concerns the whole run"),
        (db(instance_type="e2-standard-4", gce={"local_ssds": 1}), "local_ssds is 1, and 'e2-standard-4' takes none"),
        (db(gce={"accelerators": {"nvidia-tesla-t4": 1}}), "'n2-standard-8' takes no accelerators"),
        (db(instance_type="e2-small", placement_group=True), "'e2-small' cannot be placed compactly"),
        (
            db(
                instance_type="n1-standard-8",
                gce={"accelerators": {"nvidia-tesla-t4": 1}, "on_host_maintenance": "MIGRATE"},
            ),
            "on_host_maintenance is MIGRATE, and accelerators cannot be migrated",
        ),
        (db(market="spot", gce={"on_host_maintenance": "MIGRATE"}), "MIGRATE, and spot cannot be migrated"),
        (db(user_data="hello"), "begins with nothing that the guest environment or cloud-init reads"),
        (db(user_data="#!/bin/sh\n" + "x" * 300000), "takes 300010 bytes; Compute Engine takes 262144"),
        (
            {
                **db(market="spot", reserve=False),
                "fallback": {"spot_to_on_demand": False},
                "gce": {"share_with": ["a-project"]},
            },
            "gce.share_with: is there, and all nodes are spot",
        ),
        (
            {
                **db(market="spot", reserve=False),
                "fallback": {"spot_to_on_demand": False},
                "use_reservations": ["mine"],
            },
            "use_reservations: is there, and all nodes are spot: a spot machine cannot use a reservation",
        ),
        (
            {
                **db(market="spot", reserve=False),
                "fallback": {"spot_to_on_demand": False},
                "gce": {"reservation": "automatic"},
            },
            "gce.reservation: is there, and all nodes are spot",
        ),
        (
            {**db(market="spot", reserve=True), "fallback": {"spot_to_on_demand": False}},
            "groups.db.reserve: is true, and the market is spot",
        ),
    ],
)
def test_what_is_wrong_is_told(loading: Loader, values: Mapping[str, Any], words: str) -> None:
    """With where it stands, before any call."""
    faults = loading.faults(values)
    assert any(words in fault for fault in faults), faults


def test_an_emulated_run_has_no_project_of_the_users(loading: Loader) -> None:
    """Nor an account that it borrows: both are checked, and left out."""
    values = gce(project="my-project", impersonate="a@b.iam.gserviceaccount.com", project_number="1")
    assert dict(loading(values, Overrides(emulator=True)).settings) == {}


def test_the_environment_counts() -> None:
    """google-auth's variables and gcloud's; the file goes before them, an emulated run has none of them."""
    environ = {
        "CLOUDSDK_CORE_PROJECT": "from-gcloud",
        "GOOGLE_CLOUD_PROJECT": "from-google",
        "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": "a@b.iam",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": "https://compute.example/compute/v1/",
        "CLOUDSDK_COMPUTE_REGION": "us-east1",
    }
    chosen = PROVIDER.with_environment(request(), environ)
    assert dict(chosen.settings) == {"project": "from-google", "impersonate": "a@b.iam"}
    assert chosen.endpoint == "https://compute.example/compute/v1/"
    assert PROVIDER.with_environment(request(settings={"project": "mine"}), environ).settings["project"] == "mine"
    own = request(settings={"impersonate": "mine@x"})
    assert PROVIDER.with_environment(own, environ).settings["impersonate"] == "mine@x"
    assert PROVIDER.chosen_profile(own, environ) == "mine@x"
    assert PROVIDER.with_environment(request(emulated=True), environ) == request(emulated=True)
    assert PROVIDER.default_regions(environ) == (("us-east1",), "CLOUDSDK_COMPUTE_REGION")
    assert PROVIDER.default_regions({}) == ((), "")


def test_the_account_is_pinned_by_its_number() -> None:
    """Where the file says so."""
    assert PROVIDER.account_setting(request(settings={"project_number": "123"})) == ("gce.project_number", "123")
    assert PROVIDER.account_setting(request()) == ("", "")


SCT: Mapping[str, Any] = {
    "cluster_backend": "gce",
    "region_name": "us-east1",
    "availability_zone": "b",
    "n_db_nodes": 3,
    "instance_type_db": "n2-highmem-16",
    "gce_use_capacity_reservation": True,
}


def test_the_keys_of_scylla_cluster_tests(loading: Loader) -> None:
    """As it has them: a zonal reservation that is consumed by name."""
    wanted = loading(
        {**SCT, "gce_reservation_type": "zonal", "gce_reservation_specific": True, "gce_reservation_vm_count": 3}
    )
    assert (wanted.backend, wanted.regions, wanted.zones) == ("gce", ("us-east1",), ("b",))
    assert (wanted.reserve, wanted.colocate) == (True, "zone")
    assert section_of(wanted).reservation == "specific"


def test_the_types_of_scylla_cluster_tests(loading: Loader) -> None:
    """GCE's own keys go before the common ones."""
    own = {"gce_instance_type_db": "n2-highmem-8", "gce_instance_type_loader": "e2-standard-4"}
    groups = loading({**SCT, **own}).topologies["default"].groups
    assert [(group.name, group.count, group.instance_type) for group in groups] == [
        ("db", 3, "n2-highmem-8"),
        ("loader", 1, "e2-standard-4"),
    ]


def test_regional_and_shared_of_scylla_cluster_tests(loading: Loader) -> None:
    """One reservation a zone, since there are no regional ones; "shared" is automatic consumption."""
    regional = {
        "gce_reservation_type": "regional",
        "gce_reservation_specific_match": False,
        "gce_project": "my-project",
    }
    wanted = loading({**SCT, **regional, "gce_image_db": "projects/p/global/images/scylla"})
    assert wanted.colocate == "region"
    assert (section_of(wanted).reservation, section_of(wanted).project) == ("automatic", "my-project")
    (group,) = wanted.topologies["default"].groups
    assert settings_of(wanted, group).image == "projects/p/global/images/scylla"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gce_reservation_type": "global"}, "gce_reservation_type: 'global' is not one of zonal, regional"),
        (
            {"gce_reservation_type": "regional", "colocate": "zone"},
            "gce_reservation_type: is 'regional', and `colocate",
        ),
        (
            {"gce_reservation_specific": True, "gce_reservation_specific_match": False},
            "gce_reservation_specific_match: contradicts gce_reservation_specific",
        ),
        ({"gce_reservation_vm_count": 0}, "gce_reservation_vm_count: 0 is not a number of machines"),
    ],
)
def test_what_is_wrong_in_scylla_cluster_tests(loading: Loader, changes: Mapping[str, Any], words: str) -> None:
    """By the key that the user wrote."""
    faults = loading.faults({**SCT, **changes})
    assert any(words in fault for fault in faults), faults
