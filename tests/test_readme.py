"""The README's quick start does what it says, as printed."""

from __future__ import annotations

import os
import re
import shlex
import sys
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


def _script(name: str) -> str:
    return os.fspath(Path(sys.executable).with_name(name))


def test_the_second_run_starts_on_the_nodes_that_were_kept(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands as printed, one after the other; in the end nothing is kept any more."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
    (pytester.path / "capacity.yaml").write_text(_block("yaml", "# capacity.yaml"))
    (pytester.path / "test_cluster.py").write_text(_block("python", "# test_cluster.py"))
    programs = {"pytest": (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")}
    said = []
    try:
        for line in _block("sh", "pytest --capacity-emulator --capacity-session").splitlines():
            program, *arguments = shlex.split(line, comments=True)
            ended = pytester.run(*programs.get(program, (_script(program),)), *arguments, timeout=60)
            assert ended.ret == 0, ended.errlines
            said.append(ended.stdout.str())
    finally:
        pytester.run(_script("pytest-capacity"), "release", "dev", "--force", timeout=60)
    first, second, listed, shell, released = said
    assert "session dev: begun" in first
    assert "joined, " in second
    assert "4 nodes" in second
    assert re.search(r"^dev +kept ", listed, re.MULTILINE)
    assert shell.strip() == os.uname().sysname
    assert "receipt: 0 things" in released
