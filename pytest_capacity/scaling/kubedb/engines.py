"""The engines as KubeDB's own definitions (``crds/ops.kubedb.com_*.yaml``, ``kubedb.com/v1``) have them: one table.

What differs between engines stands here as data; `bodies` makes every request of it by the same few lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from pytest_capacity.databases import ENGINES, engine_name
from pytest_capacity.errors import KubeDBError

OPS_GROUP: Final = "ops.kubedb.com"
OPS_VERSION: Final = "v1alpha1"
DATABASE_GROUP: Final = "kubedb.com"
DATABASE_VERSION: Final = "v1"

Path = tuple[str, ...]


class Layout(Struct, frozen=True, kw_only=True):
    """One topology of an engine: where its numbers are, in the database object and in a request."""

    #: The key of ``verticalScaling`` and of ``volumeExpansion``.
    component: str
    #: Where ``horizontalScaling`` takes the number of replicas.
    replicas: Path
    #: Where the database's ``spec`` has the number of replicas, and its ``storage``.
    in_spec: Path = ("replicas",)
    storage: Path = ("storage",)
    #: What has to go with the number of replicas, and where in the database's ``spec`` its present value stands.
    beside: Mapping[str, Path] = {}


class Engine(Struct, frozen=True, kw_only=True):
    """One engine."""

    name: str
    kind: str
    plural: str
    #: The container that serves, in ``podTemplate``.
    container: str
    #: Where the layouts are, the first whose key (a path in the database's ``spec``, empty: always) is there counts.
    layouts: tuple[tuple[Path, Layout], ...]
    #: All keys of ``verticalScaling`` that take ``{resources: ...}``.
    components: tuple[str, ...]
    #: The fewest replicas that the engine's request takes.
    least: int = 1

    @property
    def ops_kind(self) -> str:
        """Return the kind of its requests: ``MongoDBOpsRequest``."""
        return f"{self.kind}OpsRequest"

    @property
    def ops_plural(self) -> str:
        """Return the plural of its requests in URLs."""
        return self.ops_kind.lower() + "s"

    def layout(self, spec: Mapping[str, Any]) -> Layout:
        """Return the layout of a database with this ``spec``."""
        for marker, layout in self.layouts:
            if not marker or lookup(spec, marker) is not None:
                return layout
        return self.layouts[-1][1]


def _simple(component: str, replicas: str, *others: tuple[Path, Layout]) -> tuple[tuple[Path, Layout], ...]:
    return (*others, ((), Layout(component=component, replicas=(replicas,))))


_TABLE: Final = (
    Engine(
        name="mongodb",
        kind="MongoDB",
        plural="mongodbs",
        container="mongodb",
        components=(
            "standalone",
            "replicaSet",
            "mongos",
            "configServer",
            "shard",
            "arbiter",
            "hidden",
            "exporter",
            "coordinator",
        ),
        layouts=(
            (
                ("shardTopology",),
                Layout(
                    component="shard",
                    replicas=("shard", "replicas"),
                    in_spec=("shardTopology", "shard", "replicas"),
                    storage=("shardTopology", "shard", "storage"),
                    # The webhook refuses a shard section in which either number is missing.
                    beside={"shards": ("shardTopology", "shard", "shards")},
                ),
            ),
            (("replicaSet",), Layout(component="replicaSet", replicas=("replicas",))),
            ((), Layout(component="standalone", replicas=("replicas",))),
        ),
    ),
    Engine(
        name="postgres",
        kind="Postgres",
        plural="postgreses",
        container="postgres",
        components=("postgres", "coordinator", "exporter", "arbiter"),
        layouts=_simple("postgres", "replicas"),
    ),
    Engine(
        name="mysql",
        kind="MySQL",
        plural="mysqls",
        container="mysql",
        components=("mysql", "coordinator", "exporter"),
        layouts=_simple("mysql", "member"),
    ),
    Engine(
        name="mariadb",
        kind="MariaDB",
        plural="mariadbs",
        container="mariadb",
        components=("mariadb", "maxscale", "coordinator", "exporter"),
        layouts=_simple("mariadb", "member"),
    ),
    Engine(
        name="redis",
        kind="Redis",
        plural="redises",
        container="redis",
        components=("redis", "coordinator", "exporter"),
        layouts=_simple(
            "redis",
            "replicas",
            (("cluster",), Layout(component="redis", replicas=("replicas",), in_spec=("cluster", "replicas"))),
        ),
    ),
    Engine(
        name="elasticsearch",
        kind="Elasticsearch",
        plural="elasticsearches",
        container="elasticsearch",
        components=(
            "node",
            "master",
            "data",
            "ingest",
            "coordinating",
            "dataHot",
            "dataWarm",
            "dataCold",
            "dataFrozen",
            "dataContent",
            "ml",
            "transform",
            "exporter",
        ),
        layouts=_simple(
            "node",
            "node",
            (
                ("topology",),
                Layout(
                    component="data",
                    replicas=("topology", "data"),
                    in_spec=("topology", "data", "replicas"),
                    storage=("topology", "data", "storage"),
                ),
            ),
        ),
    ),
)

TABLE: Final[Mapping[str, Engine]] = {engine.name: engine for engine in _TABLE}


def engine_of(name: str) -> Engine:
    """Return the engine called ``name`` (``postgresql`` will do too). Raises `KubeDBError` with those there are."""
    found = TABLE.get(engine_name(name))
    if found is None:
        raise KubeDBError(f"no engine {name!r} is known. Use one of: {', '.join(ENGINES)}")
    return found


def lookup(values: Mapping[str, Any], path: Path) -> Any:
    """Return what stands at ``path``; None where any of it is missing."""
    found: Any = values
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def nested(path: Path, value: Any) -> dict[str, Any]:
    """Return ``{a: {b: value}}`` for the path ``(a, b)``."""
    for key in reversed(path):
        value = {key: value}
    made: dict[str, Any] = value
    return made
