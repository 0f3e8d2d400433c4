"""What a run says about KubeDB databases: the cluster, the databases to provision, and how scaling is watched.

Frozen values, like those of `pytest_capacity.model`; the configuration makes them and the scaling room uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct, field

#: The engines whose operation requests we know, by the name that a test uses.
ENGINES: Final = ("mongodb", "postgres", "mysql", "mariadb", "redis", "elasticsearch")

#: Other spellings of an engine that are read.
ENGINE_ALIASES: Final[Mapping[str, str]] = {"postgresql": "postgres", "mongo": "mongodb", "elastic": "elasticsearch"}

#: How storage grows: by changing the database object, or by a ``VolumeExpansion`` request.
StorageMode = Literal["patch", "ops-request"]

#: How replicas and size are changed together: by two objects, or by one that has both sections.
Combined = Literal["two", "one"]


class Size(Struct, frozen=True, forbid_unknown_fields=True):
    """The resources of one database pod: both the requests and the limits."""

    cpu: str
    memory: str


#: The sizes that need no configuration: the vCPUs and the memory of the RDS classes of that name.
SIZES: Final[Mapping[str, Size]] = {
    "db.t3.micro": Size("2", "1Gi"),
    "db.t3.small": Size("2", "2Gi"),
    "db.t3.medium": Size("2", "4Gi"),
    "db.t3.large": Size("2", "8Gi"),
    "db.t3.xlarge": Size("4", "16Gi"),
    "db.t3.2xlarge": Size("8", "32Gi"),
}


class Database(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``databases:``, a database that is provisioned for the run."""

    key: str
    engine: str
    version: str
    replicas: int = 1
    size: str | None = None
    storage_gb: int = 1
    storage_class: str | None = None
    namespace: str = "default"
    #: How long it may take to become Ready. Seconds.
    ready_timeout_s: float = 600.0
    #: Merged over the ``spec`` that we make of the rest.
    spec: Mapping[str, Any] = field(default_factory=dict)


class KubernetesSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``kubernetes:`` section: which cluster. Without a file: ``KUBECONFIG``, ``~/.kube/config``, or the pod's."""

    #: An absolute path.
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str = "default"


class ScalingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``scaling:`` section."""

    #: How long one operation request may take before it is given up. Seconds.
    timeout_s: float = 600.0
    #: How often active requests are looked at. Seconds.
    interval_s: float = 2.0
    #: How many finished requests of a target stay in the cluster; older ones are deleted.
    keep_finished: int = 3
    #: How many targets are looked at in one round of calls.
    batch: int = 50
    storage_mode: StorageMode = "patch"
    #: How long volumes may take to begin to grow after a patch. Seconds.
    storage_timeout_s: float = 300.0
    combined: Combined = "two"
    #: Sizes of the user's own, by name; they go before `SIZES`.
    sizes: Mapping[str, Size] = field(default_factory=dict)

    def size(self, name: str) -> Size | None:
        """Return the resources that ``name`` stands for; None if it is not known."""
        return self.sizes.get(name) or SIZES.get(name)


class DatabaseChange(Struct, frozen=True, kw_only=True):
    """What a test wants of a database. What is None stays."""

    engine: str
    name: str
    namespace: str = "default"
    replicas: int | None = None
    size: str | None = None
    storage_gb: int | None = None
    storage_mode: StorageMode | None = None
    #: A component of the engine's (``mongos``, ``configServer``), where it is not the one that holds the data.
    component: str | None = None
    #: The caller's own: a call that is sent again after a keeper's death has the same, and makes nothing twice.
    key: str = ""

    @property
    def target(self) -> str:
        """Return the database's name in the journal."""
        return target_of(self.engine, self.namespace, self.name)


def target_of(engine: str, namespace: str, name: str) -> str:
    """Return a database's name in the journal: ``mongodb/default/orders``."""
    return f"{engine_name(engine)}/{namespace}/{name}"


def engine_name(text: str) -> str:
    """Return the engine's own name for any spelling of it that we read; what is no engine comes back as it is."""
    lowered = text.strip().lower()
    return ENGINE_ALIASES.get(lowered, lowered)
