"""The face: a Kubernetes API server at the port's root, as its clients expect it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pytest_capacity.emulator.catalogue import MachineType, TableCatalogue
from pytest_capacity.emulator.face import Answer, Asked
from pytest_capacity.emulator.http import HttpRequest, HttpResponse
from pytest_capacity.emulator.kubernetes.api import Cluster, Response, Watch
from pytest_capacity.emulator.kubernetes.errors import StatusError, unauthorized
from pytest_capacity.emulator.kubernetes.script import Script, read_script
from pytest_capacity.emulator.refusal import Refusal, Throttled
from pytest_capacity.emulator.secret import Secret
from pytest_capacity.emulator.world import World

CLOUD: Final = "kubernetes"

#: Where an API server's paths begin.
_ROOTS: Final = ("/api", "/apis", "/version", "/healthz", "/readyz", "/livez", "/openapi")

#: How long a watch is kept open whose client sets no time; clients begin it anew. Seconds.
WATCH_S: Final = 1800.0
_LOOK_S: Final = 0.05

#: What a scripted error is called, by its status.
_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Catalogue(TableCatalogue):
    """One region, ``cluster``, with no zones that the emulator can list; no machine types."""

    def __init__(self, operations: list[str]) -> None:
        super().__init__({"cluster": ("cluster",)}, dict[str, MachineType](), operations)

    def check_own(self, values: Mapping[str, Any]) -> None:
        """Check the weather's part ``own: {kubernetes: ...}``. Raise `ValueError` with the reason."""
        read_script(values)


class Kubernetes:
    """The face."""

    name: Final = CLOUD

    def __init__(self, world: World, secret: Secret, sleep: Callable[[float], None] = time.sleep) -> None:
        self._world = world
        self._secret = secret
        self._sleep = sleep
        self.cluster = Cluster(self._now)
        self.catalogue = Catalogue(self.cluster.operations())
        #: The part of the weather that the cluster's script was made of.
        self._part: object = None
        world.on_reset.append(self._reset)
        world.also_held.append(self._held)

    def _now(self) -> float:
        # A reset gives the World another clock.
        return self._world.clock.now()

    def claims(self, request: HttpRequest) -> bool:
        """Return whether a path is an API server's."""
        return any(request.path == root or request.path.startswith(f"{root}/") for root in _ROOTS)

    def read(self, request: HttpRequest) -> Asked:
        """Return the call."""
        operation = self.cluster.operation(request.method, request.path, request.query)
        reads = request.method == "GET"
        return Asked(operation=operation, request=request, region="cluster", writes=not reads)

    def check(self, asked: Asked) -> Refusal | None:
        """Return a refusal if the request does not have the secret as its token."""
        if self._secret.is_borne(asked.request.headers):
            return None
        return Refusal("Unauthorized", "Unauthorized", 401)

    def do(self, asked: Asked) -> Answer:
        """Do the call; a watch goes on without the lock."""
        self._follow_weather()
        request = asked.request
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = self.cluster.respond(request.method, request.path, request.query, headers, request.body)
        if isinstance(answer, Watch):
            return HttpResponse(200, stream=self._watch(answer, watch_seconds(request.first("timeoutSeconds"))))
        return _http(answer)

    def _watch(self, watch: Watch, seconds: float) -> Iterator[bytes]:
        """Yield what happens, as it happens, without the lock in between."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self._world.lock:
                self._follow_weather()
                lines = watch.poll()
            yield lines
            if watch.over:
                return
            self._sleep(_LOOK_S)

    def refuse(self, refusal: Refusal, asked: Asked) -> HttpResponse:
        """Return a refusal as a Status."""
        if isinstance(refusal, Throttled):
            return _status(StatusError(429, "TooManyRequests", "the server has received too many requests"))
        if refusal.http == 401 and not refusal.scripted:
            return _status(unauthorized())
        code = refusal.http or next((http for http, reason in _REASONS.items() if reason == refusal.code), 500)
        return _status(StatusError(code, refusal.code, refusal.message))

    def ready(self, url: str) -> Mapping[str, Any]:
        """Return what a client needs: a kubeconfig, as a file whose user has the secret as token."""
        file = self._secret.folder / "kubeconfig.json"
        body = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "emulator",
            "clusters": [{"name": "emulator", "cluster": {"server": url}}],
            "users": [{"name": "emulator", "user": {"token": self._secret.text}}],
            "contexts": [{"name": "emulator", "context": {"cluster": "emulator", "user": "emulator"}}],
        }
        file.touch(mode=0o600)
        file.write_text(json.dumps(body), encoding="utf-8")
        return {"kubeconfig": str(file)}

    def warm(self) -> None:
        """Do nothing: everything is loaded already."""

    def _follow_weather(self) -> None:
        part = self._world.weather.own.get(CLOUD)
        if part is not self._part:
            self._part = part
            self.cluster.script = read_script(part) if part else Script()

    def _reset(self) -> None:
        self._part = None
        self.cluster.reset()

    def _held(self) -> list[dict[str, Any]]:
        self._follow_weather()
        self.cluster.operator.turn()
        common = {"cloud": CLOUD, "region": "cluster", "zone": None, "market": None, "count": 1, "client_token": ""}
        return [{**common, **one} for one in self.cluster.held()]


def watch_seconds(given: str) -> float:
    """Return how long a watch lasts: ``timeoutSeconds``, if it is a number."""
    return float(given) if given.isdigit() and int(given) else WATCH_S


def _http(answer: Response) -> HttpResponse:
    return HttpResponse(answer.status, answer.body, {"Content-Type": answer.content_type}, answer.error)


def _status(error: StatusError) -> HttpResponse:
    return HttpResponse(error.code, error.body, {"Content-Type": "application/json"}, error.reason)


def make(world: World, secret: Secret) -> Kubernetes:
    """Return the face."""
    return Kubernetes(world, secret)
