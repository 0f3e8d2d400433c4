"""Which endpoints are on this machine: no proxy lies between here and here, and would get requests in clear text."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_loopback(endpoint: str) -> bool:
    """Return whether ``endpoint`` is on this machine."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
