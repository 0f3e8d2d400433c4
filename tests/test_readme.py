"""The README's quick start does what it says, as printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def _block(language: str, first: str) -> str:
    found = re.search(rf"^```{language}\n({re.escape(first)}.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert found, f"no {language} block that begins with {first!r}"
    return found[1]


def test_the_quick_start_runs_as_printed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file, its tests, its command against the emulator: all pass, and nothing is left."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (pytester.path / "capacity.yaml").write_text(_block("yaml", "# capacity.yaml"))
    (pytester.path / "test_cluster.py").write_text(_block("python", "# test_cluster.py"))
    command = shlex.split(_block("sh", "pytest --capacity-emulator").splitlines()[0], comments=True)
    assert command[0] == "pytest"
    result = pytester.runpytest_subprocess(*command[1:], "-p", "no:cacheprovider", timeout=60)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["receipt: 0 things bearing run * are left (us-east-1 read)"])
