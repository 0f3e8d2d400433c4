"""The Compute Engine API over HTTP, with google-auth's credentials, for one `Request`.

Plain REST and not the client library google-cloud-compute: that costs 2.6 s of CPU and 160 MB to import where this
costs 0.25 s and 40 MB, its own retries and waits would have to be switched off call by call, and its operations poll
https://compute.googleapis.com whatever endpoint the client was given (seen in 1.30 to 1.57). The transport is the one
that the library uses itself: requests, with its proxies and CA bundles.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import google.auth
import requests
from google.auth import impersonated_credentials
from google.auth.transport.requests import Request as AuthRequest
from google.oauth2.credentials import Credentials as TokenCredentials
from requests.adapters import HTTPAdapter

from pytest_capacity.backends.emulator_secret import emulator_secret
from pytest_capacity.backends.gce.routes import ROUTES
from pytest_capacity.backends.gce.settings import GceSettings
from pytest_capacity.config.near import is_loopback
from pytest_capacity.model import Request

#: Where the API is unless the file, the flag or the credentials' universe say otherwise.
HOST: Final = "https://compute.{universe}"
SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)

#: Seconds for a connection to stand, and for an answer to begin. No call of this API waits for its operation.
TIMEOUT: Final = (10.0, 60.0)

#: Connections that are kept; as many calls as the engine makes side by side.
CONNECTIONS: Final = 64

#: Seconds for the answer to when a token ends, which nothing depends on.
TOKEN_TIMEOUT: Final = (5.0, 10.0)
#: Says when a token ends (Google's OAuth 2.0 documentation, "Using OAuth 2.0 to access Google APIs").
TOKEN_INFO: Final = "https://oauth2.googleapis.com/tokeninfo"

#: Things in one page of a list (API reference: at most 500).
PAGE: Final = 500

#: The project of an emulated run, whatever the file says: no emulator knows the user's.
EMULATED_PROJECT: Final = "emulated-project"


#: A ready-made access token: the variable of gcloud.
TOKEN_VARIABLE: Final = "CLOUDSDK_AUTH_ACCESS_TOKEN"


class ApiError(Exception):
    """The API refused ``method``: the HTTP status, and the decoded body (or its text)."""

    def __init__(self, method: str, status: int, body: object) -> None:
        words = body.get("error", body) if isinstance(body, Mapping) else body
        said = words.get("message", words) if isinstance(words, Mapping) else words
        super().__init__(f"{method}: HTTP {status}: {said}")
        self.method = method
        self.status = status
        self.body = body


class NoProject(Exception):
    """Neither the file, nor the environment, nor the credentials name a project."""

    def __init__(self) -> None:
        super().__init__(
            "no project is named: set gce.project or GOOGLE_CLOUD_PROJECT, or use credentials that belong to one"
        )


class Session:
    """Makes calls from many threads. Opening one makes no call; credentials are looked up at the first."""

    def __init__(self, request: Request, settings: GceSettings) -> None:
        self._request = request
        self._settings = settings
        self._lock = threading.Lock()
        self._http = requests.Session()
        self._http.headers["User-Agent"] = "pytest-capacity"
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=CONNECTIONS, max_retries=0)
        for scheme in ("https://", "http://"):
            self._http.mount(scheme, adapter)
        if request.endpoint and is_loopback(request.endpoint):
            # No proxy, and no ~/.netrc, lies between here and here.
            self._http.trust_env = False
        #: Operations of which the warnings were shown.
        self.warned: set[str] = set()
        self._credentials: Any = None
        self._expires: float | None = None
        self._project = ""

    @property
    def project(self) -> str:
        """Return the project's id. Raises `NoProject`, and what google-auth raises where there are no credentials."""
        self._open()
        return self._project

    @property
    def who(self) -> str:
        """Return the e-mail address of the service account, where the credentials name one."""
        self._open()
        return str(getattr(self._credentials, "service_account_email", "") or "")

    @property
    def expires(self) -> float | None:
        """Return when the credentials end, where nothing renews them; None for others, and where it is not known.

        A ready-made token does not say it, so Google is asked, but by no session with an endpoint of its own.
        """
        self._open()
        if self._request.endpoint or not isinstance(self._credentials, TokenCredentials):
            return None
        if self._expires is None and _is_bare_token(self._credentials):
            self._expires = self._token_end()
        return self._expires

    def _token_end(self) -> float | None:
        query = {"access_token": str(self._credentials.token)}
        try:
            answer = self._http.get(TOKEN_INFO, params=query, timeout=TOKEN_TIMEOUT, allow_redirects=False)
            return float(answer.json()["exp"]) if answer.ok else None
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return None

    def call(
        self,
        method: str,
        path: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the decoded answer of one call of ``method`` (a key of `ROUTES`) at ``path``. One attempt, no waiting.

        Raises `ApiError` for every answer that is no success, and what requests and google-auth raise.
        """
        route = ROUTES[method]
        names = {name: quote(value, safe="") for name, value in {"project": self.project, **(path or {})}.items()}
        url = f"{self._base()}/compute/v1/{route.path.format(**names)}"
        headers: dict[str, str] = {}
        data = None
        if body is not None:
            data = json.dumps(body, separators=(",", ":")).encode()
            headers["Content-Type"] = "application/json"
        for again in (False, True):
            self._authorize(route.verb, url, headers, again)
            answer = self._http.request(
                route.verb, url, params=query, data=data, headers=headers, timeout=TIMEOUT, allow_redirects=False
            )
            # A token may have been revoked, or a clock may be wrong; a static one is not asked for again.
            if answer.status_code != 401 or _is_bare_token(self._credentials):
                break
        return _decoded(method, answer)

    def pages(
        self, method: str, path: Mapping[str, str] | None = None, *, query: Mapping[str, str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the answers of a list, page after page."""
        following: dict[str, str] = {}
        while True:
            answer = self.call(method, path, query={"maxResults": str(PAGE), **(query or {}), **following})
            yield answer
            if not answer.get("nextPageToken"):
                return
            following = {"pageToken": answer["nextPageToken"]}

    def _base(self) -> str:
        if self._request.endpoint:
            return self._request.endpoint.rstrip("/").removesuffix("/compute/v1")
        return HOST.format(universe=getattr(self._credentials, "universe_domain", None) or "googleapis.com")

    def _authorize(self, verb: str, url: str, headers: dict[str, str], again: bool) -> None:
        with self._lock:
            if not self._credentials.valid or again:
                self._credentials.refresh(AuthRequest(self._http))
        self._credentials.apply(headers)

    def _open(self) -> None:
        with self._lock:
            if self._credentials is None:
                self._credentials, self._project = self._find()

    def _find(self) -> tuple[Any, str]:
        """Return credentials and project. An emulator, and an endpoint of this machine, get none of the user's."""
        endpoint = self._request.endpoint
        if self._request.emulated:
            return _emulated(), EMULATED_PROJECT
        given = self._settings.project or ""
        token = os.environ.get(TOKEN_VARIABLE)
        if token or (endpoint and is_loopback(endpoint)):
            credentials: Any = TokenCredentials(token) if token else _NoCredentials()
            found: str | None = None
        else:
            credentials, found = google.auth.default(scopes=SCOPES, quota_project_id=None)
        if self._settings.impersonate:
            credentials = impersonated_credentials.Credentials(
                source_credentials=credentials, target_principal=self._settings.impersonate, target_scopes=list(SCOPES)
            )
        project = given or found
        if not project:
            raise NoProject
        return credentials, project


class _NoCredentials:
    """No credentials, with what is used of google-auth's. Its own anonymous ones raise where a 401 is answered."""

    valid = True

    def refresh(self, request: object) -> None:
        """Do nothing: there is nothing to renew."""

    def apply(self, headers: dict[str, str], token: str | None = None) -> None:
        """Add no header: there are no credentials."""


def _emulated() -> Any:
    secret = emulator_secret()
    return TokenCredentials(secret) if secret else _NoCredentials()


def _is_bare_token(credentials: Any) -> bool:
    """Return whether nothing can renew the credentials."""
    if isinstance(credentials, _NoCredentials):
        return True
    return type(credentials) is TokenCredentials and not credentials.refresh_token


def _decoded(method: str, answer: requests.Response) -> dict[str, Any]:
    try:
        body: object = json.loads(answer.content) if answer.content else {}
    except ValueError:
        body = answer.text[:2000]
    if answer.status_code >= 300 or not isinstance(body, dict):
        raise ApiError(method, answer.status_code, body)
    return body
