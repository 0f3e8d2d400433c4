"""An endpoint of this machine, or a proxy, that does not answer: a minute of asking again would change nothing there.

What is checked is the port itself, since each SDK has different errors for one that it cannot reach.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from msgspec.structs import replace

from pytest_capacity.config.near import is_loopback
from pytest_capacity.engine.clock import Clock
from pytest_capacity.model import Diagnosis

#: How long it may be that what should answer is only starting. Seconds.
GRACE: Final = 3.0

#: How long a proxy, and an endpoint of this machine, may take to accept a connection. Seconds.
_PROXY_S: Final = 2.0
_ENDPOINT_S: Final = 1.0

_DEFAULT_PORT: Final = {"http": 80, "https": 443}


def hopeless(url: str | None, clock: Clock) -> Callable[[Diagnosis], Diagnosis | None]:
    """Return a function that states, of an answer that permits a retry, why it is of no use; for `offers.patiently`."""
    looks = (local_endpoint(url, clock), proxy(url, clock))
    return lambda answer: next(filter(None, (look(answer) for look in looks)), None)


class GiveUp:
    """Called with an answer, returns what to say instead of asking again after it; None while that may still help."""

    def __init__(self, clock: Clock, fault: Callable[[], str], remedy: str) -> None:
        """``fault`` returns, in words, what does not answer now; "" where it does."""
        self._clock = clock
        self._fault = fault
        self._remedy = remedy
        self._since: float | None = None

    def __call__(self, answer: Diagnosis) -> Diagnosis | None:
        words = self._fault()
        if not words:
            self._since = None
            return None
        now = self._clock.now()
        self._since = now if self._since is None else self._since
        if now - self._since < GRACE:
            return None
        return replace(answer, step="stop", words=words, remedy=self._remedy)


def local_endpoint(url: str | None, clock: Clock) -> GiveUp:
    """Return the check of an endpoint on this machine; of any other it never says to give up."""
    return GiveUp(
        clock,
        lambda: f"nothing listens at {url}" if _refuses(url or "") else "",
        "Start what should listen there, or correct the endpoint: --capacity-endpoint, `endpoint:`, or the "
        "variable of the cloud's SDK",
    )


def proxy(url: str | None, clock: Clock) -> GiveUp:
    """Return the check of the proxy before ``url``, the endpoint; the clouds' own endpoints are reached by HTTPS."""
    parts = urlsplit(url or "https://")
    used = ""
    # What is on this machine is spoken to directly, whatever the variables say.
    if not (parts.hostname and (is_loopback(parts.geturl()) or proxy_bypass(parts.hostname))):
        used = getproxies().get(parts.scheme, "")
    return GiveUp(
        clock,
        lambda: f"the proxy {_shown(used)} does not answer" if used and _is_dead(used) else "",
        "Correct the proxy (HTTPS_PROXY, HTTP_PROXY), or name the cloud's hosts in NO_PROXY",
    )


def _refuses(url: str) -> bool:
    """Return whether ``url`` is of this machine, and nothing listens at its port."""
    try:
        if is_loopback(url):
            parts = urlsplit(url)
            port = parts.port or _DEFAULT_PORT.get(parts.scheme, 80)
            socket.create_connection((parts.hostname or "", port), timeout=_ENDPOINT_S).close()
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):
        return False
    return False


def _address(used: str) -> tuple[str, int]:
    parts = urlsplit(used if "://" in used else f"http://{used}")
    return parts.hostname or "", parts.port or _DEFAULT_PORT.get(parts.scheme, 80)


def _is_dead(used: str) -> bool:
    try:
        socket.create_connection(_address(used), timeout=_PROXY_S).close()
    except (OSError, ValueError):
        return True
    return False


def _shown(used: str) -> str:
    """Return the proxy's host and port, without what may be a password."""
    host, port = _address(used)
    return f"{host}:{port}"
