"""The runtime of an xdist worker: it uses what the controller's keeper holds, and owns nothing."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import pytest

from pytest_capacity.errors import KeeperError
from pytest_capacity.keeper.client import Borrower
from pytest_capacity.keeper.owner import Owner
from pytest_capacity.keeper.protocol import Answer, Call
from pytest_capacity.model import Request
from pytest_capacity.plugin.markers import wanted
from pytest_capacity.plugin.run_options import OnExhausted
from pytest_capacity.plugin.runtime import Runtime

A = TypeVar("A", bound=Answer)

#: What the controller hands to a worker, as texts: ``path`` of the socket, the ``owner``'s name, ``request`` as JSON,
#: ``collect_dir``, ``on_exhausted``, and ``width``, a number or None.
HandedOver = Mapping[str, Any]


def hand_over(owner: Owner, collect_dir: Path, on_exhausted: OnExhausted, width: int | None) -> dict[str, Any]:
    """Return what `Worker` is made of, for ``workerinput``."""
    return {
        "path": owner.path,
        "owner": owner.name,
        "request": msgspec.json.encode(owner.request).decode(),
        "collect_dir": os.fspath(collect_dir),
        "on_exhausted": on_exhausted,
        "width": width,
    }


class Worker(Runtime):
    """Connects in sessionstart, since a test may forbid sockets later; says goodbye at the end and releases nothing."""

    def __init__(self, config: pytest.Config, handed: HandedOver) -> None:
        request = msgspec.json.decode(handed["request"], type=Request)
        super().__init__(config, request, Path(handed["collect_dir"]), handed["on_exhausted"])
        # xdist gives each worker a terminal of its own, which is nowhere to be seen.
        self.width = handed["width"]
        self._path: Final[str] = handed["path"]
        # Another process that uses the same session has a worker called gw0 as well.
        self._name: Final = f"{handed['owner']}/{getattr(config, 'workerinput', {}).get('workerid', 'worker')}"
        self._borrower: Borrower | None = None
        self._lost: KeeperError | None = None

    def call(self, message: Call, answer: type[A]) -> A:
        """Ask over this worker's own connection."""
        if self._borrower is None:
            raise self._lost or KeeperError("this worker is not connected to the keeper")
        return self._borrower.call(message, answer)

    @property
    def deaths(self) -> int:
        """How many keepers of this run are gone."""
        return self._borrower.deaths if self._borrower else 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Connect."""
        try:
            self._borrower = Borrower(self._path, self._name, self.on_event)
        except KeeperError as error:
            # Tests that need no capacity can still run; the others say this.
            self._lost = error

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Refuse a misused marker. A usage error here would end the worker, and the controller with a traceback."""
        with self.explained():
            wanted(item)
        return (yield from super().pytest_runtest_setup(item))

    def pytest_unconfigure(self) -> None:
        """Say goodbye."""
        if self._borrower is not None:
            self._borrower.close()
            self._borrower = None
