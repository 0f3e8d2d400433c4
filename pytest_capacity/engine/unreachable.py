"""An endpoint of this machine, or a proxy, that does not answer, or a host without an address: no reason to wait.

A minute of asking again would change nothing there. What is checked is the port or the name itself, since each SDK has
different errors for what it cannot reach.
"""

from __future__ import annotations

import re
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
#: How long it may be that the network is only coming up: three tries or more. Seconds.
NETWORK_GRACE: Final = 8.0

#: How long a proxy, and an endpoint of this machine, may take to accept a connection. Seconds.
_PROXY_S: Final = 2.0
_ENDPOINT_S: Final = 1.0

_DEFAULT_PORT: Final = {"http": 80, "https": 443}

#: The host that an error names: as a URL | of `requests` | of urllib3 alone, whose words some SDKs pass on.
_HOST: Final = re.compile(r"(?:https?://|\bhost='|\bresolve ')([\w.-]+)")


def hopeless(url: str | None, clock: Clock) -> Callable[[Diagnosis], Diagnosis | None]:
    """Return a function that states, of an answer that permits a retry, why it is of no use; for `offers.patiently`."""
    looks = (local_endpoint(url, clock), proxy(url, clock), name(url, clock))
    return lambda answer: next(filter(None, (look(answer) for look in looks)), None)


class GiveUp:
    """Called with an answer, returns what to say instead of asking again after it; None while that may still help."""

    def __init__(self, clock: Clock, fault: Callable[[Diagnosis], str], remedy: str, grace: float = GRACE) -> None:
        """``fault`` returns, in words, what does not answer now; "" where it does. ``grace`` are seconds."""
        self._clock = clock
        self._fault = fault
        self._remedy = remedy
        self._grace = grace
        self._since: float | None = None

    def __call__(self, answer: Diagnosis) -> Diagnosis | None:
        words = self._fault(answer)
        if not words:
            self._since = None
            return None
        now = self._clock.now()
        self._since = now if self._since is None else self._since
        if now - self._since < self._grace:
            return None
        return replace(answer, step="stop", words=words, remedy=self._remedy)


def local_endpoint(url: str | None, clock: Clock) -> GiveUp:
    """Return the check of an endpoint on this machine; of any other it never says to give up."""
    return GiveUp(
        clock,
        lambda _: f"nothing listens at {url}" if _refuses(url or "") else "",
        "Start what should listen there, or correct the endpoint: --capacity-endpoint, `endpoint:`, or the "
        "variable of the cloud's SDK",
    )


def proxy(url: str | None, clock: Clock) -> GiveUp:
    """Return the check of the proxy before ``url``, the endpoint; the clouds' own endpoints are reached by HTTPS."""
    used = _proxy_before(url)
    return GiveUp(
        clock,
        lambda _: f"the proxy {_shown(used)} does not answer" if used and _is_dead(used) else "",
        "Correct the proxy (HTTPS_PROXY, HTTP_PROXY), or name the cloud's hosts in NO_PROXY",
    )


def name(url: str | None, clock: Clock) -> GiveUp:
    """Return the check of the host that was asked: does its name resolve?

    Only for a cloud that has not answered yet: one that has is there, and what fails later may pass. A proxy resolves
    the names itself.
    """
    direct, named = not _proxy_before(url), urlsplit(url or "").hostname or ""

    def fault(answer: Diagnosis) -> str:
        found = _HOST.search(answer.words)
        host = found[1] if found else named
        unknown = direct and host and not _resolves(host)
        return f"could not resolve {host}: there is no network, or no such host" if unknown else ""

    return GiveUp(
        clock,
        fault,
        "Look at the network and its name server (a VPN, a proxy in HTTPS_PROXY), and at --capacity-endpoint where one "
        "is named",
        NETWORK_GRACE,
    )


def _proxy_before(url: str | None) -> str:
    parts = urlsplit(url or "https://")
    # What is on this machine is spoken to directly, whatever the variables say.
    if parts.hostname and (is_loopback(parts.geturl()) or proxy_bypass(parts.hostname)):
        return ""
    return getproxies().get(parts.scheme, "")


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror:
        return False
    except (OSError, ValueError):
        return True
    return True


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
