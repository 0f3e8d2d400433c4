"""A suite in a directory of its own, and an emulated cloud that it can be pointed at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulated import IMAGE, Emulator

CONFIG = f"""
backend: aws
regions: [us-east-1]
zones: [a, b]
project: tests
groups:
  db: {{count: 2, instance_type: i4i.large}}
  loader: {{count: 1, instance_type: c6i.xlarge}}
aws: {{image: {{us-east-1: {IMAGE}}}}}
"""

#: Nothing that happens to be installed has a part here: loading it is half of what a small run takes. The quick start
#: of the README and the tables beside other plugins load it all.
PLUGINS = ("-p", "no:cacheprovider", "-p", "capacity", "-p", "xdist")

#: Longer than any run here takes, on any machine. Seconds.
PATIENCE = 240.0

Run = Callable[..., pytest.RunResult]


@pytest.fixture(autouse=True)
def nothing_but_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs load `PLUGINS`, and what a test names; they know nothing of the zones that ran dry in another test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def cloud(emulator: Emulator) -> Emulator:
    """An empty World."""
    return emulator


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run pytest in a process of its own with these arguments; ``config`` becomes its capacity.yaml."""

    def run_pytest(*arguments: str, config: str | None = CONFIG) -> pytest.RunResult:
        if config is not None:
            (pytester.path / "capacity.yaml").write_text(config, encoding="utf-8")
        return pytester.runpytest_subprocess(*PLUGINS, *arguments, timeout=PATIENCE)

    return run_pytest


@pytest.fixture
def run_on(run: Run, cloud: Emulator) -> Run:
    """The same, against ``cloud``."""

    def run_pytest(*arguments: str, config: str | None = CONFIG) -> pytest.RunResult:
        return run(f"--capacity-endpoint={cloud.url}", *arguments, config=config)

    return run_pytest
