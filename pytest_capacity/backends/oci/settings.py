"""The configuration for OCI: the ``oci:`` section, and one group with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from pytest_capacity.backends.groups import PlannedGroup, defaults_of, merged
from pytest_capacity.model import NodeGroup, Request

#: Keys that a group may set under ``oci:``, over those of the section.
GROUP_KEYS: Final = ("image", "ocpus", "memory_gb", "boot_volume_gb", "cluster_placement_group")

#: The least OCPUs of a flexible shape, and GB of memory for each, where those are not 1 and 16 (OCI documentation,
#: "Compute Shapes").
_SIZES: Final[Mapping[str, tuple[float, float]]] = {
    "VM.DenseIO.E4.Flex": (8.0, 16.0),
    "VM.DenseIO.E5.Flex": (8.0, 12.0),
    "VM.Optimized3.Flex": (1.0, 14.0),
    "VM.Standard.A1.Flex": (1.0, 6.0),
}

#: How the SDK proves who it is; ``auto``: a security token where the profile has one, else the API key.
Auth = Literal["auto", "api_key", "security_token", "instance_principal", "resource_principal"]


class ImageLookup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image by its operating system and version, as ListImages takes them; it is the newest for the shape."""

    operating_system: str
    version: str


class OciSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``oci:`` section. What is keyed by region is keyed by its name (``us-ashburn-1``)."""

    #: The OCID of the compartment in which everything is made; None: the root compartment of the tenancy.
    compartment: str | None = None
    image: Mapping[str, str | ImageLookup] = field(default_factory=dict)
    #: OCIDs of subnets by region, or by availability domain; empty: a network is made for the run.
    subnets: Mapping[str, str] = field(default_factory=dict)
    #: OCIDs of network security groups by region.
    network_security_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Of the network that is made for the run.
    network_cidr: str = "10.0.0.0/24"
    #: From where the nodes of that network may be reached by SSH.
    ssh_sources: tuple[str, ...] = ("0.0.0.0/0",)
    public_ip: bool = False
    #: Of flexible shapes; None: the least OCPUs that the shape can have, and its usual memory for each.
    ocpus: float | None = None
    memory_gb: float | None = None
    boot_volume_gb: int | None = None
    #: ``FAULT-DOMAIN-1`` ...: each is a separate place to fall back to; empty: the cloud chooses one.
    fault_domains: tuple[str, ...] = ()
    #: The OCID of an existing cluster placement group; None: one is made for groups with ``placement_group: true``.
    cluster_placement_group: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    defined_tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: Whether the capacity report is read, so that domains that are out of capacity are tried last.
    capacity_report: bool = True
    auth: Auth = "auto"
    profile: str | None = None
    config_file: str | None = None
    #: Refuse to run in any other tenancy than this one.
    account: str | None = None


@dataclass(frozen=True)
class GroupSettings(PlannedGroup):
    """A group with every default filled in."""

    oci: OciSettings

    def image(self, region: str) -> str | ImageLookup | None:
        """Return the image of its nodes in ``region``: an OCID or a lookup; None where none is named."""
        return self.group.image or self.oci.image.get(region)

    def shape_config(self, shape: str) -> dict[str, float]:
        """Return ``ocpus`` and ``memoryInGBs`` for a flexible shape; empty for a fixed one, which takes none."""
        if not is_flexible(shape):
            return {}
        least, share = _SIZES.get(shape, (1.0, 16.0))
        ocpus = self.oci.ocpus or least
        return {"ocpus": ocpus, "memoryInGBs": self.oci.memory_gb or ocpus * share}


def is_flexible(shape: str) -> bool:
    """Return whether a shape takes a number of OCPUs: Oracle's names of these end in ``.Flex``."""
    return shape.endswith(".Flex")


def section_of(request: Request) -> OciSettings:
    """Return the ``oci:`` section of ``request``."""
    return msgspec.convert(request.settings, OciSettings)


def settings_of(request: Request, group: NodeGroup) -> GroupSettings:
    """Return ``group`` with the defaults of ``request``, and its own words over the section's."""
    own = merged(OciSettings, request.settings, group.cloud)
    return GroupSettings(**defaults_of(request, group), oci=own)


def makes_clusters(request: Request) -> bool:
    """Return whether a group of ``request`` is to have a cluster placement group and names none."""
    return any(
        group.placement_group and not settings_of(request, group).oci.cluster_placement_group
        for topology in request.topologies.values()
        for group in topology.groups
    )
