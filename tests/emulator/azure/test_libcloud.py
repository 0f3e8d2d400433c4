"""apache-libcloud's driver of Azure, which shares nothing with Microsoft's clients, against the emulated Azure."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.emulated import Emulator
from tests.emulator.azure.conftest import SUBSCRIPTION
from tests.emulator.azure.test_sdk import machine


def driver_of(emulator: Emulator) -> Any:
    """The driver, which knows only HTTPS and port 443, led to the emulator."""
    azure = pytest.importorskip("libcloud.common.azure_arm")
    drivers = pytest.importorskip("libcloud.compute.drivers.azure_arm")
    url = urlsplit(emulator.url)

    class Loopback(azure.LibcloudConnection):  # type: ignore[misc, name-defined]
        def __init__(self, host: str, port: int, **more: Any) -> None:
            super().__init__("127.0.0.1", url.port, **{**more, "secure": False})

    class Connection(azure.AzureResourceManagementConnection):  # type: ignore[misc, name-defined]
        conn_class = Loopback

    class Driver(drivers.AzureNodeDriver):  # type: ignore[misc, name-defined]
        connectionCls = Connection  # noqa: N815

    environment = {
        "resourceManagerEndpointUrl": emulator.url,
        "activeDirectoryEndpointUrl": emulator.url,
        "activeDirectoryResourceId": "https://management.azure.com/",
        "storageEndpointSuffix": ".invalid",
    }
    more = {"region": "eastus", "cloud_environment": environment}
    return Driver("tenant", SUBSCRIPTION, "client", emulator.secret, **more)


def test_libcloud_logs_in_lists_and_destroys(emulator: Emulator, compute: Any, subnet: str) -> None:
    """It gets a token for the secret, sees groups, networks, cards and machines, and destroys a machine."""
    compute.virtual_machines.begin_create_or_update("Mine", "m", machine("1", subnet)).result()
    driver = driver_of(emulator)
    assert [group.name for group in driver.ex_list_resource_groups()] == ["Mine"]
    (network,) = driver.ex_list_networks()
    assert network.name == "net"
    (card,) = driver.ex_list_nics("Mine")
    assert card.extra["ipConfigurations"][0]["properties"]["subnet"]["id"] == subnet
    (node,) = driver.list_nodes(ex_resource_group="Mine")
    assert (node.name, str(node.state)) == ("m", "running")
    assert node.private_ips
    assert driver.destroy_node(node, ex_destroy_nic=False, ex_destroy_vhd=False)
    assert driver.list_nodes(ex_resource_group="Mine") == []
    assert driver.ex_list_nics("Mine") == []
