"""How the modules of `remote`, and those below it, import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

from tests.emulated import ROOT

PACKAGE = "pytest_capacity"
#: `remote` and what stands below it.
BELOW = ("databases", "topology", "classification", "errors", "install_advice", "text", "model", "remote")


def modules() -> Mapping[str, Path]:
    """The modules, with their files."""
    found = {}
    for room in BELOW:
        path = ROOT / PACKAGE / room
        for file in [path.with_suffix(".py")] if path.with_suffix(".py").exists() else path.glob("*.py"):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = file
    return found


def imports(file: Path) -> Iterator[str]:
    """What a file imports of this package, inside of functions and for annotations too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith(PACKAGE))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_errors_import_nothing_of_the_package() -> None:
    """Every module may import the errors, so they import none, for annotations neither."""
    assert list(imports(ROOT / PACKAGE / "errors.py")) == []


def test_there_is_no_import_circle() -> None:
    """An order exists in which each module comes after all that it imports, and none imports from above."""
    files = modules()
    graph = {name: [one for one in imports(file) if one != name and one != PACKAGE] for name, file in files.items()}
    order = list(TopologicalSorter(graph).static_order())
    assert len(order) > len(BELOW)
    above = {
        one
        for found in graph.values()
        for one in found
        if not one.startswith(tuple(f"{PACKAGE}.{room}" for room in BELOW))
    }
    assert above == set()
