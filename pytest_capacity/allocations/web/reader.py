"""Reads the cloud again and again while a client looks, so that no answer waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from pytest_capacity.errors import CapacityError
from pytest_capacity.usage import Usage, UseFilter

#: How old what was read may become while it is looked at. Seconds.
PERIOD: Final = 10.0

#: How long an answer may be the newest that there is without another one being asked for. Seconds.
IDLE: Final = 60.0

_log: Final = logging.getLogger("pytest_capacity.serve")


class Cloud(Protocol):
    """A cloud that can be read."""

    @property
    def backend(self) -> str:
        """Return the name of its backend."""
        ...

    @property
    def regions(self) -> Sequence[str]:
        """Return the regions that are read."""
        ...

    def read(self, wanted: UseFilter) -> Usage:
        """Return who uses what of it. Raises `CapacityError`."""
        ...


class Reader:
    """Hands each reading to ``take``: what was read, and which regions were read whole.

    The first reading is made by `read`. Those after it are made by a separate thread, `PERIOD` seconds apart, as long
    as `look` was called within the last `IDLE` seconds: there are no paid calls for a page that is not open.
    """

    def __init__(self, cloud: Cloud, take: Callable[[Usage, Sequence[str]], None]) -> None:
        self._cloud = cloud
        self._take = take
        self._looked = threading.Event()
        self._last_look = 0.0
        #: What the last reading did not see, in words.
        self.faults: tuple[str, ...] = ()

    def read(self) -> None:
        """Read now. What cannot be read is in `faults`."""
        wanted = UseFilter()
        try:
            usage = self._cloud.read(wanted)
            self._take(usage, usage.whole(self._cloud.regions, wanted))
            self.faults = tuple(f"{part.kind} in {part.region or 'every region'}: {part.why}" for part in usage.unread)
        except CapacityError as error:
            self.faults = (str(error),)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: what is shown says that it is old.
            _log.exception("the cloud was not read")
            self.faults = (repr(error),)

    def look(self) -> None:
        """Record that a client has requested the view, so that the cloud is read again."""
        self._last_look = time.monotonic()
        self._looked.set()

    def start(self) -> None:
        """Read on, on a thread that ends with the process."""
        threading.Thread(target=self._read_on, name="capacity-cloud", daemon=True).start()

    def _read_on(self) -> None:
        while True:
            time.sleep(PERIOD)
            if time.monotonic() - self._last_look > IDLE:
                self._looked.clear()
                self._looked.wait()
            self.read()
