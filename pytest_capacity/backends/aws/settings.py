"""What the configuration says for one group: the ``aws:`` section, with the group's own words over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from pytest_capacity.backends.aws.launch_options import LaunchOptions
from pytest_capacity.backends.groups import PlannedGroup, defaults_of, merged
from pytest_capacity.model import NodeGroup, Request

#: The InstancePlatform of most machines.
DEFAULT_PLATFORM: Final = "Linux/UNIX"


class Lookup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An image by its name, in which ``*`` and ``?`` stand for anything, and its owner; the newest one is meant.

    Or the one whose id a public or private parameter of Systems Manager holds.
    """

    name: str = ""
    #: ``self``, ``amazon``, the number of an account, or several of these.
    owner: str | tuple[str, ...] = "self"
    #: ``x86_64`` or ``arm64``; empty: any.
    architecture: str = ""
    #: An image whose tag ``Name`` is the name will do as well, where none is called so.
    or_tag: bool = False
    #: The name of the parameter; then nothing else is given.
    ssm: str = ""

    @property
    def owners(self) -> tuple[str, ...]:
        """Whose it may be."""
        return (self.owner,) if isinstance(self.owner, str) else self.owner

    @property
    def words(self) -> str:
        """What is looked for, in words."""
        if self.ssm:
            return f"image in the parameter {self.ssm}"
        architecture = f"{self.architecture} " if self.architecture else ""
        return f"{architecture}image of {' or '.join(self.owners)} called {self.name!r}"


class AwsSettings(LaunchOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``aws:`` section. ``image``, ``subnets`` are keyed by region and by zone name."""

    image: Mapping[str, str | Lookup] = field(default_factory=dict)
    subnets: Mapping[str, str] = field(default_factory=dict)
    #: The tag ``Name`` of the subnets, with ``*`` and ``?``; of several in a zone the one with most free addresses.
    subnet_name: str | None = None
    key_name: str | None = None
    #: Ids or names, for every region or by region.
    security_groups: tuple[str, ...] | Mapping[str, tuple[str, ...]] = ()
    #: An EC2 InstancePlatform ("Linux/UNIX", "Red Hat Enterprise Linux", ...), or "auto": what the image says.
    platform: str = "auto"
    tenancy: Literal["default", "dedicated"] = "default"
    public_ip: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    self_terminate: bool = True
    profile: str | None = None
    #: Refuse to run in any other account than this one.
    account: str | None = None


@dataclass(frozen=True)
class GroupSettings(PlannedGroup):
    """A group with every default filled in."""

    aws: AwsSettings

    def image(self, region: str) -> str | Lookup | None:
        """Return the image of the group in ``region``, or how it is found: its own, else the section's."""
        own = self.group.cloud.get("image")
        if isinstance(own, Mapping) and region in own:
            own = own[region]
        if self.group.image:
            return self.group.image
        if isinstance(own, Mapping):
            own = msgspec.convert(own, Lookup) if {"name", "ssm"} & own.keys() else None
        return own or self.aws.image.get(region)

    def security_groups(self, region: str) -> tuple[str, ...]:
        """Return ids and names of its security groups in ``region``; none: the VPC's default one."""
        given = self.aws.security_groups
        return given.get(region, ()) if isinstance(given, Mapping) else given


def section_of(request: Request) -> AwsSettings:
    """Return the section of ``request``."""
    return msgspec.convert(request.settings, AwsSettings)


def settings_of(request: Request, group: NodeGroup) -> GroupSettings:
    """Return ``group`` with the defaults of ``request``, and its own words over the section's."""
    own = merged(AwsSettings, request.settings, group.cloud, "tags", without="image")
    return GroupSettings(**defaults_of(request, group), aws=own)


#: The fact of an offer that holds the ARN of the user's cluster placement group, where nodes use a reservation in it.
CLUSTER: Final = "cluster"
