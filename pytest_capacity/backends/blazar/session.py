"""Calls to Keystone's services in one region, by keystoneauth1: one attempt each, no waiting, errors as they came."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

from keystoneauth1 import loading
from keystoneauth1.session import Session as KeystoneSession

from pytest_capacity.backends.blazar.clouds import Cloud, read_cloud
from pytest_capacity.backends.blazar.settings import BlazarSettings
from pytest_capacity.model import Request

COMPUTE: Final = "compute"
RESERVATION: Final = "reservation"

#: Seconds for an answer. Blazar's DELETE of an active lease waits for its servers to be gone, up to ten minutes.
TIMEOUT: Final = 60.0
LONG: Final = 660.0

#: Networks by themselves (2.37), and a server's flavor by its id (to 2.46), which may be a reservation's.
_MICROVERSION: Final = "2.37"


class ApiError(Exception):
    """A service refused ``operation``: the HTTP status, and the decoded body (or its text)."""

    def __init__(self, operation: str, status: int, body: object) -> None:
        super().__init__(f"{operation}: HTTP {status}: {body}")
        self.operation = operation
        self.status = status
        self.body = body


class Region:
    """One region of one cloud. Safe to use from many threads; opening it makes no call."""

    def __init__(self, name: str, request: Request, settings: BlazarSettings) -> None:
        self.name = name
        self._request = request
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: tuple[Cloud, KeystoneSession] | None = None

    @property
    def project(self) -> str:
        """Return the id of the project that the credentials are for; the first call fetches a token."""
        return str(self._open()[1].get_project_id() or "")

    @property
    def who(self) -> str:
        """Return the user's id."""
        return str(self._open()[1].get_user_id() or "")

    def call(
        self,
        service: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        timeout: float = TIMEOUT,
    ) -> dict[str, Any]:
        """Return the decoded answer of one call. Raises `ApiError`, and what keystoneauth1 raises."""
        cloud, session = self._open()
        headers = {"Accept": "application/json"}
        if service == COMPUTE:
            headers["OpenStack-API-Version"] = f"compute {_MICROVERSION}"
        answer = session.request(
            path,
            method,
            json=body,
            params=query,
            headers=headers,
            endpoint_filter={
                "service_type": service,
                "interface": self._settings.interface,
                "region_name": cloud.region,
                # Blazar's catalog may name v1 or none, and openstacksdk would choose v2, which is deprecated.
                **({"version": "1"} if service == RESERVATION else {}),
            },
            raise_exc=False,
            connect_retries=0,
            status_code_retries=0,
            timeout=timeout,
            redirect=False,
        )
        return _decoded(f"{method} {_shape(path)}", answer)

    def _open(self) -> tuple[Cloud, KeystoneSession]:
        with self._lock:
            if self._opened is None:
                cloud = read_cloud(self.name, self._request, self._settings)
                plugin = loading.get_plugin_loader(cloud.auth_type).load_from_options(**cloud.auth)
                session = KeystoneSession(auth=plugin, verify=cloud.verify, cert=cloud.cert, app_name="pytest-capacity")
                self._opened = cloud, session
            return self._opened


def _shape(path: str) -> str:
    """Return the path without ids, as messages name an operation."""
    parts = path.strip("/").split("/")
    return "/" + "/".join("{id}" if len(part) >= 32 else part for part in parts)


def _decoded(operation: str, answer: Any) -> dict[str, Any]:
    try:
        body: object = answer.json() if answer.content else {}
    except ValueError:
        body = answer.text[:2000]
    if answer.status_code >= 300 or not isinstance(body, dict):
        raise ApiError(operation, answer.status_code, body)
    return body
