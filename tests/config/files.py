"""Configurations for the tests of this folder: a good one, changed key by key, written to a file and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_capacity.backends import INSTALLED
from pytest_capacity.config.loading import load
from pytest_capacity.config.source import Overrides
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Request, Topology

IMAGE = "ami-0123456789abcdef0"
GOOD: Mapping[str, Any] = {
    "backend": "aws",
    "regions": ["us-east-1"],
    "groups": {"db": {"count": 3, "instance_type": "i4i.large"}},
    "aws": {"image": {"us-east-1": IMAGE}},
}


class Loader:
    """Writes a configuration into a directory and loads it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "capacity.yaml"

    def __call__(
        self,
        values: Mapping[str, Any],
        overrides: Overrides | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        topologies: Mapping[str, Topology] | None = None,
    ) -> Request:
        self.path.write_text(yaml.safe_dump(dict(values)))
        return load(
            overrides or Overrides(),
            clouds=INSTALLED,
            path=self.path,
            environ=environ or {},
            topologies=topologies,
            new_run=lambda: "new-run",
        )

    def faults(self, values: Mapping[str, Any], overrides: Overrides | None = None, **more: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self(values, overrides, **more)
        return caught.value.faults

    def refuses(self, values: Mapping[str, Any], where: str, remedy: str) -> str:
        """The claim that one thing is wrong: its fault begins with the file and the key, and says what to do."""
        (fault,) = self.faults(values)
        assert fault.startswith(f"{self.path}: {where}")
        assert remedy in fault
        return fault


def with_(**changes: Any) -> dict[str, Any]:
    """The good configuration with keys changed; None removes one."""
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not None}


def db(**changes: Any) -> dict[str, Any]:
    """The good configuration with its one group changed."""
    return with_(groups={"db": {"count": 3, "instance_type": "i4i.large", **changes}})


def aws(**changes: Any) -> dict[str, Any]:
    """The good configuration with its ``aws:`` section changed."""
    return with_(aws={"image": IMAGE, **changes})


def static(**changes: Any) -> dict[str, Any]:
    """A good configuration of two machines of one's own, with keys changed; None removes one."""
    good = {"backend": "static", "groups": {"db": {"hosts": ["10.0.0.1", "10.0.0.2"]}}}
    return {key: value for key, value in {**good, **changes}.items() if value is not None}
