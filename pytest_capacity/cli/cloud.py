"""Which cloud the allocation view asks beside the journal, and how."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from pytest_capacity.backends import provider
from pytest_capacity.cli.run import DEFAULT_FILE, keeper_python, read_request
from pytest_capacity.errors import ConfigError
from pytest_capacity.keeper import oneshot
from pytest_capacity.keeper.places import Places
from pytest_capacity.keeper.spawn import SpawnOptions, missing_where
from pytest_capacity.model import Request, Unread
from pytest_capacity.text import clean
from pytest_capacity.usage import Usage, UseFilter


class Cloud(Struct, frozen=True):
    """The cloud of a configuration. Reading it starts a process that has its SDK, and ends with the answer."""

    request: Request
    options: SpawnOptions

    @property
    def backend(self) -> str:
        """The name of its backend."""
        return self.request.backend

    @property
    def regions(self) -> Sequence[str]:
        """What is read."""
        return self.request.regions

    def read(self, wanted: UseFilter) -> Usage:
        """Return who uses what of it. Raises `CapacityError`."""
        return oneshot.uses(self.request, self.options, wanted)


def cloud_of(options: argparse.Namespace) -> Cloud | None:
    """Return the cloud of the configuration that is named, or that is here; None where none is to be asked.

    Raises `ConfigError`, and `Misused` for an interpreter that is not there.
    """
    if options.no_cloud or (options.config is None and not Path(DEFAULT_FILE).is_file()):
        return None
    request = read_request(options, os.environ)
    if provider(request.backend).owns_machines:
        return None  # Machines of the user's own are listed by no cloud.
    python = keeper_python(options.keeper_python)
    if missing := missing_where(python, [request.backend]):
        raise ConfigError([*missing, "or ask no cloud: --no-cloud"])
    return Cloud(request, SpawnOptions(python=python))


def journal_of(options: argparse.Namespace, cloud: Cloud | None) -> Path:
    """Return the journal that is named, that of the configuration, or the one in the user's state directory."""
    named = options.journal or (cloud.request.journal if cloud else None)
    return Path(Places.of("", named).journal)


def unread_lines(unread: Sequence[Unread]) -> list[str]:
    """Return what a cloud did not say, in words."""
    return [clean(f"not read: {part.kind} in {part.region or 'every region'}: {part.why}") for part in unread]
