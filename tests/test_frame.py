"""The README's commands are what CI runs, and the reference lists what exists."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest

from pytest_capacity.backends import INSTALLED
from pytest_capacity.backends.aws import config
from pytest_capacity.config import groups, loading
from pytest_capacity.config.loading import load
from pytest_capacity.config.source import Overrides
from pytest_capacity.model import Fallback
from pytest_capacity.plugin.options import OPTIONS, Option

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs/reference/configuration.md").read_text()


def test_ci_runs_the_command_of_the_readme() -> None:
    """CI runs the second command of the README as it is printed there, before any other interpreter."""
    demo, test = re.findall(r"^```sh\n(python3 -m venv .*)\n```$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert demo == f"{test} -e demo"
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert test in lines
    assert "tox run" not in "\n".join(lines[: lines.index(test)])


def test_the_command_of_the_readme_needs_one_interpreter() -> None:
    """No environment that tox runs by default names a version of Python, and uv downloads none."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    default = re.split(r"[,\s]+", tox["tox"]["env_list"].strip())
    assert default == ["lint", "types", "tests", "demo"]
    assert [name for name in default if re.fullmatch(r"py3\d+", name) or "base_python" in tox[f"testenv:{name}"]] == []
    assert "base_python" not in tox["testenv"]
    assert tox["testenv"]["uv_python_preference"] == "only-system"
    assert "UV_PYTHON_DOWNLOADS = never" in tox["testenv"]["set_env"]
    assert "{env:CAPACITY_MATRIX:measured}" in tox["testenv:tests"]["set_env"]
    assert "CAPACITY_MATRIX = full" in tox["testenv:matrix"]["set_env"]


@pytest.mark.parametrize(
    ("own", "present", "runs", "missing"),
    [
        ("3.11", ("3.12", "3.13"), ["py313 rest", "py312 sample"], []),
        ("3.13", ("3.11", "3.12"), ["py312 rest", "py311 sample"], []),
        ("3.12", ("3.11",), ["py311 rest"], ["3.13"]),
        ("3.12", (), [], ["3.13", "3.11"]),
    ],
)
def test_ci_leaves_out_no_interpreter_silently(
    tmp_path: Path, own: str, present: Sequence[str], runs: Sequence[str], missing: Sequence[str]
) -> None:
    """After the README's command every other interpreter that is found runs; of one that is missing a line tells."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname"):
        (programs / name).symlink_to(shutil.which(name) or name)
    tox = 'mkdir -p .venv/bin; for name in pip python tox; do cp "$0" .venv/bin/$name; done'
    for name in ("mkdir", "cp"):
        (programs / name).symlink_to(shutil.which(name) or name)
    script = f"""#!{shutil.which("bash")}
case "$0 $*" in
    *"-m venv"*) {tox} ;;
    */.venv/bin/python*|.venv/bin/python*) echo {own} ;;
    *"tox run"*) echo "$* ${{CAPACITY_MATRIX:-default}}" >> ran ;;
esac
"""
    for name in ("python3", *(f"python{minor}" for minor in (own, *present))):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    ended = subprocess.run(
        [tmp_path / ".ci/run"],
        env={"PATH": str(programs), "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    interpreters = [f"run -e {one}" for one in runs]
    assert (tmp_path / "ran").read_text().splitlines() == ["run default", *interpreters, "run -e blazar default"]
    told = re.findall(r"^ci: python(\S+) is not on this machine: the tests were not run on it$", ended.stdout, re.M)
    assert told == list(missing)
    assert ("no second interpreter" in ended.stdout) == (not present)


@pytest.mark.parametrize("key", [*loading._KEYS, *groups._GROUP_KEYS, *config._KEYS, *Fallback.__struct_fields__])
def test_every_key_is_in_the_reference(key: str) -> None:
    """A key that the reader of the file knows has a row."""
    assert f"\n| `{key}` |" in REFERENCE


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_is_in_the_reference(option: Option) -> None:
    """A flag has its row with its variable and its ini key."""
    row = next(line for line in REFERENCE.splitlines() if line.startswith("|") and f"`{option.ini_name}`" in line)
    assert f"`{option.env_name}`" in row
    assert not option.flag or f"`{option.flag_name}" in row


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links of the documentation name files that exist."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


#: Words that are easy to misread, or name no mechanism.
VAGUE: Final = re.compile(r"\b(lest|who(?:so)?ever|nobody|somebody|hears?|heard|in good order)\b", re.IGNORECASE)


def test_prose_is_plain() -> None:
    """Code, comments, messages and pages say what does a thing to what."""
    texts = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", *(ROOT / "changelog.d").glob("*.md")]
    for folder in ("pytest_capacity", "examples", "benchmarks"):
        texts += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml", ".md", ".html")]
    lines = (
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if VAGUE.search(line)
    )
    assert list(lines) == []


def test_the_quickstart_of_the_readme_is_valid(tmp_path: Path) -> None:
    """The file that the README shows is one that the reader takes."""
    block = re.search(r"```yaml\n(# capacity.yaml.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block
    (tmp_path / "capacity.yaml").write_text(block[1])
    for path in (tmp_path / "capacity.yaml", ROOT / "examples/quickstart/capacity.yaml"):
        request = load(Overrides(), clouds=INSTALLED, path=path, environ={})
        assert request.topologies["default"].group("db").count == 3


def test_the_matrix_sample_is_a_part_of_every_table(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample runs the first case and every tenth after it, and all that is no table; an unknown one is an error."""
    pytester.makeconftest((ROOT / "conftest.py").read_text().replace('pytest_plugins = ["pytester"]', ""))
    pytester.makeini("[pytest]\nmarkers = matrix: a table\n")
    pytester.makepyfile(
        "import pytest\n"
        "@pytest.mark.matrix\n"
        "@pytest.mark.parametrize('case', range(22))\n"
        "def test_table(case): assert case in (0, 10, 20)\n"
        "def test_other(): pass\n"
    )
    monkeypatch.setenv("CAPACITY_MATRIX", "sample")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=4, deselected=19)
    monkeypatch.setenv("CAPACITY_MATRIX", "some")
    assert pytester.runpytest_subprocess("-p", "no:cacheprovider").ret == pytest.ExitCode.USAGE_ERROR
    monkeypatch.setenv("CAPACITY_MATRIX", "full")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=4, failed=19)


def test_between_them_two_interpreters_run_every_test(request: pytest.FixtureRequest) -> None:
    """ "measured" and "rest" leave out no function and no cause, and of the killed processes no row."""
    root = request.config.pluginmanager.get_plugin(str(ROOT / "conftest.py"))
    assert root
    cases = [
        *(f"tests/safety/test_kill_matrix.py::test_it[{case}]" for case in range(40)),
        *(f"tests/safety/test_session_deaths.py::test_it[{case}]" for case in range(12)),
        *(f"tests/safety/test_session_deaths.py::test_other_{number}" for number in range(12)),
        *(f"tests/plugin/test_run.py::test_other_{number}" for number in range(12)),
        *(f"tests/plugin/test_run.py::test_it[{way}-{cause}]" for cause in "abcd" for way in ("-n0", "-n2")),
        *(f"tests/engine/test_climb.py::test_{number}" for number in range(40)),
    ]
    items = [Case(case) for case in cases]
    measured = {case for case, runs in zip(cases, root._rows(items, root.SAMPLES["measured"]), strict=True) if runs}
    rest = {case for case, runs in zip(cases, root._rest(items), strict=True) if runs}
    run = measured | rest
    assert {case for case in cases if "kill_matrix" in case} <= rest
    assert {case.partition("[")[0] for case in run} == {case.partition("[")[0] for case in cases}
    assert {case[-2] for case in run if "-n" in case} == {*"abcd"}
    # Both ways come, of each cause one where it is not measured besides, and only these and the long tables are cut.
    assert {case[case.index("-n") : -3] for case in rest if "-n" in case} == {"-n0", "-n2"}
    assert all("-n" in case or "session_deaths.py::test_it" in case for case in set(cases) - run)
    assert len(set(cases) - run) > 8


class Case:
    """As much of an item as a sample looks at."""

    def __init__(self, nodeid: str) -> None:
        self.nodeid = nodeid
        way, found, cause = nodeid.partition("[")[2][:-1].rpartition("-")
        if found:
            self.callspec = SimpleNamespace(params={"workers": way, "cause": cause})

    def get_closest_marker(self, name: str) -> None:
        """Return None: it has no marker."""
