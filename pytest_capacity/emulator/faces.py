"""Finds the faces: the folders here that have a module ``face``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest_capacity.emulator
from pytest_capacity.emulator.face import Face
from pytest_capacity.emulator.secret import Secret
from pytest_capacity.emulator.world import World


def make_faces(world: World, secret: Secret) -> list[Face]:
    """Return a face for each folder, known to the World; without those whose libraries are missing."""
    faces = list(_make(world, secret))
    for face in faces:
        world.add_cloud(face.name, face.catalogue)
    return faces


def _make(world: World, secret: Secret) -> Iterator[Face]:
    folder = Path(pytest_capacity.emulator.__file__).parent
    for path in sorted(folder.glob("*/face.py")):
        try:
            module = import_module(f"pytest_capacity.emulator.{path.parent.name}.face")
        except ModuleNotFoundError as problem:
            if (problem.name or "").startswith("pytest_capacity"):
                raise
            words = f"no {path.parent.name}: {problem.name} is not installed in {sys.prefix}"
            print(f"pytest-capacity emulator: {words}; the extra `emulator` brings it", file=sys.stderr)
            continue
        face: Face = module.make(world, secret)
        yield face
