"""The first face of machines of the user's own: what the file may say of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_capacity.backends.base import Examples, Section
from pytest_capacity.config.fields import Faults, refuse_unknown
from pytest_capacity.config.provider import AnyCloud
from pytest_capacity.model import Request

if TYPE_CHECKING:
    from pytest_capacity.backends.static.backend import StaticBackend


class StaticProvider(AnyCloud):
    """`pytest_capacity.backends.base.Provider` for hosts that the file names. There is no cloud to choose from."""

    name = "static"
    title = "static"
    owns_machines = True
    emulated = False
    modules: tuple[str, ...] = ()
    #: ssh's own rule: who we are here, we are there.
    default_user = ""
    examples = Examples(group="{hosts: [10.0.0.1, 10.0.0.2]}")
    credential_variables: tuple[str, ...] = ()
    file_variables: tuple[str, ...] = ()
    environment_prefixes: tuple[str, ...] = ()
    not_shaping: frozenset[str] = frozenset()
    errors_file: Path | None = None

    def read_section(self, section: Section, faults: Faults) -> Mapping[str, Any]:
        """Nothing: every key is one too many."""
        refuse_unknown(section.values, (), f"{section.where}.", faults)
        return {}

    def normal(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """None: there are none."""
        return {}

    def endpoint_of(self, request: Request, environ: Mapping[str, str]) -> str | None:
        """None: nothing is called."""
        return None

    def chosen_profile(self, request: Request, environ: Mapping[str, str]) -> str:
        """None."""
        return ""

    def with_environment(self, request: Request, environ: Mapping[str, str]) -> Request:
        """As it is."""
        return request

    def account_setting(self, request: Request) -> tuple[str, str]:
        """None."""
        return "", ""

    def memory(self, kind: str) -> float | None:
        """As for every cloud."""
        return None

    def open(self, request: Request) -> StaticBackend:
        """The backend of ``request``."""
        from pytest_capacity.backends.static.backend import StaticBackend

        return StaticBackend(request)
