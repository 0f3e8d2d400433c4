"""A machine without network: a minute of asking again does not make a name resolve."""

from __future__ import annotations

import re
import socket
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from pytest_capacity.engine.clock import Clock
from pytest_capacity.model import Diagnosis

#: How long it may be that the network is only coming up: three tries or more. Seconds.
GRACE: Final = 8.0

#: The host that an SDK's error names: botocore, keystoneauth | requests | urllib3 alone, as Azure's SDK passes it on.
_HOST: Final = re.compile(r"(?:https?://|\bhost='|\bresolve ')([\w.-]+)")


class NoNetwork:
    """A check of the name itself, since each SDK has different errors for one that does not resolve.

    Only for a cloud that has not answered yet: one that has is there, and what fails later may pass.
    """

    def __init__(self, url: str | None, clock: Clock) -> None:
        """Take ``url``, the endpoint, where one is named: else the answer says which host was asked."""
        self._host = urlsplit(url or "").hostname or ""
        self._clock = clock
        self._since: float | None = None

    def give_up(self, answer: Diagnosis) -> Diagnosis | None:
        """Return what to say instead of asking again after ``answer``; None while it may still help."""
        named = _HOST.search(answer.words)
        host = self._host if named is None else named[1]
        if not host or _resolves(host):
            self._since = None
            return None
        now = self._clock.now()
        self._since = now if self._since is None else self._since
        if now - self._since < GRACE:
            return None
        return replace(
            answer,
            step="stop",
            words=f"could not resolve {host}: there is no network, or no such host",
            remedy="Look at the network and its name server (a VPN, a proxy in HTTPS_PROXY), and at "
            "--capacity-endpoint where one is named",
        )


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror:
        return False
    except (OSError, ValueError):
        return True
    return True
