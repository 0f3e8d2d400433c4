"""The SDK: its base client, one a service and region. Every call of the backend goes through `Cloud.call`.

`oci.base_client.BaseClient` signs, sends and reads errors. The generated clients above it would add to a start of the
keeper half a second and 50 MB for classes of every service of the network, and they bring what must be off here:
retries (they take Oracle's "Out of host capacity", HTTP 500, for a passing fault, eight times) and circuit breakers.
What is sent and read is JSON, in Oracle's own names.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import oci
from msgspec import Struct, field
from oci.base_client import BaseClient
from oci.exceptions import ServiceError
from requests.adapters import HTTPAdapter

from pytest_capacity.backends.diagnosis import table_of
from pytest_capacity.backends.oci import credentials
from pytest_capacity.backends.oci.settings import makes_clusters, section_of
from pytest_capacity.config.near import is_loopback
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Identity, Request

#: What a list call gives at once at most; the services take up to 1000 here.
PAGE: Final = 1000
#: Seconds to connect, and between two bytes of an answer.
TIMEOUT: Final = (10, 60)
#: Calls at once: a round is tens of nodes, each a call.
WIDTH: Final = 32

COMPUTE: Final = "iaas"
IDENTITY: Final = "identity"
PLACEMENT: Final = "cluster_placement_groups"

#: Base path and endpoint of each service, as the SDK's generated clients have them.
_SERVICES: Final[Mapping[str, tuple[str, str]]] = {
    COMPUTE: ("/20160918", "https://iaas.{region}.{dualStack?ds.oci.:}{secondLevelDomain}"),
    IDENTITY: ("/20160918", "https://identity.{region}.oci.{secondLevelDomain}"),
    PLACEMENT: ("/20230801", "https://clusterPlacementGroups.{region}.oci.{secondLevelDomain}"),
}
_UNAUTHENTICATED: Final = 401
_THIS_MACHINE: Final = ("127.0.0.1", "localhost")


class WrongTenancyError(Exception):
    """New credentials belong to another tenancy than the run's."""


class Answer(Struct, frozen=True):
    """What a call gave: the decoded JSON (in Oracle's own names, hence ``Any``), and headers by lower-case name."""

    data: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """Return the version of the thing, for ``if-match``."""
        return self.headers.get("etag", "")

    @property
    def work_request(self) -> str:
        """Return the OCID of the work request that continues the call; empty where the call did everything."""
        return self.headers.get("opc-work-request-id", "")


class Cloud:
    """The SDK for one `Request`: one signer, one client per service and region; safe to use from many threads.

    A security token is a file that `oci session refresh` writes anew. So when a call is refused as not authenticated
    the credentials are read again, and if they are others, that one call is made once more with the same parameters and
    retry token: it was refused before anything was done, so it is still the one mutating call of its piece.
    """

    def __init__(self, request: Request) -> None:
        if request.emulated and not request.endpoint:
            raise ConfigError(["an emulated run has no endpoint: start the emulator and pass --capacity-endpoint URL"])
        self._request = request
        self.settings: Final = section_of(request)
        #: Whether the run may make cluster placement groups.
        self.makes_clusters: Final = makes_clusters(request)
        #: What OCI's errors mean to this user.
        self.errors: Final = table_of("oci", request.errors)
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], BaseClient] = {}
        self._generation = 0
        self._credentials: credentials.Credentials | None = None
        auth = credentials.auth_of(self.settings, credentials.environment())
        if request.emulated or auth not in credentials.PRINCIPALS:
            # A file that cannot be read is reported before anything else is done.
            self._credentials = self._load()

    @property
    def tenancy(self) -> str:
        """Return the OCID of the tenancy, which is its root compartment, too."""
        return self._known().tenancy

    @property
    def compartment(self) -> str:
        """Return the compartment in which the run makes its things."""
        return self.settings.compartment or self.tenancy

    def call(
        self,
        service: str,
        region: str,
        operation: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        text: bool = False,
    ) -> Answer:
        """Return the answer of one API call; ``operation`` is its name in the API reference.

        Raises the SDK's ``ServiceError`` for a refusal, its ``RequestException`` where there was no answer.
        """
        generation = self._generation
        sent = (operation, method, path, query, body, headers, text)
        try:
            return self._send(self._client(service, region), *sent)
        except ServiceError as error:
            if error.status != _UNAUTHENTICATED or not self._reload(generation):
                raise
            return self._send(self._client(service, region), *sent)

    def get(self, service: str, region: str, operation: str, path: str, **query: Any) -> Answer:
        """Return the answer of `call` for a read."""
        return self.call(service, region, operation, "GET", path, query=query)

    def get_text(self, service: str, region: str, operation: str, path: str, **query: Any) -> str:
        """Return the answer of a read that is no JSON."""
        content = self.call(service, region, operation, "GET", path, query=query, text=True).data
        return content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content or "")

    def pages(self, service: str, region: str, operation: str, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield every item of a list, page after page (``opc-next-page``)."""
        following: dict[str, Any] = {}
        while True:
            answer = self.get(service, region, operation, path, **{"limit": PAGE, **query, **following})
            yield from answer.data.get("items", ()) if isinstance(answer.data, dict) else answer.data or ()
            page = answer.headers.get("opc-next-page")
            if not page:
                return
            following = {"page": page}

    def whoami(self) -> Identity:
        """Return tenancy, user and compartment, by one call, which shows that the credentials are good."""
        region = self._request.regions[0]
        self.get(IDENTITY, region, "ListAvailabilityDomains", "/availabilityDomains", compartmentId=self.tenancy)
        known = self._known()
        return Identity(
            account=known.tenancy,
            who=known.user,
            profile="" if self._request.emulated else known.profile,
            expires=known.expires,
            place=self.compartment,
        )

    def _send(
        self,
        client: BaseClient,
        operation: str,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        text: bool,
    ) -> Answer:
        sent = {"accept": "application/json", "content-type": "application/json", **(headers or {})}
        answer = client.call_api(
            resource_path=path,
            method=method,
            query_params={key: value for key, value in (query or {}).items() if value not in (None, "")},
            header_params=sent,
            body=body,
            response_type="bytes" if text else None if method == "DELETE" else "object",
            operation_name=operation,
        )
        read = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.data, read)

    def _client(self, service: str, region: str) -> BaseClient:
        with self._lock:
            client = self._clients.get((service, region))
            if client is None:
                client = self._clients[service, region] = self._new_client(service, region)
            return client

    def _new_client(self, service: str, region: str) -> BaseClient:
        base_path, template = _SERVICES[service]
        known = self._credentials or self._load()
        self._credentials = known
        client = BaseClient(
            service,
            {**oci.config.DEFAULT_CONFIG, **known.config, "region": region},
            known.signer,
            {},
            regional_client=True,
            service_endpoint=self._endpoint(region),
            base_path=base_path,
            service_endpoint_template=template,
            service_endpoint_template_per_realm={},
            endpoint_service_name=service,
            skip_deserialization=True,
            timeout=TIMEOUT,
        )
        secure = type(client.session.get_adapter("https://"))
        client.session.mount("https://", secure(pool_maxsize=WIDTH))
        client.session.mount("http://", HTTPAdapter(pool_maxsize=WIDTH))
        if self._request.emulated or is_loopback(self._request.endpoint or ""):
            # No proxy of the environment stands between us and what is on this machine.
            client.session.trust_env = False
        return client

    def _endpoint(self, region: str) -> str | None:
        """Return the endpoint: Oracle's regions differ by host; an emulator has one host and a path for each region."""
        given = self._request.endpoint
        if not given:
            return None
        parts = urlsplit(given)
        if parts.hostname in _THIS_MACHINE and not parts.path.strip("/"):
            return f"{given.rstrip('/')}/oci/{region}"
        return given

    def _load(self) -> credentials.Credentials:
        return credentials.load(self.settings, self._request.emulated, credentials.environment())

    def _known(self) -> credentials.Credentials:
        with self._lock:
            if self._credentials is None:
                self._credentials = self._load()
            return self._credentials

    def _reload(self, generation: int) -> bool:
        """Read the credentials again; return whether they differ from those of the call that was refused.

        Those of another tenancy are refused: there, nothing of this run would be found, and be taken for gone.
        """
        before = self._known()
        if before.expires is None:
            return False
        with self._lock:
            if generation != self._generation:
                return True
            now = self._load()
            if now.tenancy != before.tenancy:
                raise WrongTenancyError(
                    f"the credentials belong to tenancy {now.tenancy} now, and this run began in {before.tenancy}: put "
                    "those of that tenancy there"
                )
            if now.expires == before.expires:
                return False
            self._credentials = now
            self._clients = {}
            self._generation += 1
            return True
