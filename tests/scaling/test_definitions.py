"""What is sent, and what the emulator knows, against KubeDB's own definitions, where these lie beside the checkout.

They are no part of the project: ``mongodb.yaml`` and so on, as ``crds/ops.kubedb.com_mongodbopsrequests.yaml`` of
kubedb/apimachinery, in a directory ``*/specs/kubedb`` beside the checkout, or where ``CAPACITY_KUBEDB_CRDS`` says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_capacity.databases import ENGINES, SIZES
from pytest_capacity.emulator.kubernetes import kinds
from pytest_capacity.emulator.kubernetes.schema import faults, prune
from pytest_capacity.scaling.kubedb.bodies import expansion, horizontal, lost_fields, vertical
from pytest_capacity.scaling.kubedb.engines import TABLE, Engine
from pytest_capacity.scaling.model import PHASES
from tests.emulated import ROOT


def _beside() -> Path | None:
    named = os.environ.get("CAPACITY_KUBEDB_CRDS")
    if named:
        return Path(named)
    places = (place for parent in list(ROOT.parents)[:2] for place in parent.glob("*/specs/kubedb"))
    return next(places, None)


FOLDER = _beside()
pytestmark = pytest.mark.skipif(FOLDER is None, reason="KubeDB's definitions do not lie beside this checkout")

engines = pytest.mark.parametrize("engine", ENGINES)


def definition(engine: str) -> dict[str, Any]:
    """The definition of an engine's requests."""
    assert FOLDER is not None
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{engine}.yaml").read_text(encoding="utf-8"))["spec"]
    return found


def schema_of(engine: str) -> dict[str, Any]:
    """The schema of the version that we use."""
    (version,) = [one for one in definition(engine)["versions"] if one["name"] == "v1alpha1"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def bodies(engine: Engine) -> Iterator[dict[str, Any]]:
    """Every section that we make for an engine, with every layout and component."""
    present = {"shardTopology": {"shard": {"shards": 2, "replicas": 3}}}
    for _, layout in engine.layouts:
        yield {"type": "HorizontalScaling", "horizontalScaling": horizontal(layout, 5, present)}
        yield {"type": "VolumeExpansion", "volumeExpansion": expansion(layout.component, 50)}
    for component in engine.components:
        for size in SIZES.values():
            yield {"type": "VerticalScaling", "verticalScaling": vertical(component, size)}


@engines
def test_what_we_send_is_kept_whole_and_valid(engine: str) -> None:
    """No field is pruned, and nothing is refused, by KubeDB's own schema."""
    schema = schema_of(engine)
    made = list(bodies(TABLE[engine]))
    assert len(made) > 4
    for sections in made:
        sent = {"spec": {"databaseRef": {"name": "orders"}, **sections}}
        kept = prune(sent, schema)
        assert lost_fields(sent["spec"], kept["spec"]) == []
        assert list(faults(kept, schema)) == []


@engines
def test_names_are_those_of_the_definition(engine: str) -> None:
    """Kind and plural of requests, in our table and in the emulator's."""
    names = definition(engine)["names"]
    (emulated,) = [one for one in kinds.ENGINES if one.name == engine]
    assert (TABLE[engine].ops_kind, TABLE[engine].ops_plural) == (names["kind"], names["plural"])
    assert (emulated.ops_kind, emulated.ops_plural) == (names["kind"], names["plural"])
    assert [f"{emulated.short}ops"] == names["shortNames"]


@engines
def test_the_emulator_has_the_definition_of_what_scaling_uses(engine: str) -> None:
    """The three sections, the common fields and the status: the same keys, types, enums, defaults and requirements."""
    (emulated,) = [one for one in kinds.ENGINES if one.name == engine]
    ours, theirs = emulated.ops_schema()["properties"], schema_of(engine)["properties"]
    assert set(ours["spec"]["properties"]) == set(theirs["spec"]["properties"])
    for name in ("horizontalScaling", "verticalScaling", "volumeExpansion", "type", "apply", "maxRetries"):
        assert_same(ours["spec"]["properties"][name], theirs["spec"]["properties"][name], name)
    assert ours["spec"]["required"] == theirs["spec"]["required"]
    assert_same(ours["status"]["properties"]["phase"], theirs["status"]["properties"]["phase"], "phase")
    assert set(theirs["status"]["properties"]["phase"]["enum"]) == PHASES - {""}


def assert_same(ours: Mapping[str, Any], theirs: Mapping[str, Any], path: str) -> None:
    """What validation looks at is the same; what is ours to leave open (`preserve`) is not looked into."""
    if ours.get("x-kubernetes-preserve-unknown-fields"):
        return
    for key in ("type", "required", "pattern", "x-kubernetes-int-or-string", "default"):
        assert ours.get(key) == theirs.get(key), (path, key)
    if "enum" in theirs:
        assert sorted(ours["enum"]) == sorted(theirs["enum"]), path
    assert set(ours.get("properties", {})) == set(theirs.get("properties", {})), path
    for name, inner in ours.get("properties", {}).items():
        assert_same(inner, theirs["properties"][name], f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(ours.get(key), Mapping):
            assert_same(ours[key], theirs[key], f"{path}[]")
