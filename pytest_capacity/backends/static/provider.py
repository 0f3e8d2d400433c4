"""The first face of machines of the user's own: what the file may say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_capacity.backends.base import Examples, Provider, Section
from pytest_capacity.config.fields import Faults, refuse_unknown
from pytest_capacity.model import Request

if TYPE_CHECKING:
    from pytest_capacity.backends.static.backend import StaticBackend


class StaticProvider(Provider):
    """`pytest_capacity.backends.base.Provider` for hosts that the file names. There is no cloud to choose from."""

    name = "static"
    title = "static"
    owns_machines = True
    examples = Examples(group="{hosts: [10.0.0.1, 10.0.0.2]}")

    def read_section(self, section: Section, faults: Faults) -> Mapping[str, Any]:
        """Refuse every key: there are no settings."""
        refuse_unknown(section.values, (), f"{section.where}.", faults)
        return {}

    def open(self, request: Request) -> StaticBackend:
        """Return the backend of ``request``."""
        from pytest_capacity.backends.static.backend import StaticBackend

        return StaticBackend(request)
