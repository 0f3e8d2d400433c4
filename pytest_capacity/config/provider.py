"""The interface by which a configuration is read for a cloud: implemented by each backend's `Provider`.

No cloud is named here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct, field

from pytest_capacity.config.fields import Faults, as_form, as_text
from pytest_capacity.config.source import Source
from pytest_capacity.model import Market, Request


class Examples(Struct, frozen=True, kw_only=True):
    """Examples of this cloud's values, for messages."""

    region: str = ""
    #: Every form in which a zone may be written, with "or" before the last.
    zone: str = ""
    instance_type: str = ""
    image: str = ""
    #: What ``use_reservations`` takes.
    reservation: str = ""
    endpoint: str = ""
    #: A group of nodes: ``{count: 3, instance_type: NAME}``.
    group: str = ""
    #: The provider's section of the file, as a mapping.
    section: str = "{}"
    #: A price list: ``{NAME: 0.172}``.
    prices: str = ""


class Section(Struct, frozen=True, kw_only=True):
    """The provider's own section of the file (``<name>:``), before it is checked."""

    #: A mapping with keys that are texts; empty where the file has no such section.
    values: Mapping[str, Any]
    #: Where it stands, for messages: ``capacity.yaml: NAME``.
    where: str
    #: The regions of the run, checked.
    regions: tuple[str, ...] = ()
    #: What relative paths are relative to.
    base: Path = Path()
    #: The run goes to the emulator: profiles, accounts and credentials of the file do not count.
    emulated: bool = False


class GroupDraft(Struct, frozen=True, kw_only=True):
    """A node group of which the common keys are read, and the provider's are not."""

    name: str
    #: Where it stands, for messages: ``capacity.yaml: groups.db``.
    where: str
    #: The group's keys as they are written, all of them.
    values: Mapping[str, Any]
    #: What stands under the provider's name in the group; empty where there is none.
    own: Mapping[str, Any] = field(default_factory=dict)
    #: The type and its alternatives, those that have the right form.
    types: tuple[str, ...] = ()
    placement_group: bool = False
    market: Market = "on-demand"
    reserve: bool = True
    #: What `Reader.read_section` returned, and whether it had faults (then what is missing there is no second fault).
    settings: Mapping[str, Any] = field(default_factory=dict)
    settings_wrong: bool = False


class SctKeys(Struct, frozen=True, kw_only=True):
    """The keys that scylla-cluster-tests has for the settings of this cloud. Empty: it has no such key."""

    #: The cloud's own switch of reservations, which goes before ``use_capacity_reservation``.
    reserve: str = ""
    #: How many machines are reserved; checked, and refused beside nodes of several types.
    count: str = ""
    #: Keys that name zones, beside ``availability_zone``.
    zones: tuple[str, ...] = ()
    #: A zone that is named twice counts once; else it is a fault, as everywhere.
    unique_zones: bool = True
    #: One type for all nodes, instead of ``instance_type_db`` and the like.
    instance_type: str = ""
    #: The cloud's own key of the type, by group: it goes before ``instance_type_db`` and the like.
    types: Mapping[str, str] = field(default_factory=dict)
    #: The key of the image, by group: ``{"db": "ami_id_db_scylla"}``. Empty: images are not of this file.
    images: Mapping[str, str] = field(default_factory=dict)
    #: Whether the images of a key stand in the order of the regions, one each; else there is one for all.
    images_by_region: bool = True
    #: Whether a file without one is wrong: the provider has no image of its own.
    images_needed: bool = True
    #: What ``instance_provision_fallback_on_demand`` is where the file does not say.
    spot_to_on_demand: bool = False
    #: What a file that says nothing of ``instance_provision`` means.
    market: Market = "on-demand"
    #: The cloud's own key of the regions, which goes before ``region_name``.
    regions: str = ""
    #: The key that says who logs in, by group; the one under "" is for all.
    users: Mapping[str, str] = field(default_factory=dict)
    #: The key of the provider's section that names the account's key pair, which is called as the file of its private
    #: half.
    key_name: str = ""
    #: Where a group's own section has the size of the root disk in GB.
    root_disk: tuple[str, ...] = ()
    #: Keys of a group's own section whose values stand behind the type, after colons: ``SHAPE:16:192``.
    type_fields: tuple[str, ...] = ()
    #: What a value of an image's key means where it is not one of `Reader.read_image`: a lookup, as our file has it;
    #: None where it is none.
    lookup: Callable[[str], Mapping[str, Any] | None] | None = None
    #: The deprecated name of ``fallback_to_next_availability_zone``.
    next_zone: str = ""
    #: Keys of machines that cannot be had, and what to do instead. Off (0, false, nothing), they do no harm.
    refused: Mapping[str, str] = field(default_factory=dict)
    #: What of our own section (a pattern of its key) advice may name, and the key that it then names instead; the image
    #: and the root disk's size need not be here.
    advised: Mapping[str, str] = field(default_factory=dict)
    #: Further keys, which `Reader.read_sct` checks.
    others: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Return every key, once."""
        named = (self.reserve, self.count, self.instance_type, self.next_zone, self.regions)
        by_group = (*self.types.values(), *self.images.values(), *self.users.values())
        keys = (*named, *self.zones, *by_group, *self.others)
        return tuple(dict.fromkeys(key for key in keys if key))


class SctReading(Struct, frozen=True, kw_only=True):
    """The values of those keys of scylla-cluster-tests that only this cloud has."""

    #: The key by which the nodes are spread over the zones of the region; "" where they are not.
    spread_by: str = ""
    #: For the provider's section of `capacity.yaml`.
    section: Mapping[str, Any] = field(default_factory=dict)
    #: For the provider's section of a group, by its name.
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: The user's keys by ours, where these are in ``groups``: for messages.
    names: Mapping[str, str] = field(default_factory=dict)


class Reader:
    """The part of a provider that reads a configuration. Pure: no call, no SDK, no file but those that it is given.

    Methods with ``faults`` add one for each thing that is wrong and return what is usable; ``where`` begins a message.
    This class takes every value: it stands where no backend is chosen, so that the rest of the file is still checked,
    and a provider inherits from it what its cloud does not have.
    """

    #: The value of ``backend:``, and the name of the provider's section and of its extra.
    name: str = ""
    #: What messages call it.
    title: str = ""
    #: The machines are the user's own: there are no regions, markets, reservations, key pairs, and no emulator.
    owns_machines: bool = False
    #: Whether the emulator that we bring speaks for it.
    emulated: bool = False
    #: The forms of a region, an instance type, an image and an existing reservation; None: any text.
    region_form: re.Pattern[str] | None = None
    type_form: re.Pattern[str] | None = None
    image_form: re.Pattern[str] | None = None
    reservation_form: re.Pattern[str] | None = None
    examples: Examples = Examples(group="{count: 3, instance_type: NAME}")
    #: The variables from which the SDK takes the region where nothing else names it, in its order.
    region_variables: tuple[str, ...] = ()
    sct: SctKeys = SctKeys()

    def default_regions(self, environ: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
        """Return the regions that the SDK would take, and the variable that sets them; ``((), "")`` without one."""
        for name in self.region_variables:
            if environ.get(name):
                return (environ[name],), name
        return ((), "") if self.region_variables else ((self.name,), "")

    def read_regions(self, values: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return the regions of the right form, each once."""
        read = [_formed(value, self.region_form, self.examples.region, where, faults) for value in values]
        if len(set(values)) < len(values):
            faults.add(where, "names a region twice", "Name each once.")
        return tuple(dict.fromkeys(region for region in read if region is not None))

    def read_zones(self, values: Sequence[str], regions: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return the zones as the user wrote them, those of the right form and of ``regions``. ``*`` stays as it is."""
        return tuple(values)

    def read_type(self, value: object, where: str, faults: Faults) -> str | None:
        """Return an instance type (machine type, size, shape). None, and a fault, for anything else."""
        return _formed(value, self.type_form, self.examples.instance_type, where, faults)

    def read_image(self, value: object, where: str, faults: Faults) -> str | None:
        """Return the id of an image. None, and a fault, for anything else."""
        return _formed(value, self.image_form, self.examples.image, where, faults)

    def read_reservations(self, values: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return the existing reservations of ``use_reservations``."""
        example = self.examples.reservation
        read = [_formed(value, self.reservation_form, example, where, faults) for value in values]
        return tuple(value for value in read if value is not None)

    def read_section(self, section: Section, faults: Faults) -> Mapping[str, Any]:
        """Return the section, checked: plain data (what JSON has), for `Request.settings`, less what is default."""
        return {}

    def read_group(self, section: Section, group: GroupDraft, faults: Faults) -> Mapping[str, Any]:
        """Return the group's keys beside the common ones (its own section, ``image``), for `NodeGroup.cloud`.

        A text under ``image`` is taken out of it and becomes `NodeGroup.image`.
        """
        return {}

    def check_user_data(self, text: str, settings: Mapping[str, Any], where: str, faults: Faults) -> None:
        """Refuse user data that no machine of this cloud would get or read. Never quote it: it may hold secrets."""

    def check_request(self, request: Request, source: Source, faults: Faults) -> None:
        """Refuse what contradicts itself; called once, with the whole. ``source.get(key)`` is where a key stands."""

    def read_sct(self, values: Mapping[str, Any], where: Callable[[str], str], faults: Faults) -> SctReading:
        """Return what ``sct.others`` say; ``values`` are without what is empty, ``where(key)`` begins a message.

        Called with every file of scylla-cluster-tests, of another cloud too: then only the forms count.
        """
        return SctReading()


class Readers(Protocol):
    """Every provider that there is, by name. One that is not used is not imported."""

    def names(self) -> Iterable[str]:
        """Return the names in the order in which messages give them."""
        ...

    def get(self, name: str) -> Reader:
        """Return the provider of that name; raises `ConfigError` where there is none."""
        ...


def _formed(value: object, form: re.Pattern[str] | None, example: str, where: str, faults: Faults) -> str | None:
    return as_form(value, form, example, where, faults) if form else as_text(value, where, faults)
