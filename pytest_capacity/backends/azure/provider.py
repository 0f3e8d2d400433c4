"""Azure's `Provider`: what pytest and the command line use of it. Nothing of the SDK is imported here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends.azure import config
from pytest_capacity.backends.azure.settings import AzureSettings, GroupSettings, section_of, settings_of
from pytest_capacity.backends.base import Examples, GroupDraft, Provider, SctKeys, SctReading, Section
from pytest_capacity.backends.groups import plain
from pytest_capacity.config.fields import Faults, as_text
from pytest_capacity.config.source import Source
from pytest_capacity.model import Request, Topology

if TYPE_CHECKING:
    from pytest_capacity.backends.azure.backend import AzureBackend

_GROUP_KEY = "azure_capacity_reservation_group"


def _reserved(request: Request, topology: Topology) -> list[GroupSettings]:
    return [one for group in topology.groups if (one := settings_of(request, group)).reserve]


class AzureProvider(Provider):
    """`pytest_capacity.backends.base.Provider` for Azure."""

    name = "azure"
    title = "Azure"
    emulated = True
    #: Of the namespace itself first: a module in a package that is missing cannot be looked for.
    modules: tuple[str, ...] = ("azure", "azure.core", "azure.identity")
    region_form = config.REGION_FORM
    type_form = config.SIZE_FORM
    examples = Examples(
        region="eastus",
        zone="1, eastus-1 or none",
        instance_type="Standard_L8s_v3",
        image="Canonical:ubuntu-24_04-lts:server:latest",
        reservation="/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.Compute/capacityReservationGroups/NAME",
        endpoint="https://management.azure.com",
        group="{count: 3, instance_type: Standard_L8s_v3}",
        section="{image: 'Canonical:ubuntu-24_04-lts:server:latest'}",
        prices="{Standard_L8s_v3: 0.624}",
    )
    #: Of the Azure command line.
    region_variables: tuple[str, ...] = ("AZURE_DEFAULTS_LOCATION",)
    #: OSProfile.customData: before it is encoded.
    user_data_limit = 64 * 1024 - 1
    #: Which of them are there decides who we are.
    credential_variables: tuple[str, ...] = (
        "AZURE_CLIENT_ID",
        "AZURE_TENANT_ID",
        "AZURE_SUBSCRIPTION_ID",
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "AZURE_USERNAME",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_AUTHORITY_HOST",
        "AZURE_CONFIG_DIR",
        "AZURE_TOKEN_CREDENTIALS",
        "IDENTITY_ENDPOINT",
        "MSI_ENDPOINT",
    )
    file_variables: tuple[str, ...] = (
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_CONFIG_DIR",
    )
    environment_prefixes: tuple[str, ...] = ("AZURE_", "IDENTITY_", "MSI_", "ARM_")
    account_key = "subscription"
    not_shaping: frozenset[str] = frozenset({"subscription", "tenant"})
    settings_type: type[Struct] | None = AzureSettings
    errors_file: Path | None = Path(__file__).with_name("errors.yaml")
    endless = "nothing at Azure ends by itself: without a keeper, machines and reservations bill until they are removed"
    sct = SctKeys(
        reserve="azure_use_capacity_reservation",
        count="azure_reserved_vm_count",
        zones=("azure_reservation_zones",),
        types={
            "db": "azure_instance_type_db",
            "loader": "azure_instance_type_loader",
            "monitor": "azure_instance_type_monitor",
        },
        images={"db": "azure_image_db", "loader": "azure_image_loader", "monitor": "azure_image_monitor"},
        images_by_region=False,
        market="spot",
        regions="azure_region_name",
        users={"": "azure_image_username"},
        root_disk=("os_disk_gb",),
        spot_to_on_demand=True,
        advised={"capacity_reservation_group": _GROUP_KEY},
        others=(_GROUP_KEY,),
    )

    def read_regions(self, values: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return the regions: ``eastus``, or ``East US``."""
        return super().read_regions([config.location(value) for value in values], where, faults)

    def read_zones(self, values: Sequence[str], regions: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return the zones: ``1``, ``eastus-1``, or ``none`` for a placement without a zone."""
        return config.read_zones(values, regions, where, faults)

    def read_image(self, value: object, where: str, faults: Faults) -> str | None:
        """Return the image: a URN or a resource id."""
        return config.as_image(value, where, faults)

    def read_reservations(self, values: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return the ids of capacity reservation groups."""
        return config.read_reservations(values, where, faults)

    def read_section(self, section: Section, faults: Faults) -> Mapping[str, Any]:
        """Return `AzureSettings`, without the values that are the default."""
        return plain(config.read_section(section, faults))

    def read_group(self, section: Section, group: GroupDraft, faults: Faults) -> Mapping[str, Any]:
        """Return the group's images."""
        return config.read_group(msgspec.convert(group.settings, AzureSettings), section, group, faults)

    def check_user_data(self, text: str, settings: Mapping[str, Any], where: str, faults: Faults) -> None:
        """Refuse more than Azure takes as custom data."""
        size = len(text.encode())
        if size > self.user_data_limit:
            remedy = "Let it fetch the rest (#include URL)."
            faults.add(where, f"takes {size} bytes; Azure takes {self.user_data_limit}", remedy)

    def check_request(self, request: Request, source: Source, faults: Faults) -> None:
        """Refuse what does not fit into one capacity reservation group of the user's."""
        given = section_of(request).capacity_reservation_group or ""
        sizes = [
            size
            for topology in request.topologies.values()
            for size in {one.group.instance_type for one in _reserved(request, topology)}
        ]
        twice = sorted(size for size, count in Counter(sizes).items() if count > 1)
        if twice and "/" in given:
            faults.add(
                f"{source.file}: azure.capacity_reservation_group",
                f"takes one reservation for each size and zone, and {', '.join(twice)} is in several topologies",
                "Leave it out, then each topology has a group of its own; or write `reserve: false` for one of them.",
            )

    def read_sct(self, values: Mapping[str, Any], where: Callable[[str], str], faults: Faults) -> SctReading:
        """Return the group of the reservations: one that exists, or the name of ours."""
        if _GROUP_KEY not in values:
            return SctReading()
        name = as_text(values[_GROUP_KEY], where(_GROUP_KEY), faults)
        return SctReading(section={"capacity_reservation_group": name} if name else {})

    def with_environment(self, request: Request, environ: Mapping[str, str]) -> Request:
        """Return the request with the subscription of the environment, where the file names none."""
        subscription = environ.get("AZURE_SUBSCRIPTION_ID", "")
        if request.emulated or not subscription or section_of(request).subscription:
            return request
        return replace(request, settings={**request.settings, "subscription": subscription.lower()})

    def account_setting(self, request: Request) -> tuple[str, str]:
        """Return ``azure.subscription``; in an emulated run none."""
        return ("", "") if request.emulated else super().account_setting(request)

    def memory(self, kind: str) -> float | None:
        """Return an hour for lack of capacity, as the Karpenter provider of Azure does."""
        return 3600.0 if kind == "capacity-zone" else None

    def open(self, request: Request) -> AzureBackend:
        """Return the backend of ``request``. Raises `ConfigError` where no subscription is named."""
        from pytest_capacity.backends.azure.backend import open_azure

        return open_azure(request)
