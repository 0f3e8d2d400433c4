"""The ``azure:`` section and the keys of scylla-cluster-tests: what is read, and what is refused before any call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import provider
from pytest_capacity.backends.azure.provider import AzureProvider
from pytest_capacity.backends.azure.settings import section_of, settings_of
from pytest_capacity.backends.azure.sizes import family
from pytest_capacity.backends.base import Provider
from pytest_capacity.model import Request
from pytest_capacity.report.render import header
from tests.config.files import Loader

URN = "Canonical:ubuntu-24_04-lts:server:latest"
SUBSCRIPTION = "0a1b2c3d-0000-4000-8000-0123456789ab"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/c"

SPOT_ONLY = {"spot_to_on_demand": False}


@pytest.fixture
def loading(tmp_path: Path) -> Loader:
    """Loads a configuration."""
    return Loader(tmp_path)


def file(azure: Mapping[str, Any] | None = None, db: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A small file, with keys of its section, of its group and of the top changed."""
    group = {"count": 2, "instance_type": "Standard_L8s_v3", **(db or {})}
    section = {"subscription": SUBSCRIPTION, "image": URN, **(azure or {})}
    return {"backend": "azure", "regions": ["eastus"], "groups": {"db": group}, "azure": section, **changes}


def test_a_whole_section(loading: Loader) -> None:
    """Every key arrives, and an image without regions is that of all of them."""
    request = loading(
        file(
            {"public_ip": True, "ssh_from": ["203.0.113.0/24"], "max_price": 0.5, "os_disk_gb": 64, "tags": {"a": "b"}},
            regions=["eastus", "westeurope"],
            fallback={"regions": True},
            zones=["1", "eastus-2", "none"],
            use_reservations=[GROUP],
        )
    )
    settings = section_of(request)
    assert request.regions == ("eastus", "westeurope")
    assert request.zones == ("1", "eastus-2", "none")
    assert request.use_reservations == (GROUP,)
    assert settings.image == {"eastus": URN, "westeurope": URN}
    assert (settings.public_ip, settings.ssh_from, settings.max_price) == (True, ("203.0.113.0/24",), 0.5)
    assert (settings.os_disk_gb, settings.tags, settings.subscription) == (64, {"a": "b"}, SUBSCRIPTION)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (file({"subscription": "mine"}), "subscription: 'mine' does not have the right form"),
        (file({"cloud": "german"}), "cloud: 'german' is not one of public, government, china"),
        (file({"image": "ubuntu"}), "image: 'ubuntu' is neither a URN nor the id of an image"),
        (file({"subnets": {"eastus": "net/sub"}}), "subnets.eastus: 'net/sub' does not have the right form"),
        (file({"subnets": {"westus": "x"}}), "subnets.westus: is not a region of the run"),
        (file({"ssh_from": ["everyone"]}), "ssh_from: 'everyone' is not a range of addresses"),
        (file({"max_price": 0}), "max_price: 0 is no price"),
        (file({"os_disk_gb": 9000}), "os_disk_gb: 9000 is no size of a disk"),
        (file({"capacity_reservation_group": "g" * 81}), "is no name of a group"),
        (file({"capacity_reservation_group": "/subscriptions/x"}), "does not have the right form"),
        (file({"tags": {"Backend": "x"}}), "tags.Backend: is a tag that Azure or this plugin sets itself"),
        (file({"tags": {"a/b": "x"}}), "tags.a/b: is no name of a tag"),
        (file({"sizes": 1}), "azure.sizes: is not a known key"),
        (file(zones=["4x"]), "zones: '4x' does not have the right form"),
        (file(zones=["westus2-1"]), "zones: 'westus2-1' is not a zone of eastus"),
        (file(zones=["1", "1"]), "zones: '1' is there twice"),
        (file(db={"instance_type": "i4i.large"}), "instance_type: 'i4i.large' does not have the right form"),
        (file(db={"azure": {"availability_set": "a"}}), "no reservation serves a machine in an availability set"),
        (file(db={"placement_group": True}), "Azure reserves nothing in a proximity placement group"),
        (
            file(db={"market": "spot", "reserve": True}, fallback=SPOT_ONLY),
            "groups.db.reserve: is true, and the market is spot",
        ),
        (file(market="spot", reserve=True, fallback=SPOT_ONLY), "A spot instance cannot use a reservation"),
        (file(db={"user_data": "#!" + "x" * 70_000}), "bytes; Azure takes 65535"),
        (file(use_reservations=["cr-0123"]), "use_reservations: 'cr-0123' does not have the right form"),
    ],
)
def test_what_cannot_be_is_told_at_once(loading: Loader, values: dict[str, Any], fault: str) -> None:
    """Each mistake is named with its key, before anything is asked of Azure."""
    found = loading.faults(values)
    assert any(fault in line for line in found), found


def test_spot_nodes_are_reserved_when_they_have_become_on_demand(loading: Loader) -> None:
    """Only who asks for both is refused: reservations are the default, and for what the spot nodes may become."""
    for values in (file(db={"market": "spot"}), file(market="spot", fallback={"spot_to_on_demand": True})):
        request = loading(values)
        (group,) = request.topologies["default"].groups
        found = settings_of(request, group)
        assert (found.market, found.reserve, found.wants_reservation) == ("spot", False, True)


def test_two_topologies_do_not_fit_into_one_given_group(loading: Loader) -> None:
    """Azure takes one reservation for each size and zone in a group: of one size in two topologies one is refused."""
    groups = {"groups": {"db": {"count": 2, "instance_type": "Standard_L8s_v3"}}}
    other = {"groups": {"app": {"count": 1, "instance_type": "Standard_D4s_v5"}}}
    file_of = {**file({"capacity_reservation_group": GROUP}), "topologies": {"one": groups, "two": groups}}
    del file_of["groups"]
    (fault,) = loading.faults(file_of)
    assert "takes one reservation for each size and zone, and Standard_L8s_v3 is in several topologies" in fault
    assert loading({**file_of, "topologies": {"one": groups, "two": other}}).topologies.keys() == {"one", "two"}
    named = {**file_of, "azure": {**file_of["azure"], "capacity_reservation_group": "mine"}}
    assert loading(named).topologies.keys() == {"one", "two"}
    unreserved = {"groups": {"db": {**groups["groups"]["db"], "reserve": False}}}
    assert loading({**file_of, "topologies": {"one": groups, "two": unreserved}}).topologies.keys() == {"one", "two"}


def test_the_header_says_that_nothing_ends_by_itself(loading: Loader) -> None:
    """But where nothing is billed."""
    request = loading(file())
    words = "capacity: nothing at Azure ends by itself: without a keeper, machines and reservations bill until they are"
    assert header(request, "")[-1] == f"{words} removed"
    assert not any("ends by itself" in line for line in header(replace(request, emulated=True), ""))


def test_no_image_is_told_with_what_to_write(loading: Loader) -> None:
    """A group without an image in a region of the run says so."""
    found = loading.faults({**file(), "azure": {"subscription": SUBSCRIPTION}})
    assert any("no image is known for eastus" in line and URN in line for line in found), found


def test_the_keys_of_scylla_cluster_tests(loading: Loader) -> None:
    """Reservations, their group and zones, by the keys that its documents name."""
    request: Request = loading(
        {
            "cluster_backend": "azure",
            "region_name": "eastus",
            "n_db_nodes": 3,
            "instance_type_db": "Standard_L8s_v3",
            "azure_use_capacity_reservation": True,
            "azure_capacity_reservation_group": "sct-cr-group",
            "azure_reserved_vm_count": 3,
            "azure_reservation_zones": ["1", "2"],
            "azure_image_db": URN,
        }
    )
    assert request.backend == "azure"
    assert request.reserve
    assert request.zones == ("1", "2")
    assert section_of(request).capacity_reservation_group == "sct-cr-group"
    assert section_of(request).image == {"eastus": URN}


def test_the_sizes_of_scylla_cluster_tests(loading: Loader) -> None:
    """Azure's own keys go before the common ones; those of another cloud have no effect; faults name the user's key."""
    keys = {
        "cluster_backend": "azure",
        "region_name": "eastus",
        "n_db_nodes": 3,
        "n_loaders": 2,
        "instance_type_db": "i4i.large",
        "azure_instance_type_db": "Standard_L8s_v3",
        "azure_instance_type_loader": "Standard_D4s_v5",
        "azure_instance_type_monitor": "Standard_D2s_v5",
        "gce_instance_type_db": "n2-highmem-16",
        "azure_image_db": URN,
    }
    groups = {group.name: (group.count, group.instance_type) for group in loading(keys).topologies["default"].groups}
    assert groups == {
        "db": (3, "Standard_L8s_v3"),
        "loader": (2, "Standard_D4s_v5"),
        "monitor": (1, "Standard_D2s_v5"),
    }
    (fault,) = loading.faults({**keys, "azure_instance_type_db": "i4i.large"})
    assert "azure_instance_type_db: 'i4i.large' does not have the right form" in fault


def test_the_environment_names_the_subscription(loading: Loader) -> None:
    """AZURE_SUBSCRIPTION_ID counts where the file names none, and the pin is of it."""
    azure: Any = provider("azure")
    request = loading({**file(), "azure": {"image": URN}})
    assert azure.account_setting(request) == ("", "")
    named = azure.with_environment(request, {"AZURE_SUBSCRIPTION_ID": SUBSCRIPTION.upper()})
    assert azure.account_setting(named) == ("azure.subscription", SUBSCRIPTION)
    assert (
        section_of(azure.with_environment(loading(file()), {"AZURE_SUBSCRIPTION_ID": "x"})).subscription == SUBSCRIPTION
    )


def test_the_provider_is_all_that_the_protocol_asks_for(loading: Loader) -> None:
    """The type checker compares the two, and settings of a journal come back as they were."""
    azure: Provider = AzureProvider()
    settings = loading(file({"public_ip": True})).settings
    assert azure.normal({**settings, "cloud": "public"}) == settings


@pytest.mark.parametrize(
    ("size", "quota"),
    [
        ("Standard_L8s_v3", "standardLSv3Family"),
        ("Standard_L16s_v3", "standardLSv3Family"),
        ("Standard_E8-4s_v5", "standardESv5Family"),
        ("Standard_D2ps_v5", "standardDPSv5Family"),
        ("special", "special"),
    ],
)
def test_sizes_of_one_quota_have_one_family(size: str, quota: str) -> None:
    """The family is read from the name, as Azure names its quotas."""
    assert family(size) == quota
