"""The few calls that the package makes to a Kubernetes API server, by lightkube; every failure is one of three classes.

lightkube reads kubeconfig files, in-cluster accounts and credential plugins (EKS, GKE). It is the only library here
that speaks HTTP, and only this module imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final, TypeVar

import httpx2
from lightkube import Client
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User
from lightkube.core.exceptions import ApiError, ConfigError, LoadResourceError
from lightkube.core.resource import NamespacedResource
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.resources.core_v1 import PersistentVolumeClaim
from lightkube.types import PatchType

from pytest_capacity import errors
from pytest_capacity.errors import KubeDBError
from pytest_capacity.scaling.kubedb.engines import (
    DATABASE_GROUP,
    DATABASE_VERSION,
    OPS_GROUP,
    OPS_VERSION,
    Engine,
)

#: How long one call may take. Seconds.
CALL_TIMEOUT: Final = 30.0

#: Statuses after which the call may or may not have been done.
_UNCLEAR: Final = frozenset({500, 502, 503, 504})

Object = dict[str, Any]

T = TypeVar("T")


class ServerError(KubeDBError):
    """The server answered with an error. ``status`` is HTTP's, ``reason`` Kubernetes' (``Invalid``, ``Conflict``)."""

    def __init__(self, message: str, status: int, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Unanswered(KubeDBError):
    """No answer came, or one that does not say whether the call was done."""


class Kubernetes:
    """One API server. Safe to use from many threads."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @staticmethod
    def open(kubeconfig: str | None, context: str | None, namespace: str) -> Kubernetes:
        """Return a client for the cluster that the settings name. Raises `ConfigError`; makes no call."""
        try:
            config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()
            chosen = config.get(context)
            return Kubernetes(Client(chosen, namespace=namespace, timeout=httpx2.Timeout(CALL_TIMEOUT)))
        except (ConfigError, OSError, httpx2.HTTPError, KeyError, ValueError) as error:
            where = f"kubernetes.kubeconfig {kubeconfig}" if kubeconfig else "kubernetes"
            words = f"no cluster can be used: {type(error).__name__}: {error}"
            remedy = "Name a kubeconfig file and a context that exist (`kubernetes: {kubeconfig: ..., context: ...}`)."
            raise errors.ConfigError([f"{where}: {words}. {remedy}"]) from error

    @staticmethod
    def at(url: str, token: str, namespace: str = "default") -> Kubernetes:
        """Return a client for the server at ``url``, such as the emulator's."""
        config = KubeConfig.from_one(cluster=Cluster(server=url), user=User(token=token), namespace=namespace)
        return Kubernetes(Client(config, timeout=httpx2.Timeout(CALL_TIMEOUT), trust_env=False))

    @property
    def server(self) -> str:
        """Return the server's URL."""
        return str(self._client.config.cluster.server)

    def create(self, kind: type[GenericNamespacedResource], body: Object, namespace: str) -> Object:
        """Create one object; returns it as the server keeps it."""
        return self._call(
            f"create a {body['kind']} in namespace {namespace}",
            lambda: _plain(self._client.create(kind.from_dict(body), namespace=namespace)),
        )

    def get(self, kind: type[NamespacedResource], name: str, namespace: str) -> Object:
        """Return one object."""
        return self._call(
            f"read {kind.__name__} {name} in namespace {namespace}",
            lambda: _plain(self._client.get(kind, name, namespace=namespace)),
        )

    def list(
        self, kind: type[NamespacedResource], namespace: str, labels: Mapping[str, str | Iterable[str] | None]
    ) -> list[Object]:
        """Return all objects that bear these labels, however many pages they take. ``*``: in every namespace."""
        return self._call(
            f"list {kind.__name__} in namespace {namespace}",
            lambda: [_plain(one) for one in self._client.list(kind, namespace=namespace, labels=dict(labels))],
        )

    def patch(self, kind: type[NamespacedResource], name: str, namespace: str, change: Object) -> Object:
        """Merge ``change`` into one object. A ``metadata.resourceVersion`` in it must be the newest."""
        return self._call(
            f"change {kind.__name__} {name} in namespace {namespace}",
            lambda: _plain(self._client.patch(kind, name, change, namespace=namespace, patch_type=PatchType.MERGE)),
        )

    def delete(self, kind: type[NamespacedResource], name: str, namespace: str) -> None:
        """Request the removal of one object; one that is gone is no error."""
        try:
            self._call(
                f"delete {kind.__name__} {name} in namespace {namespace}",
                lambda: self._client.delete(kind, name, namespace=namespace),
            )
        except ServerError as error:
            if error.status != httpx2.codes.NOT_FOUND:
                raise

    def ops(self, engine: Engine) -> type[GenericNamespacedResource]:
        """Return the class of an engine's requests."""
        return _class(OPS_GROUP, OPS_VERSION, engine.ops_kind, engine.ops_plural)

    def databases(self, engine: Engine) -> type[GenericNamespacedResource]:
        """Return the class of an engine's databases."""
        return _class(DATABASE_GROUP, DATABASE_VERSION, engine.kind, engine.plural)

    @property
    def volumes(self) -> type[NamespacedResource]:
        """Return the class of volume claims."""
        return PersistentVolumeClaim

    def _call(self, what: str, do: Callable[[], T]) -> T:
        try:
            return do()
        except ApiError as error:
            status = int(error.status.code or error.response.status_code)
            words = (
                f"{self.server} was asked to {what} and answered {status} {error.status.reason}: {error.status.message}"
            )
            if status in _UNCLEAR:
                raise Unanswered(words) from error
            raise ServerError(words, status, error.status.reason or "") from error
        except httpx2.HTTPStatusError as error:
            # Whatever is not JSON: the text "404 page not found" for a kind that is not installed, or a proxy's page.
            raise self._not_json(what, error.response) from error
        except (httpx2.HTTPError, OSError, LoadResourceError) as error:
            raise Unanswered(f"{self.server} was asked to {what}: {type(error).__name__}: {error}") from error

    def _not_json(self, what: str, answer: httpx2.Response) -> KubeDBError:
        status, text = answer.status_code, answer.text.strip()[:200]
        words = f"{self.server} was asked to {what} and answered {status}: {text}"
        if status == httpx2.codes.NOT_FOUND:
            words += ". The cluster does not have this kind: install KubeDB there, or name another `kubernetes.context`"
        return Unanswered(words) if status in _UNCLEAR else ServerError(words, status)


@cache
def _class(group: str, version: str, kind: str, plural: str) -> type[GenericNamespacedResource]:
    """Return the class of a kind, made once: lightkube registers it."""
    return create_namespaced_resource(group, version, kind, plural)


def _plain(found: Any) -> Object:
    plain: Object = found.to_dict()
    return plain
