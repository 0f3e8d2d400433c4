"""What the configuration says for one group: the ``gce:`` section, with the group's own settings over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from pytest_capacity.backends.gce.values import without_host
from pytest_capacity.backends.groups import PlannedGroup, defaults_of, merged
from pytest_capacity.model import NodeGroup, Request

#: What a group starts from that names no image. Debian's images know the metadata's SSH keys and startup script.
DEFAULT_IMAGE: Final = "projects/debian-cloud/global/images/family/debian-12"
DEFAULT_NETWORK: Final = "global/networks/default"

#: Who logs in where the user says nothing: the guest environment makes any user that the metadata name.
DEFAULT_USER: Final = "capacity"

#: GB of one local SSD (Compute Engine documentation, "About Local SSD disks").
LOCAL_SSD_GB: Final = 375


class GceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``gce:`` section. A group's own section may set everything but what concerns the whole run (`OF_THE_RUN`)."""

    #: The project's id. None: that of the environment or of the credentials.
    project: str | None = None
    #: Refuse to run in any other project than the one with this number.
    project_number: str | None = None
    #: The service account whose credentials are used, by those that are found.
    impersonate: str | None = None
    #: ``projects/P/global/images/family/F``, ``projects/P/global/images/NAME``, the same as URLs, or a name in the
    #: project (``family/F``, ``NAME``).
    image: str = DEFAULT_IMAGE
    network: str = DEFAULT_NETWORK
    #: One for all regions (which has that name in each), or by region: names or links.
    subnets: str | Mapping[str, str] = ""
    #: Network tags, which firewall rules name.
    network_tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: Whether nodes get an external address.
    public_ip: bool = False
    service_account: str | None = None
    scopes: tuple[str, ...] = ("https://www.googleapis.com/auth/cloud-platform",)
    disk_gb: int | None = None
    disk_type: str | None = None
    #: How many local SSDs of 375 GB each.
    local_ssds: int = 0
    local_ssd_interface: Literal["NVME", "SCSI"] = "NVME"
    min_cpu_platform: str | None = None
    #: By type, how many: ``{nvidia-tesla-t4: 1}``.
    accelerators: Mapping[str, int] = field(default_factory=dict)
    on_host_maintenance: Literal["MIGRATE", "TERMINATE"] | None = None
    shielded_vm: bool = False
    #: ``specific``: only nodes that name it use the reservation. ``automatic``: any machine of the project may.
    reservation: Literal["specific", "automatic"] = "specific"
    #: Projects that may use the reservations too.
    share_with: tuple[str, ...] = ()
    #: End each node at the hard end by Compute Engine's own clock.
    self_terminate: bool = True


#: Keys that a group cannot have of its own.
OF_THE_RUN: Final = frozenset({"project", "project_number", "impersonate", "share_with", "reservation"})


@dataclass(frozen=True)
class GroupSettings(PlannedGroup):
    """A group with every default filled in."""

    gce: GceSettings

    @property
    def image(self) -> str:
        """Return the image as a link: ``projects/P/global/images/...``, or ``global/images/...`` in the run's."""
        return image_link(self.group.image or self.gce.image)

    def subnet(self, region: str) -> str:
        """Return its subnet in ``region`` as a link; empty for the one that the network has there by itself."""
        given = self.gce.subnets
        name = given if isinstance(given, str) else given.get(region, "")
        return name if not name or "/" in name else f"regions/{region}/subnetworks/{name}"


def section_of(request: Request) -> GceSettings:
    """Return the ``gce:`` section of ``request``."""
    return msgspec.convert(dict(request.settings), GceSettings)


def settings_of(request: Request, group: NodeGroup) -> GroupSettings:
    """Return ``group`` with the defaults of ``request``, and its own words over the section's."""
    own = merged(GceSettings, request.settings, group.cloud, "labels", "metadata")
    return GroupSettings(**defaults_of(request, group), gce=own)


def image_link(image: str) -> str:
    """Return ``image`` as a link without its host: ``projects/P/global/images/family/F``, ``global/images/NAME``."""
    link = without_host(image)
    if link.startswith(("projects/", "global/")):
        return link
    return f"global/images/{link}"


def network_link(network: str) -> str:
    """Return ``network`` as a link without its host: ``global/networks/default``."""
    link = without_host(network)
    return link if "/" in link else f"global/networks/{link}"
