"""The first face of AWS: what pytest and the command line need to know of it. Nothing of the SDK is imported here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends.aws import config, sct
from pytest_capacity.backends.aws.settings import AwsSettings, section_of
from pytest_capacity.backends.base import Examples, GroupDraft, Provider, SctKeys, SctReading, Section
from pytest_capacity.backends.groups import plain
from pytest_capacity.config.fields import Faults
from pytest_capacity.config.source import Source
from pytest_capacity.config.userdata import form_of, is_plain
from pytest_capacity.model import Request

if TYPE_CHECKING:
    from pytest_capacity.backends.aws.backend import AwsBackend

# EC2 user guide, "Run commands when you launch an EC2 instance with user data input": before it is encoded.
MOST_BYTES: Final = 16 * 1024
#: What the timer with which a node ends itself, and the envelope that holds both, may take of it.
OUR_BYTES: Final = 2 * 1024


class AwsProvider(Provider):
    """`pytest_capacity.backends.base.Provider` for EC2."""

    name = "aws"
    title = "EC2"
    emulated = True
    #: boto3's core; boto3 brings it in the version that it goes with.
    modules: tuple[str, ...] = ("botocore",)
    region_form = config.REGION_FORM
    type_form = config.INSTANCE_TYPE_FORM
    image_form = config.IMAGE_FORM
    reservation_form = config.RESERVATION_FORM
    account_key = "account"
    examples = Examples(
        region="us-east-1",
        zone="a, us-east-1a or use1-az2",
        instance_type="i4i.large",
        image="ami-0123456789abcdef0",
        reservation="cr-0123456789abcdef0, or a resource group's ARN",
        endpoint="https://ec2.us-east-1.amazonaws.com",
        group="{count: 3, instance_type: i4i.large}",
        section="{image: {us-east-1: ami-0123456789abcdef0}}",
        prices="{i4i.large: 0.172}",
    )
    region_variables: tuple[str, ...] = ("AWS_REGION", "AWS_DEFAULT_REGION")
    #: Which of them are there decides whose account it is. None of them is a secret.
    credential_variables: tuple[str, ...] = (
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    )
    file_variables: tuple[str, ...] = (
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CA_BUNDLE",
    )
    environment_prefixes: tuple[str, ...] = ("AWS_", "BOTO_")
    #: Whose credentials are used shows by the account, not by the name of the profile.
    not_shaping: frozenset[str] = frozenset({"profile", "account"})
    settings_type: type[Struct] | None = AwsSettings
    errors_file: Path | None = Path(__file__).with_name("errors.yaml")
    sct = SctKeys(
        images={"db": "ami_id_db_scylla", "loader": "ami_id_loader", "monitor": "ami_id_monitor"},
        unique_zones=False,
        market="spot",
        users={"db": "ami_db_scylla_user", "loader": "ami_loader_user", "monitor": "ami_monitor_user"},
        key_name="key_name",
        root_disk=("root_volume", "size_gb"),
        lookup=sct.lookup,
        advised=sct.ADVISED,
        refused=sct.REFUSED,
        others=sct.KEYS,
        spot_to_on_demand=True,
        next_zone="aws_fallback_to_next_availability_zone",
    )

    def read_zones(self, values: Sequence[str], regions: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return the zones: letters, names or zone ids."""
        return config.read_zones(values, regions, where, faults)

    def read_reservations(self, values: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
        """Return ids of capacity reservations, and at most one resource group of them."""
        read = super().read_reservations(values, where, faults)
        if len([one for one in values if one.startswith("arn:")]) > 1:
            faults.add(where, "names two resource groups", "Name one: all that would be reserved is aimed at it.")
        return read

    def read_section(self, section: Section, faults: Faults) -> Mapping[str, Any]:
        """Return `AwsSettings`, less what is as by default."""
        return plain(config.read_section(section, faults))

    def read_group(self, section: Section, group: GroupDraft, faults: Faults) -> Mapping[str, Any]:
        """Return its images and settings."""
        return config.read_group(msgspec.convert(group.settings, AwsSettings), section, group, faults)

    def check_user_data(self, text: str, settings: Mapping[str, Any], where: str, faults: Faults) -> None:
        """Refuse, beside a node's own timer (``self_terminate``), what cannot stand in a MIME message."""
        timed = msgspec.convert(settings, AwsSettings).self_terminate
        if timed and form_of(text) is None:
            remedy = (
                "Begin it with #!, #cloud-config or another word that cloud-init knows; or write "
                "`aws: {self_terminate: false}`, then it is handed over as it is."
            )
            faults.add(where, "begins with nothing that cloud-init reads, and our timer has to stand beside it", remedy)
        size = len(text.encode())
        # Anything else travels in base64, in lines.
        size = size if is_plain(text) or not timed else size * 4 // 3 + size // 50
        if size > MOST_BYTES - OUR_BYTES * timed:
            ours = f", of which {OUR_BYTES} are for the timer (aws.self_terminate)" if timed else ""
            remedy = "Let it fetch the rest (#include URL)."
            faults.add(where, f"takes {size} bytes; EC2 takes {MOST_BYTES}{ours}", remedy)

    def check_request(self, request: Request, source: Source, faults: Faults) -> None:
        """Refuse a key pair of the account's without its private half."""
        ssh = source.get("ssh")[0]
        written = isinstance(ssh, Mapping) and "key" in ssh
        if request.ssh and request.ssh.key is None and not written and section_of(request).key_name:
            remedy = "Write `ssh: {key: PATH}`, or remove the key: then a key pair is made for the run."
            faults.add(f"{source.file}: aws.key_name", "is there, and not where its private half is", remedy)

    def read_sct(self, values: Mapping[str, Any], where: Callable[[str], str], faults: Faults) -> SctReading:
        """Return instance profiles, data volumes and public addresses."""
        return sct.read(values, where, faults)

    def endpoint_of(self, request: Request, environ: Mapping[str, str]) -> str | None:
        """Return the URL.

        The SDKs' two variables count too (AWS SDKs and Tools Reference Guide, "Service-specific endpoints").
        A profile may name an endpoint as well, which only the SDK reads.
        """
        if request.endpoint or request.emulated:
            return request.endpoint
        if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
            return None
        return environ.get("AWS_ENDPOINT_URL_EC2") or environ.get("AWS_ENDPOINT_URL") or None

    def chosen_profile(self, request: Request, environ: Mapping[str, str]) -> str:
        """Return ``aws.profile``, or the variable that the SDK reads. An emulated run uses none."""
        if request.emulated:
            return ""
        chosen = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")
        return section_of(request).profile or chosen or ""

    def with_environment(self, request: Request, environ: Mapping[str, str]) -> Request:
        """Return it with the profile that the environment chose: the header names it, the keeper uses it."""
        profile = self.chosen_profile(request, environ)
        return replace(request, settings={**request.settings, "profile": profile}) if profile else request

    def open(self, request: Request) -> AwsBackend:
        """Return the backend of ``request``.

        Raises `ConfigError` for an emulated run without an endpoint, and for a profile that the SDK's files do not
        have.
        """
        from pytest_capacity.backends.aws.backend import open_aws

        return open_aws(request)
