"""What holds for every test of this repository: no way to a real cloud, a state directory of its own, the sample."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import pytest

from tests.emulated import Emulator, start_emulator

pytest_plugins = ["pytester"]

#: Under ``CAPACITY_MATRIX=sample`` the first of every so many cases of a table runs.
SAMPLE_EVERY: Final = 10

#: And the first of every so many of a module of whole runs.
RUNS_SAMPLE_EVERY: Final = 20

#: Here each test is a whole run of pytest or more; a module of them counts as one table.
WHOLE_RUNS: Final = ("tests/safety/", "tests/plugin/", "tests/cli/")

#: All of these count as tables: they kill, and whoever is killed writes no coverage.
TABLES: Final = "tests/safety/"

#: Port 1 of this machine refuses: what is aimed at no emulator reaches nothing.
NO_CLOUD: Final = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}


@pytest.fixture(autouse=True, scope="session")
def no_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Credentials, endpoints and home of whoever runs the tests are out of reach; so is their journal."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_", "PYTEST_CAPACITY_", "XDG_")) or name == "PYTEST_ADDOPTS":
                patch.delenv(name)
        for name, value in NO_CLOUD.items():
            patch.setenv(name, value)
        patch.setenv("AWS_CONFIG_FILE", str(home / "no-aws-config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "no-aws-credentials"))
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        yield


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[Emulator]:
    """One emulator for all tests of this process that make no processes of their own; it has no defects to tell of."""
    with start_emulator() as emulator:
        yield emulator
        assert emulator.errors() == ""


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    """It, with an empty World and fair weather."""
    emulator_process.reset()
    return emulator_process


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under ``CAPACITY_MATRIX=sample`` keep a part of each table, the same ones in every process."""
    for item in items:
        if item.nodeid.startswith(TABLES):
            item.add_marker("matrix")
    if os.environ.get("CAPACITY_MATRIX", "full") != "sample":
        return
    seen: dict[str, int] = {}
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        table = _table(item)
        if table is None:
            kept.append(item)
            continue
        number = seen[table] = seen.get(table, -1) + 1
        every = RUNS_SAMPLE_EVERY if table.endswith(".py") else SAMPLE_EVERY
        (kept if number % every == 0 else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def _table(item: pytest.Item) -> str | None:
    """The table of which ``item`` is a row: the cases of its function, or its module where tests are whole runs."""
    module = item.nodeid.partition("::")[0]
    if module.startswith(WHOLE_RUNS):
        return module
    return item.nodeid.partition("[")[0] if item.get_closest_marker("matrix") else None
