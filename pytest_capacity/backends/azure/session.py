"""Azure Resource Manager over HTTP: azure-core's transport, azure-identity's credentials. No call is retried here."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from azure.core import PipelineClient
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RequestIdPolicy, UserAgentPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest, HttpResponse
from msgspec import Struct
from requests.adapters import HTTPAdapter

from pytest_capacity.backends.answers import read_answer
from pytest_capacity.backends.azure.ids import SUBSCRIPTIONS_VERSION
from pytest_capacity.backends.azure.settings import NATIONAL_CLOUDS, section_of, subscription_of
from pytest_capacity.backends.diagnosis import table_of
from pytest_capacity.backends.emulator_secret import emulator_secret
from pytest_capacity.config.near import is_loopback
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import ErrorPart, Identity, Request

#: A round asks for tens of things at once, so the pool of connections is as wide as the engine's executor.
_POOL: Final = 32
_CONNECT_S: Final = 10.0
_READ_S: Final = 60.0


class ArmError(Exception):
    """A call that Resource Manager refused, with everything that is in its answer."""

    def __init__(
        self, operation: str, http: int, parts: tuple[ErrorPart, ...], retry_after: float | None = None
    ) -> None:
        first = next((part for part in parts if part.code or part.message), ErrorPart())
        super().__init__(f"{operation}: HTTP {http} {first.code}: {first.message}")
        self.operation = operation
        self.http = http
        self.parts = parts
        self.retry_after = retry_after

    @property
    def codes(self) -> frozenset[str]:
        """Return every code in the answer."""
        return frozenset(part.code for part in self.parts)


class Answer(Struct, frozen=True):
    """What a call gave: the decoded body (empty where there is none), and its headers about a long operation."""

    status: int
    body: dict[str, Any]
    #: The URL that gives the state of a long operation; "" where the call was done at once.
    operation: str = ""
    #: Seconds until it is worth asking.
    retry_after: float = 0.0


class EmulatedCredential:
    """The emulator's secret as a bearer token. Nothing of the user's credentials ever reaches an emulator."""

    def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        """Return the secret, which ends in an hour."""
        return AccessToken(emulator_secret() or "emulated", int(time.time()) + 3600)


class TenantCredential:
    """A credential that requests tokens of one tenant, whichever the home tenant of its user is."""

    def __init__(self, credential: TokenCredential, tenant: str) -> None:
        self._credential = credential
        self._tenant = tenant

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return a token of the tenant."""
        return self._credential.get_token(*scopes, **{**options, "tenant_id": self._tenant})


class LoopbackBearerPolicy(BearerTokenCredentialPolicy[HttpRequest, HttpResponse]):
    """azure-core's policy, which refuses to send a token without TLS; here it goes to this machine only."""

    def on_request(self, request: Any) -> None:
        """Allow plain HTTP, to a loopback address alone."""
        host = urlsplit(request.http_request.url).hostname or ""
        request.context.options["enforce_https"] = host not in ("127.0.0.1", "localhost", "::1")
        super().on_request(request)


class Throttled:
    """Operations that Azure has throttled, until the time that it named: before that no call is made, but refused here.

    The engine calls again every few seconds; Azure counts calls that it refuses, too
    (https://learn.microsoft.com/azure/virtual-machines/troubleshooting/troubleshooting-throttling-errors).
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until: dict[str, tuple[float, ArmError]] = {}

    def note(self, error: ArmError) -> None:
        """Record a refusal, where it is one of those."""
        if error.http == 429 and error.retry_after:
            self._until[error.operation] = (self._now() + error.retry_after, error)

    def check(self, operation: str) -> None:
        """Raise the last refusal of the operation once more, where it is too early to call again."""
        until, error = self._until.get(operation, (0.0, None))
        left = until - self._now()
        if error is not None and left > 0:
            raise ArmError(operation, error.http, error.parts, left)


class Arm:
    """Resource Manager for one `Request`: one pool of connections, one credential. Safe to use from many threads.

    Credentials renew themselves: azure-identity keeps a token until shortly before its end and gets the next one from
    wherever it had the first. An answer 401 with a claims challenge is answered by azure-core with a new token, once.
    """

    def __init__(self, request: Request) -> None:
        if request.emulated and not request.endpoint:
            raise ConfigError(["an emulated run has no endpoint: start the emulator and pass --capacity-endpoint URL"])
        settings = section_of(request)
        cloud = NATIONAL_CLOUDS[settings.cloud]
        self.subscription: Final = subscription_of(request)
        if not self.subscription:
            raise ConfigError(
                ["azure.subscription is not set: write the subscription's id there, or into AZURE_SUBSCRIPTION_ID"]
            )
        #: What Azure's errors mean to this user.
        self.errors: Final = table_of("azure", request.errors)
        self.emulated: Final = request.emulated
        self.endpoint: Final = (request.endpoint or cloud.endpoint).rstrip("/")
        self._tenant = settings.tenant
        self._session = requests.Session()
        # Proxies and .netrc of the environment are no business of what is on this machine.
        self._session.trust_env = not (request.emulated or is_loopback(self.endpoint))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=_POOL))
        self._credential = _credential(request)
        policy = BearerTokenCredentialPolicy if self.endpoint.startswith("https:") else LoopbackBearerPolicy
        self._client = self._make_client(policy(self._credential, cloud.scope))
        #: Without credentials: what is fetched by a signed URL needs none, and must not be given any.
        self._anonymous = self._make_client()
        self._scope = cloud.scope
        self._throttled = Throttled()

    def _make_client(self, *policies: Any) -> PipelineClient[HttpRequest, HttpResponse]:
        transport = RequestsTransport(
            session=self._session, session_owner=False, connection_timeout=_CONNECT_S, read_timeout=_READ_S
        )
        # No RetryPolicy: the engine retries, for it has the request and its token.
        return PipelineClient(
            self.endpoint,
            transport=transport,
            policies=[RequestIdPolicy(), UserAgentPolicy("pytest-capacity"), *policies],
        )

    def path(self, rest: str) -> str:
        """Return a path in the run's subscription."""
        return f"/subscriptions/{self.subscription}{rest}"

    def call(self, operation: str, method: str, path: str, version: str, body: Any = None, **query: str) -> Answer:
        """Return the answer of one call. ``operation`` is the name of its permission, for messages.

        Raises `ArmError` for a refusal and what azure-core and azure-identity raise.
        """
        request = HttpRequest(method, f"{self.endpoint}{path}", params={"api-version": version, **query}, json=body)
        return self._send(operation, request)

    def get(self, operation: str, path: str, version: str, **query: str) -> dict[str, Any]:
        """Return the body of one GET."""
        return self.call(operation, "GET", path, version, **query).body

    def pages(self, operation: str, path: str, version: str, **query: str) -> Iterator[dict[str, Any]]:
        """Yield every item of a list, page after page."""
        body = self.get(operation, path, version, **query)
        while True:
            yield from body.get("value", ())
            following = body.get("nextLink")
            if not following:
                return
            body = self._send(operation, HttpRequest("GET", self._own(str(following)))).body

    def follow(self, url: str) -> Answer:
        """Return how a long operation stands: one GET of the URL that its call gave."""
        return self._send("Microsoft.Compute/locations/operations/read", HttpRequest("GET", self._own(url)))

    def fetch(self, url: str) -> str:
        """Return the text at a signed URL; no credentials go there."""
        if self.emulated:
            self._own(url)
        response = self._anonymous.send_request(HttpRequest("GET", url))
        if response.status_code != 200:
            return ""
        return response.read().decode(errors="replace")

    def whoami(self) -> Identity:
        """Return the subscription, and its tenant as the place, by one call."""
        answer = self.get("Microsoft.Resources/subscriptions/read", self.path(""), SUBSCRIPTIONS_VERSION)
        tenant = str(answer.get("tenantId", ""))
        if self._tenant and not self.emulated and tenant.lower() != self._tenant.lower():
            words = f"subscription {self.subscription} is of tenant {tenant}, and azure.tenant is {self._tenant}"
            raise ArmError("Microsoft.Resources/subscriptions/read", 401, (ErrorPart("WrongTenant", words),))
        account = str(answer.get("subscriptionId") or self.subscription)
        return Identity(account=account, who=self._who(), place=tenant)

    def _who(self) -> str:
        """Return the owner of the token, by its claims; "" for a token without them."""
        token = self._credential.get_token(self._scope).token
        parts = token.split(".")
        if len(parts) != 3:
            return ""
        try:
            claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        except ValueError:
            return ""
        return str(claims.get("upn") or claims.get("appid") or claims.get("oid") or "")

    def _own(self, url: str) -> str:
        """Return a URL that an answer gave, if it is one of the endpoint: the token goes nowhere else."""
        if urlsplit(url)[:2] != urlsplit(self.endpoint)[:2]:
            raise ServiceResponseError(f"an answer of {self.endpoint} points to {url[:200]}, which is another server")
        return url

    def _send(self, operation: str, request: HttpRequest) -> Answer:
        self._throttled.check(operation)
        response = self._client.send_request(request)
        text = response.text()
        retry_after = _seconds(response.headers.get("Retry-After", ""))
        try:
            body = json.loads(text) if text else {}
        except ValueError:
            body = None
        if response.status_code >= 400:
            parts = read_answer(text if body is None else body, response.status_code)
            parts = parts or (ErrorPart(http=response.status_code),)
            error = ArmError(operation, response.status_code, parts, retry_after)
            self._throttled.note(error)
            raise error
        if not isinstance(body, dict):
            # Something between us and Azure has answered; what became of the call is not known.
            raise ServiceResponseError(
                f"{operation}: HTTP {response.status_code} with something that is no JSON object"
            )
        headers = response.headers
        url = headers.get("Azure-AsyncOperation") or headers.get("Location") or ""
        return Answer(response.status_code, body, url, retry_after or 0.0)


def _seconds(text: str) -> float | None:
    """Return the seconds of a Retry-After; Azure writes no dates there."""
    return float(text) if text.isdecimal() else None


def _credential(request: Request) -> TokenCredential:
    if request.emulated:
        return EmulatedCredential()
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    settings = section_of(request)
    # It goes first, as everywhere in the SDK.
    authority = os.environ.get("AZURE_AUTHORITY_HOST")
    if not authority and request.endpoint and not _is_azures(request.endpoint):
        # The credentials that are left log in at Azure itself, or have (the command line) done so.
        if {"IDENTITY_ENDPOINT", "MSI_ENDPOINT"} & os.environ.keys():
            return ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID"))
        raise ConfigError(
            [
                f"the endpoint {request.endpoint} is not Azure's, and nothing names the login that goes with it: set "
                f"AZURE_AUTHORITY_HOST ({NATIONAL_CLOUDS[settings.cloud].authority} is that of Azure itself), or "
                f"IDENTITY_ENDPOINT"
            ]
        )
    found = DefaultAzureCredential(
        authority=authority or NATIONAL_CLOUDS[settings.cloud].authority,
        # No browser is opened by a test run.
        exclude_interactive_browser_credential=True,
        additionally_allowed_tenants=[settings.tenant] if settings.tenant else [],
    )
    return TenantCredential(found, settings.tenant) if settings.tenant else found


def _is_azures(endpoint: str) -> bool:
    """Return whether it is Resource Manager of one of Azure's clouds, or of a region of it."""
    host = urlsplit(endpoint).hostname or ""
    known = [urlsplit(cloud.endpoint).hostname or "" for cloud in NATIONAL_CLOUDS.values()]
    return any(host == one or host.endswith(f".{one}") for one in known)
