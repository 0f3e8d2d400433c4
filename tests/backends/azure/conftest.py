"""The secret of the emulator, as a keeper gives it to the backend, and engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_capacity.backends.emulator_secret import SECRET_FILE
from pytest_capacity.testing import Bench
from tests.backends.azure.runs import AzureLab
from tests.emulated import Emulator

pytest.importorskip("azure.identity", reason="the extra [azure] is not installed")


@pytest.fixture(autouse=True)
def secret_file(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that holds the emulator's secret; the backend finds it by its variable."""
    file = tmp_path / "secret"
    file.write_text(emulator.secret, encoding="utf-8")
    monkeypatch.setenv(SECRET_FILE, str(file))
    return file


@pytest.fixture
def bench(emulator: Emulator, tmp_path: Path) -> Iterator[Bench]:
    """Makes engines on one journal, and closes them."""
    bench = Bench(AzureLab(emulator), tmp_path / "journal.sqlite")
    yield bench
    bench.close()
