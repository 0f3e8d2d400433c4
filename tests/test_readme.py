"""The README's quick start does what it says, as printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial" / "first-suite.md").read_text(encoding="utf-8")


def _block(language: str, first: str, page: str = README) -> str:
    found = re.search(rf"^ *```{language}\n( *{re.escape(first)}.*?)^ *```$", page, re.DOTALL | re.MULTILINE)
    assert found, f"no {language} block that begins with {first!r}"
    return dedent(found[1])


def test_the_quick_start_runs_as_printed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file, its tests, its command against the emulator: all pass, and nothing is left."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (pytester.path / "capacity.yaml").write_text(_block("yaml", "# capacity.yaml"))
    (pytester.path / "test_cluster.py").write_text(_block("python", "# test_cluster.py"))
    command = shlex.split(_block("sh", "pytest --capacity-emulator").splitlines()[0], comments=True)
    assert command[0] == "pytest"
    result = pytester.runpytest_subprocess(*command[1:], "-p", "no:cacheprovider", timeout=240)
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
            ended = pytester.run(*programs.get(program, (_script(program),)), *arguments, timeout=240)
            assert ended.ret == 0, ended.errlines
            said.append(ended.stdout.str())
    finally:
        pytester.run(_script("pytest-capacity"), "release", "dev", "--force", timeout=240)
    first, second, listed, shell, released = said
    assert "session dev: begun" in first
    assert "joined, " in second
    assert "4 nodes" in second
    assert re.search(r"^dev +kept ", listed, re.MULTILINE)
    assert shell.strip() == os.uname().sysname
    assert "receipt: 0 things" in released


@pytest.mark.parametrize(("page", "extras"), [(README, "aws,ssh,emulator"), (TUTORIAL, "aws,emulator")])
def test_the_install_lines_are_those_of_a_checkout(page: str, extras: str, tmp_path: Path) -> None:
    """Run in a checkout with an installer that writes down what it is given: the requirement is the checkout itself,
    with extras that it has, and the folder is not inside it.
    """
    checkout = tmp_path / "some checkout"
    checkout.mkdir()
    lines = _block("sh", "checkout=$PWD", page).replace("python3 -m venv .venv", "install_nothing")
    for part in (". .venv/bin/activate", ".venv/bin/"):
        lines = lines.replace(part, "" if part.endswith("/") else ":")
    tools = 'install_nothing() { :; }; pip() { printf \'%s\\n\' "$PWD" "$@"; }; '
    done = subprocess.run(["sh", "-euc", tools + lines], cwd=checkout, capture_output=True, text=True, check=True)
    folder, *arguments = done.stdout.splitlines()
    assert arguments[:3] == ["install", "-e", f"{checkout}[{extras}]"]
    assert Path(folder).parent == tmp_path
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= set(known)


def test_the_tutorial_runs_as_printed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files and its two commands, one after the other; the second one falls back as it says."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (pytester.path / "capacity.yaml").write_text(_block("yaml", "backend: aws", TUTORIAL))
    (pytester.path / "test_first.py").write_text(_block("python", "def test_two_nodes", TUTORIAL))
    (pytester.path / "scenario.yaml").write_text(_block("yaml", "stock:", TUTORIAL))
    commands = re.findall(r"\.venv/bin/pytest( --[^`\n]+)", TUTORIAL)
    assert len(commands) == 2
    for command in commands:
        result = pytester.runpytest_subprocess(*shlex.split(command), "-p", "no:cacheprovider", timeout=240)
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["*EMULATED*", "receipt: 0 things bearing run * are left (us-east-1 read)"])
    result.stdout.fnmatch_lines(["1 * us-east-1a *", "2 * us-east-1b * placed *"])


def test_every_page_is_listed() -> None:
    """README's last section leads to each page that the index has, and the index has each page that there is."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    indexed = {f"docs/{link}" for link in re.findall(r"\]\(([^)#:]+\.md)\)", index)}
    listed = set(re.findall(r"\]\((docs/[^)#:]+\.md)\)", README.partition("## Read on")[2]))
    assert indexed - listed == set()
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")}
    assert pages - indexed == {"docs/index.md"}
    assert all((ROOT / link).is_file() for link in listed)
