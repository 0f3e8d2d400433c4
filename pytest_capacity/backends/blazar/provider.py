"""Blazar's provider: what pytest and the command line use of it. Nothing of OpenStack's is imported here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.base import Examples, GroupDraft, Provider, Section
from pytest_capacity.backends.blazar.settings import KINDS, OF_THE_RUN, BlazarSettings, section_of
from pytest_capacity.backends.groups import plain
from pytest_capacity.config.fields import (
    Faults,
    Reader,
    as_bool,
    as_count,
    as_forms,
    as_mapping,
    as_text,
    as_texts,
    chosen,
    formed,
    listed,
    read_keys,
    refuse_unknown,
    shown,
)
from pytest_capacity.config.source import Source
from pytest_capacity.model import Request

if TYPE_CHECKING:
    from pytest_capacity.backends.blazar.backend import BlazarBackend

#: An id of Glance, Neutron and Keystone, with its dashes or without.
ID_FORM: Final = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
#: ``RegionOne``, or ``cloud/RegionOne`` for a region of another entry of clouds.yaml.
REGION_FORM: Final = re.compile(r"(?:[A-Za-z0-9_.-]+/)?[A-Za-z0-9_.-]+")
ZONE_FORM: Final = re.compile(r"[A-Za-z0-9_.:-]+")
FLAVOR_FORM: Final = re.compile(r"[A-Za-z0-9_.:-](?:[A-Za-z0-9_.: -]{0,253}[A-Za-z0-9_.:-])?")

#: What Nova takes, encoded (API reference, "user_data": 65535 characters of base64).
USER_DATA_LIMIT: Final = 65535 // 4 * 3

#: The name of a lease has 80 characters, of which this much is left for a topology's name (`stamp`).
TOPOLOGY_LIMIT: Final = 20

_ID: Final = "70a599e0-31e7-49b7-b260-868f441e862b"
_CLOUDS_FILE: Final = "OS_CLIENT_CONFIG_FILE"


class BlazarProvider(Provider):
    """`pytest_capacity.backends.base.Provider` for OpenStack with Blazar."""

    name = "blazar"
    title = "Blazar"
    modules = ("keystoneauth1",)
    type_form = FLAVOR_FORM
    image_form = ID_FORM
    examples = Examples(
        region="RegionOne",
        zone="nova",
        instance_type="m1.large",
        image=_ID,
        reservation="none: a run makes its own lease",
        endpoint="http://127.0.0.1:5000/v3",
        group="{count: 3, instance_type: m1.large}",
        section="{cloud: my-cloud}",
        prices="{m1.large: 0.1}",
    )
    region_variables: tuple[str, ...] = ("OS_REGION_NAME",)
    #: Which are there decides whose credentials are used; those that hold a secret are hashed like the others.
    credential_variables = (
        "OS_CLOUD",
        _CLOUDS_FILE,
        "OS_AUTH_TYPE",
        "OS_AUTH_URL",
        "OS_USERNAME",
        "OS_PASSWORD",
        "OS_TOKEN",
        "OS_PROJECT_NAME",
        "OS_PROJECT_ID",
        "OS_APPLICATION_CREDENTIAL_ID",
        "OS_APPLICATION_CREDENTIAL_NAME",
        "OS_APPLICATION_CREDENTIAL_SECRET",
    )
    file_variables = (_CLOUDS_FILE, "OS_CACERT", "OS_CERT", "OS_KEY")
    environment_prefixes = ("OS_",)
    account_key = "project_id"
    not_shaping = frozenset({"project_id"})
    errors_file: Path | None = Path(__file__).with_name("errors.yaml")

    def read_regions(self, values: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return names of regions, with the cloud of clouds.yaml in front where it is another one."""
        return as_forms(values, REGION_FORM, "RegionOne or other-cloud/RegionOne", where, faults)

    def read_zones(self, values: Sequence[str], regions: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return names of Nova's availability zones."""
        others = as_forms([value for value in values if value != "*"], ZONE_FORM, "nova", where, faults)
        return (*others, *(value for value in values if value == "*"))

    def read_reservations(self, values: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Refuse all: a lease is made for a run, and ends with it."""
        if values:
            faults.add(where, "Blazar's reservations belong to the lease that a run makes", "Remove the key.")
        return ()

    def read_section(self, section: Section, faults: Faults) -> Mapping[str, Any]:
        """Return `BlazarSettings`, less what is as by default."""
        values = _read(section.values, tuple(BlazarSettings.__struct_fields__), f"{section.where}.", faults)
        if "clouds_file" in values:
            values["clouds_file"] = str((section.base / Path(values["clouds_file"]).expanduser()).absolute())
        return plain(BlazarSettings(**values))

    def read_group(self, section: Section, group: GroupDraft, faults: Faults) -> Mapping[str, Any]:
        """Return its own settings, and its image."""
        keys = tuple(key for key in BlazarSettings.__struct_fields__ if key not in OF_THE_RUN)
        values = _read(group.own, keys, f"{group.where}.{self.name}.", faults)
        if "image" in group.values:
            image = self.read_image(group.values["image"], f"{group.where}.image", faults)
            if image:
                values["image"] = image
        if group.placement_group:
            faults.add(
                f"{group.where}.placement_group",
                "Blazar has none",
                "Remove it; `blazar: {affinity: true}` puts instances on one host.",
            )
        if group.market == "spot":
            faults.add(f"{group.where}.market", "Blazar has no spot market", "Write `market: on-demand`.")
        merged = {**group.settings, **values}
        if not values.get("image") and not merged.get("image") and not section.emulated:
            remedy = f"Name one: `image: {self.examples.image}`, or `blazar: {{image: ...}}` for all."
            if not group.settings_wrong:
                faults.add(f"{group.where}.image", "is missing, and no image is what every cloud has", remedy)
        return values

    def check_user_data(self, text: str, settings: Mapping[str, Any], where: str, faults: Faults) -> None:
        """Refuse what Nova would."""
        size = len(text.encode())
        if size > USER_DATA_LIMIT:
            faults.add(where, f"takes {size} bytes; Nova takes {USER_DATA_LIMIT}", "Let it fetch the rest.")

    def check_request(self, request: Request, source: Source, faults: Faults) -> None:
        """Refuse names of topologies for which a lease's name has no room, and more hosts than nodes."""
        for name in request.topologies:
            if len(name) > TOPOLOGY_LIMIT:
                remedy = f"Shorten it to {TOPOLOGY_LIMIT}: it is part of the lease's name, which holds 80."
                faults.add(f"{source.file}: topologies.{shown(name)}", f"has {len(name)} characters", remedy)

    def endpoint_of(self, request: Request, environ: Mapping[str, str]) -> str | None:
        """Return Keystone's URL, where the request or the environment names one."""
        return request.endpoint or environ.get("OS_AUTH_URL") or None

    def chosen_profile(self, request: Request, environ: Mapping[str, str]) -> str:
        """Return the entry of clouds.yaml."""
        return section_of(request).cloud or environ.get("OS_CLOUD") or ""

    def with_environment(self, request: Request, environ: Mapping[str, str]) -> Request:
        """Return it with the cloud, and with the clouds.yaml of this directory: the keeper works in another one."""
        chosen: dict[str, Any] = {"cloud": self.chosen_profile(request, environ)}
        if "clouds_file" not in request.settings and not environ.get(_CLOUDS_FILE):
            here = Path("clouds.yaml").absolute()
            chosen["clouds_file"] = str(here) if here.is_file() else None
        settings = {**request.settings, **{key: value for key, value in chosen.items() if value}}
        return replace(request, settings=settings)

    def open(self, request: Request) -> BlazarBackend:
        """Return the backend of ``request``. Imports keystoneauth1, and makes no call."""
        from pytest_capacity.backends.blazar.backend import BlazarBackend

        return BlazarBackend(request)


def _read(values: Mapping[str, Any], keys: Sequence[str], where: str, faults: Faults) -> dict[str, Any]:
    """Return the keys that can be used, checked."""
    refuse_unknown(values, keys, where, faults)
    written = {key: values[key] for key in keys if values.get(key) is not None}
    return read_keys(written, _READERS, where.removesuffix("."), faults)


def _properties(value: object, where: str, faults: Faults) -> str | None:
    """Return a filter of Blazar's, which is JSON in a text."""
    text = as_text(value, where, faults)
    if text is None:
        return None
    try:
        is_list = isinstance(json.loads(text), list)
    except ValueError:
        is_list = False
    if not is_list:
        faults.add(where, f"{shown(text)} is not JSON with a list", """Write it like '["==", "$gpu", "h200"]'.""")
        return None
    return text


def _texts(value: object, where: str, faults: Faults) -> dict[str, str]:
    read = as_mapping(value, where, faults, "{team: storage}")
    return {key: text for key in read if (text := as_text(read[key], f"{where}.{key}", faults)) is not None}


_READERS: Final[Mapping[str, Reader]] = {
    "cloud": as_text,
    "clouds_file": as_text,
    "project_id": formed(ID_FORM, _ID),
    "interface": chosen("public", "internal", "admin"),
    "reservation": chosen(*KINDS),
    "resource_properties": _properties,
    "hypervisor_properties": _properties,
    "min_hosts": as_count,
    "affinity": as_bool,
    "image": formed(ID_FORM, _ID),
    "networks": listed(ID_FORM, _ID),
    "security_groups": as_texts,
    "key_name": as_text,
    "metadata": _texts,
}
