"""A proxy that does not answer: a minute of asking again through it would change nothing there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from msgspec.structs import replace

from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.local_endpoint import LocalEndpoint, is_near
from pytest_capacity.engine.no_network import NoNetwork
from pytest_capacity.model import Diagnosis

#: How long it may be that the proxy is only starting. Seconds.
GRACE: Final = 3.0

#: How long the proxy may take to accept a connection. Seconds.
_PATIENCE: Final = 2.0

_DEFAULT_PORT: Final = {"http": 80, "https": 443}


def hopeless(url: str | None, clock: Clock) -> Callable[[Diagnosis], Diagnosis | None]:
    """Return a function that states, of an answer that permits a retry, why it is of no use; for `offers.patiently`."""
    proxy = DeadProxy(url, clock)
    looks = [LocalEndpoint(url, clock).give_up, proxy.give_up]
    if not proxy.used:  # Else it is the proxy that resolves the cloud's names.
        looks.append(NoNetwork(url, clock).give_up)
    return lambda answer: next(filter(None, (look(answer) for look in looks)), None)


class DeadProxy:
    """A check of the proxy itself, since each SDK has different errors for one that it cannot reach."""

    def __init__(self, url: str | None, clock: Clock) -> None:
        """Take ``url``, the endpoint, where one is named; the clouds' own endpoints are reached by HTTPS."""
        parts = urlsplit(url or "https://")
        self._proxy = ""
        # What is on this machine is spoken to directly, whatever the variables say.
        if not (parts.hostname and (is_near(parts.hostname) or proxy_bypass(parts.hostname))):
            self._proxy = getproxies().get(parts.scheme, "")
        self._clock = clock
        self._since: float | None = None

    @property
    def used(self) -> bool:
        """Return whether calls go through one."""
        return bool(self._proxy)

    def give_up(self, answer: Diagnosis) -> Diagnosis | None:
        """Return what to say instead of asking again after ``answer``; None while it may still help."""
        if not self._proxy or not _is_dead(self._proxy):
            self._since = None
            return None
        now = self._clock.now()
        self._since = now if self._since is None else self._since
        if now - self._since < GRACE:
            return None
        return replace(
            answer,
            step="stop",
            words=f"the proxy {_shown(self._proxy)} does not answer",
            remedy="Correct the proxy (HTTPS_PROXY, HTTP_PROXY), or name the cloud's hosts in NO_PROXY",
        )


def _address(proxy: str) -> tuple[str, int]:
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or _DEFAULT_PORT.get(parts.scheme, 80)


def _is_dead(proxy: str) -> bool:
    try:
        socket.create_connection(_address(proxy), timeout=_PATIENCE).close()
    except (OSError, ValueError):
        return True
    return False


def _shown(proxy: str) -> str:
    """Return the proxy's host and port, without what may be a password."""
    host, port = _address(proxy)
    return f"{host}:{port}"
