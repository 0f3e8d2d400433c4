"""OCI's provider: what pytest and the command line use of it. Nothing of the SDK is imported here."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends.base import Examples, GroupDraft, Provider, SctKeys, SctReading, Section
from pytest_capacity.backends.groups import plain
from pytest_capacity.backends.oci import config, forms
from pytest_capacity.backends.oci.settings import OciSettings, section_of
from pytest_capacity.config.fields import Faults, as_form
from pytest_capacity.model import Request

if TYPE_CHECKING:
    from pytest_capacity.backends.oci.backend import OciBackend

#: All metadata of an instance together, encoded (API reference, LaunchInstanceDetails); the rest is left for its keys.
_METADATA_BYTES: Final = 32000
MOST_BYTES: Final = 22 * 1024


class OciProvider(Provider):
    """`pytest_capacity.backends.base.Provider` for OCI."""

    name = "oci"
    title = "OCI"
    emulated = True
    modules: tuple[str, ...] = ("oci",)
    type_form = forms.SHAPE
    image_form = forms.IMAGE
    examples = Examples(
        region="us-ashburn-1",
        zone=config.ZONE_EXAMPLE,
        instance_type="VM.Standard.E4.Flex",
        image=config.IMAGE_EXAMPLE,
        reservation="ocid1.capacityreservation.oc1.iad.aaaa",
        endpoint="http://127.0.0.1:4566",
        group="{count: 3, instance_type: VM.Standard.E4.Flex, oci: {ocpus: 4, memory_gb: 64}}",
        section="{compartment: ocid1.compartment.oc1..aaaa, image: {operating_system: Oracle Linux, version: '9'}}",
        prices="{VM.Standard.E4.Flex: 0.147}",
    )
    #: Of Oracle's command line and SDK; a profile may name one as well, which only the SDK reads.
    region_variables: tuple[str, ...] = ("OCI_CLI_REGION", "OCI_REGION")
    #: Which of them are there decides whose tenancy it is. None of them is a secret.
    credential_variables: tuple[str, ...] = (
        "OCI_CONFIG_FILE",
        "OCI_CLI_CONFIG_FILE",
        "OCI_CLI_PROFILE",
        "OCI_CONFIG_PROFILE",
        "OCI_CLI_AUTH",
        "OCI_RESOURCE_PRINCIPAL_VERSION",
    )
    file_variables: tuple[str, ...] = ("OCI_CONFIG_FILE", "OCI_CLI_CONFIG_FILE")
    environment_prefixes: tuple[str, ...] = ("OCI_",)
    #: The tenancy shows whose credentials are used; the name of the profile does not.
    not_shaping: frozenset[str] = frozenset({"profile", "account", "config_file", "auth"})
    account_key = "account"
    region_form = forms.REGION
    reservation_form = forms.RESERVATION
    settings_type: type[Struct] | None = OciSettings
    errors_file: Path | None = Path(__file__).with_name("errors.yaml")
    endless = "nothing at OCI ends by itself: without a keeper, instances and reservations bill until they are removed"
    sct = SctKeys(
        reserve="oci_use_capacity_reservation",
        count="oci_reserved_instance_count",
        zones=("oci_availability_domain",),
        images={"db": "oci_image_db", "loader": "oci_image_loader", "monitor": "oci_image_monitor"},
        images_by_region=False,
        regions="oci_region_name",
        users={"": "oci_image_username"},
        root_disk=("boot_volume_gb",),
        types={
            "db": "oci_instance_type_db",
            "loader": "oci_instance_type_loader",
            "monitor": "oci_instance_type_monitor",
        },
        type_fields=("ocpus", "memory_gb"),
        instance_type="oci_instance_shape",
        advised={"compartment": "oci_compartment_id"},
        others=("oci_compartment_id",),
    )

    def read_zones(self, values: Sequence[str], regions: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return availability domains by number, short or full name, with or without a fault domain after them."""
        return config.read_zones(values, where, faults)

    def read_section(self, section: Section, faults: Faults) -> Mapping[str, Any]:
        """Return `OciSettings`, without the values that are the default."""
        return plain(config.read_section(section, faults))

    def read_group(self, section: Section, group: GroupDraft, faults: Faults) -> Mapping[str, Any]:
        """Return the group's image, and the size of its shapes and disks."""
        return config.read_group(section, group, faults)

    def check_user_data(self, text: str, settings: Mapping[str, Any], where: str, faults: Faults) -> None:
        """Check that all metadata of a machine together fits; it is sent in base64."""
        size = len(base64.b64encode(text.encode()))
        if size > _METADATA_BYTES:
            what = f"takes {size} bytes in base64; OCI takes {_METADATA_BYTES} of all metadata"
            faults.add(where, what, "Let it fetch the rest (#include URL).")

    def read_sct(self, values: Mapping[str, Any], where: Callable[[str], str], faults: Faults) -> SctReading:
        """Return the compartment."""
        key = "oci_compartment_id"
        if key not in values:
            return SctReading()
        found = as_form(values[key], forms.COMPARTMENT, "ocid1.compartment.oc1..aaaa", where(key), faults)
        return SctReading(section={"compartment": found} if found else {})

    def chosen_profile(self, request: Request, environ: Mapping[str, str]) -> str:
        """Return ``oci.profile``, or the variable that Oracle's command line reads."""
        chosen = environ.get("OCI_CLI_PROFILE") or environ.get("OCI_CONFIG_PROFILE") or ""
        return section_of(request).profile or chosen

    def with_environment(self, request: Request, environ: Mapping[str, str]) -> Request:
        """Return the request with the profile of the environment: the header names it, and the keeper uses it."""
        profile = self.chosen_profile(request, environ)
        if not profile or request.emulated:
            return request
        return replace(request, settings={**request.settings, "profile": profile})

    def open(self, request: Request) -> OciBackend:
        """Return the backend of ``request``; raise `ConfigError` for credentials that cannot be read."""
        from pytest_capacity.backends.oci.backend import OciBackend

        return OciBackend(request)
