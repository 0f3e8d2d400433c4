"""The first face: what `capacity.yaml` says of the rack. Pure, and light: pytest imports it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_capacity.backends.base import Examples, Provider, Section
from pytest_capacity.config.fields import Faults, refuse_unknown
from pytest_capacity.model import Request

if TYPE_CHECKING:
    from rack_capacity.backend import RackBackend


class RackProvider(Provider):
    """`pytest_capacity.backends.base.Provider`, which answers for all that a rack does not have."""

    name = "rack"
    title = "the rack controller"
    examples = Examples(region="lab", zone="left", instance_type="big", group="{count: 2, instance_type: big}")
    credential_variables: tuple[str, ...] = ("RACK_USER",)
    environment_prefixes: tuple[str, ...] = ("RACK_",)
    errors_file: Path | None = Path(__file__).with_name("errors.yaml")

    def default_regions(self, environ: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
        return ("lab",), ""

    def read_section(self, section: Section, faults: Faults) -> Mapping[str, Any]:
        refuse_unknown(section.values, ("user",), f"{section.where}.", faults)
        return {"user": str(section.values["user"])} if "user" in section.values else {}

    def endpoint_of(self, request: Request, environ: Mapping[str, str]) -> str | None:
        return request.endpoint or environ.get("RACK_URL")

    def open(self, request: Request) -> RackBackend:
        from rack_capacity.backend import RackBackend

        return RackBackend(request)
