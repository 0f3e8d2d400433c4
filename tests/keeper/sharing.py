"""Owners of one session in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.client import Advisor
from pytest_capacity.keeper.owner import Owner
from pytest_capacity.keeper.spawn import SpawnOptions
from pytest_capacity.model import Placed
from tests.emulated import Emulator
from tests.engine.runs import DB, request

ONE = replace(DB, count=1)


class Sharing:
    """Owners of one session, named after the test's folder."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self._emulator = emulator
        self._folder = folder
        self.name = folder.name[:40]
        self.owners: list[Owner] = []

    def owner(self, *, rebuild: bool = False, advisor: Advisor | None = None, **changes: Any) -> Owner:
        """One more, started. An ``advisor`` is asked for the ladder."""
        number = len(self.owners)
        journal = str(self._folder / "journal.sqlite")
        asked = {"run": f"{self.name}-{number}", "journal": journal, "session": self.name, **changes}
        owner = Owner(
            request(self._emulator, ONE, **asked),
            SpawnOptions(),
            lambda _event: None,
            rebuild=rebuild,
            advisor=advisor,
            advises=("ladder",) if advisor else (),
        )
        self.owners.append(owner)
        owner.start()
        return owner


def placed(owner: Owner) -> Placed:
    """Provision."""
    return owner.call(protocol.Ask(topology="default"), protocol.Ready).placed
