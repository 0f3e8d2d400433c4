"""An endpoint on this machine at which nothing listens: a minute of asking again would change nothing there."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from pytest_capacity.engine.clock import Clock
from pytest_capacity.model import Diagnosis

#: How long it may be that what should listen there is only starting. Seconds.
GRACE: Final = 3.0


class LocalEndpoint:
    """A check of the port itself, since each SDK has different errors for a refused connection."""

    def __init__(self, url: str | None, clock: Clock) -> None:
        self._url = url or ""
        self._clock = clock
        self._since: float | None = None

    def give_up(self, answer: Diagnosis) -> Diagnosis | None:
        """Return what to say instead of asking again after ``answer``; None while it may still help."""
        if not _refuses(self._url):
            self._since = None
            return None
        now = self._clock.now()
        self._since = now if self._since is None else self._since
        if now - self._since < GRACE:
            return None
        return replace(
            answer,
            step="stop",
            words=f"nothing listens at {self._url}",
            remedy="Start what should listen there, or correct the endpoint: --capacity-endpoint, `endpoint:`, or the "
            "variable of the cloud's SDK",
        )


def is_near(host: str) -> bool:
    """Return whether ``host`` is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuses(url: str) -> bool:
    """Return whether ``url`` is of this machine, and nothing listens at its port."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if not is_near(host):
            return False
        socket.create_connection((host, port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):
        return False
    return False
