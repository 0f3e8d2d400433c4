"""A suite in a directory of its own, and an emulated cloud that it can be pointed at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.emulated import IMAGE, Emulator, start_emulator

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

#: Plugins that no suite here needs; loading them is most of the time that a small run takes.
_QUICKER = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:pytest_cov")

Run = Callable[..., pytest.RunResult]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """One process for the tests of a module."""
    with start_emulator() as emulator:
        yield emulator


@pytest.fixture
def cloud(emulator: Emulator) -> Emulator:
    """An empty World."""
    emulator.reset()
    return emulator


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest in a process of its own with these arguments; ``config`` becomes its capacity.yaml."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run_pytest(*arguments: str, config: str | None = CONFIG) -> pytest.RunResult:
        if config is not None:
            (pytester.path / "capacity.yaml").write_text(config, encoding="utf-8")
        return pytester.runpytest_subprocess(*_QUICKER, *arguments, timeout=60)

    return run_pytest


@pytest.fixture
def run_on(run: Run, cloud: Emulator) -> Run:
    """The same, against ``cloud``."""

    def run_pytest(*arguments: str, config: str | None = CONFIG) -> pytest.RunResult:
        return run(f"--capacity-endpoint={cloud.url}", *arguments, config=config)

    return run_pytest
