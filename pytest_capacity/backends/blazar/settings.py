"""The ``blazar:`` section, and what it makes of a group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from pytest_capacity.backends.groups import PlannedGroup, defaults_of, merged
from pytest_capacity.model import NodeGroup, Request

#: Who logs in where the user sets nothing: cloud-init's user of most images is another one for each.
DEFAULT_USER: Final = "debian"

Kind = Literal["virtual:instance", "physical:host", "flavor:instance"]

KINDS: Final[tuple[Kind, ...]] = ("virtual:instance", "physical:host", "flavor:instance")


class BlazarSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``blazar:`` section. A group's own section may set everything but what concerns the whole run."""

    #: The entry of clouds.yaml. None: ``OS_CLOUD``, or the ``OS_*`` variables themselves.
    cloud: str | None = None
    #: The file itself. None: looked for as openstacksdk does.
    clouds_file: str | None = None
    #: Refuse to run in any other project than the one with this id.
    project_id: str | None = None
    #: Which of the catalog's endpoints are called.
    interface: Literal["public", "internal", "admin"] = "public"
    #: What a group reserves: instances of its flavor's size, whole hosts, or instances of the flavor itself.
    reservation: Kind = "virtual:instance"
    #: Blazar's filters, in its own form: ``["==", "$gpu", "h200"]``.
    resource_properties: str = ""
    hypervisor_properties: str = ""
    #: Of ``physical:host``: the fewest hosts that will do. None: one for each node.
    min_hosts: int | None = None
    #: Of ``virtual:instance``: all on one host (true), each on another (false); None: wherever.
    affinity: bool | None = None
    #: An image's id.
    image: str = ""
    #: Ids of networks; none: what the project has by itself.
    networks: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    #: A key pair of Nova, beside the run's own key.
    key_name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


#: Keys that a group cannot set.
OF_THE_RUN: Final = frozenset({"cloud", "clouds_file", "project_id", "interface"})


@dataclass(frozen=True)
class GroupSettings(PlannedGroup):
    """A group with every default filled in."""

    blazar: BlazarSettings

    @property
    def image(self) -> str:
        """Return the id of the image that the group starts from."""
        return self.group.image or self.blazar.image


def section_of(request: Request) -> BlazarSettings:
    """Return the ``blazar:`` section of ``request``."""
    return msgspec.convert(dict(request.settings), BlazarSettings)


def settings_of(request: Request, group: NodeGroup) -> GroupSettings:
    """Return ``group`` with the defaults of ``request``, and its own words over the section's."""
    own = merged(BlazarSettings, request.settings, group.cloud, "metadata")
    return GroupSettings(**defaults_of(request, group), blazar=own)
