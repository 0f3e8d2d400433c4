"""The first face of GCE: what pytest and the command line need to know of it. Nothing of the SDK is imported here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from pytest_capacity.backends.base import Examples, GroupDraft, Provider, SctKeys, SctReading, Section
from pytest_capacity.backends.gce import config
from pytest_capacity.backends.gce.settings import GceSettings, section_of
from pytest_capacity.backends.gce.userdata import VALUE_LIMIT
from pytest_capacity.backends.groups import plain
from pytest_capacity.config.fields import Faults, as_bool, as_choice, as_forms
from pytest_capacity.config.source import Source
from pytest_capacity.config.userdata import form_of
from pytest_capacity.model import Request

if TYPE_CHECKING:
    from pytest_capacity.backends.gce.backend import GceBackend

#: Where the project stands that neither the file nor a flag names, in the order in which they count: google-auth's two,
#: and gcloud's.
PROJECT_VARIABLES: Final = ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT")
_IMPERSONATE: Final = "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT"
_ENDPOINT: Final = "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"
_REGION: Final = "CLOUDSDK_COMPUTE_REGION"

#: Seeds' keys: whether a reservation is consumed by name only. Two spellings of one thing.
_SPECIFIC: Final = ("gce_reservation_specific", "gce_reservation_specific_match")
_TYPE: Final = "gce_reservation_type"
_REFUSED: Final = dict.fromkeys(
    (*(f"gce_pd_ssd_disk_size_{group}" for group in ("db", "loader", "monitor")), "gce_pd_standard_disk_size_db"),
    "Set it to 0: nodes have their root disk here, and local SSDs (`gce_n_local_ssd_disk_db`).",
)
#: The disks of a group: the group, and what it is in its own section.
_DISKS: Final = {
    f"gce_{key}_{group}": (group, ours)
    for group in ("db", "loader", "monitor")
    for key, ours in (("n_local_ssd_disk", "local_ssds"), ("root_disk_type", "disk_type"))
}


class GceProvider(Provider):
    """`pytest_capacity.backends.base.Provider` for Compute Engine."""

    name = "gce"
    title = "GCE"
    emulated = True
    modules: tuple[str, ...] = ("google.auth", "requests")
    type_form = config.NAME_FORM
    image_form = config.IMAGE_FORM
    examples = Examples(
        region="us-central1",
        zone="b or us-central1-b",
        instance_type="n2-standard-8",
        image="projects/debian-cloud/global/images/family/debian-12",
        reservation="my-reservation, or projects/P/zones/Z/reservations/my-reservation",
        endpoint="https://compute.googleapis.com",
        group="{count: 3, instance_type: n2-standard-8}",
        section="{project: my-project}",
        prices="{n2-standard-8: 0.39}",
    )
    region_variables: tuple[str, ...] = (_REGION,)
    #: Which of them are there decides whose credentials are used. None of them is a secret but the token, which is
    #: hashed like the others and never shown.
    credential_variables: tuple[str, ...] = (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "CLOUDSDK_CONFIG",
        "CLOUDSDK_AUTH_ACCESS_TOKEN",
        _IMPERSONATE,
        *PROJECT_VARIABLES,
    )
    file_variables: tuple[str, ...] = ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "REQUESTS_CA_BUNDLE")
    environment_prefixes: tuple[str, ...] = ("GOOGLE_", "GCLOUD_", "CLOUDSDK_", "GCE_METADATA_")
    account_key = "project_number"
    not_shaping: frozenset[str] = frozenset({"impersonate", "project_number"})
    errors_file: Path | None = Path(__file__).with_name("errors.yaml")
    sct = SctKeys(
        reserve="gce_use_capacity_reservation",
        count="gce_reservation_vm_count",
        types={
            "db": "gce_instance_type_db",
            "loader": "gce_instance_type_loader",
            "monitor": "gce_instance_type_monitor",
        },
        images={"db": "gce_image_db", "loader": "gce_image_loader", "monitor": "gce_image_monitor"},
        images_by_region=False,
        images_needed=False,
        market="spot",
        regions="gce_datacenter",
        users={"": "gce_image_username"},
        root_disk=("disk_gb",),
        refused=_REFUSED,
        advised={"project": "gce_project", "network": "gce_network", "reservation": _SPECIFIC[0]},
        others=(_TYPE, *_SPECIFIC, "gce_project", "gce_network", *_DISKS),
    )

    def read_regions(self, values: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return the regions: ``us-central1``."""
        return as_forms(values, config.REGION_FORM, self.examples.region, where, faults)

    def read_zones(self, values: Sequence[str], regions: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return the zones: letters or names."""
        return config.read_zones(values, regions, where, faults)

    def read_reservations(self, values: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return the reservations: names, or links of shared ones."""
        example = "my-reservation or projects/P/zones/Z/reservations/my-reservation"
        return as_forms(values, config.RESERVATION_FORM, example, where, faults)

    def read_section(self, section: Section, faults: Faults) -> Mapping[str, Any]:
        """Return `GceSettings` as plain data, less the defaults."""
        return plain(config.read_section(section, faults))

    def read_group(self, section: Section, group: GroupDraft, faults: Faults) -> Mapping[str, Any]:
        """Return the group's own settings and its image."""
        return config.read_group(msgspec.convert(dict(group.settings), GceSettings), section, group, faults)

    def check_user_data(self, text: str, settings: Mapping[str, Any], where: str, faults: Faults) -> None:
        """Add a fault for user data that no machine would read, or that is too long for a metadata value."""
        if form_of(text) is None:
            remedy = "Begin it with #!, #cloud-config or another word that cloud-init knows."
            faults.add(where, "begins with nothing that the guest environment or cloud-init reads", remedy)
        size = len(text.encode())
        if size > VALUE_LIMIT:
            remedy = "Let it fetch the rest (#include URL)."
            faults.add(where, f"takes {size} bytes; Compute Engine takes {VALUE_LIMIT}", remedy)

    def check_request(self, request: Request, source: Source, faults: Faults) -> None:
        """Add a fault for keys about reservations where every node is spot: none is reserved."""
        section = section_of(request)
        groups = [group for topology in request.topologies.values() for group in topology.groups]
        spot_only = groups and not request.fallback.spot_to_on_demand
        if spot_only and all((group.market or request.market) == "spot" for group in groups):
            for key, is_there in (
                ("use_reservations", request.use_reservations),
                ("gce.share_with", section.share_with),
                ("gce.reservation", section.reservation != "specific"),
            ):
                if is_there:
                    remedy = "Remove it, or let nodes fall back (`fallback: {spot_to_on_demand: true}`)."
                    what = "is there, and all nodes are spot: a spot machine cannot use a reservation"
                    faults.add(f"{source.file}: {key}", what, remedy)

    def read_sct(self, values: Mapping[str, Any], where: Callable[[str], str], faults: Faults) -> SctReading:
        """Return the section of zonal or regional, specific or shared, project and network."""
        type_ = as_choice(values[_TYPE], ("zonal", "regional"), where(_TYPE), faults) if _TYPE in values else None
        said = {key: as_bool(values[key], where(key), faults) for key in _SPECIFIC if key in values}
        specific = {value for value in said.values() if value is not None}
        if len(specific) > 1:
            faults.add(where(_SPECIFIC[1]), f"contradicts {_SPECIFIC[0]}", "Keep one of them.")
        section: dict[str, Any] = {"reservation": "automatic"} if specific == {False} else {}
        for key in ("project", "network"):
            if f"gce_{key}" in values:
                section[key] = values[f"gce_{key}"]
        groups: dict[str, dict[str, Any]] = {}
        names = {f"groups.{group}.gce.{ours}": key for key, (group, ours) in _DISKS.items()}
        for key, (group, ours) in _DISKS.items():
            if values.get(key) and values[key] != "0":
                text = str(values[key])
                groups.setdefault(group, {})[ours] = int(text) if text.isdigit() else text
        return SctReading(spread_by=_TYPE if type_ == "regional" else "", section=section, groups=groups, names=names)

    def endpoint_of(self, request: Request, environ: Mapping[str, str]) -> str | None:
        """Return the request's own endpoint, or that of gcloud's override."""
        if request.endpoint or request.emulated:
            return request.endpoint
        return environ.get(_ENDPOINT) or None

    def chosen_profile(self, request: Request, environ: Mapping[str, str]) -> str:
        """Return the service account that is impersonated."""
        return section_of(request).impersonate or environ.get(_IMPERSONATE) or ""

    def with_environment(self, request: Request, environ: Mapping[str, str]) -> Request:
        """Return the request with the project, endpoint and service account that the environment names."""
        if request.emulated:
            return request
        section = section_of(request)
        project = section.project or next(filter(None, map(environ.get, PROJECT_VARIABLES)), None)
        chosen = {"project": project, "impersonate": self.chosen_profile(request, environ)}
        settings = {**request.settings, **{key: value for key, value in chosen.items() if value}}
        return replace(request, settings=settings, endpoint=self.endpoint_of(request, environ))

    def open(self, request: Request) -> GceBackend:
        """Return the backend of ``request``. Imports google-auth and requests, and makes no call."""
        from pytest_capacity.backends.gce.backend import GceBackend

        return GceBackend(request)
