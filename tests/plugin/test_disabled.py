"""Installed and not used, the plugin is not there."""

from __future__ import annotations

import fnmatch
import json
import os
import sys

import pytest

from pytest_capacity import plugin
from pytest_capacity.plugin import hookspecs
from pytest_capacity.plugin.options import PREFIX
from tests.plugin.conftest import Run

ASKS = """
    def test_asks(capacity):
        raise AssertionError("not reached")

    def test_does_not():
        pass
"""

LISTS_MODULES = """
    import json, sys

    def test_modules():
        print("MODULES " + json.dumps(sorted(sys.modules)))
"""


#: What looks for a backend in a file.
READERS = {
    "pytest_capacity.config",
    "pytest_capacity.plugin.activation",
    "pytest_capacity.plugin.settings",
}


@pytest.mark.parametrize(
    ("config", "readers"),
    [(None, set()), ("regions: [us-east-1]\n", READERS)],
    ids=["no file", "a file without a backend"],
)
def test_nothing_but_pytest_and_the_standard_library_is_loaded(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, config: str | None, readers: set[str]
) -> None:
    """A run without a backend loads no module beyond pytest's, the standard library's and the plugin's entry.

    What looks into a file is loaded only where there is one, what declares the hooks only where one is implemented.
    """
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    pytester.makepyfile(LISTS_MODULES)
    if config is not None:
        (pytester.path / "capacity.yaml").write_text(config, encoding="utf-8")
    plain = _modules(pytester.runpytest_subprocess("-s", "-p", "no:capacity"))
    with_plugin = _modules(pytester.runpytest_subprocess("-s"))

    ours = {name for name in with_plugin - plain if name.startswith("pytest_capacity")}
    assert ours == readers | {"pytest_capacity", "pytest_capacity.plugin", "pytest_capacity.plugin.options"}
    foreign = {name.partition(".")[0] for name in with_plugin - plain - ours} - set(sys.stdlib_module_names)
    assert foreign == set()


def _modules(result: pytest.RunResult) -> set[str]:
    assert result.ret == 0
    line = next(line for line in result.outlines if "MODULES " in line)
    return set(json.loads(line.partition("MODULES ")[2]))


def test_a_test_that_asks_all_the_same_is_told_what_to_pass(pytester: pytest.Pytester, run: Run) -> None:
    """Without a backend, such a test is an error that names the flag; the others run."""
    pytester.makepyfile(ASKS)
    result = run(config=None)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*no backend was chosen. Pass --capacity-backend=NAME*"])
    result.stdout.no_fnmatch_line("*capacity: aws*")
    result.stdout.no_fnmatch_line("All traceback entries are hidden*")


def test_what_is_done_when_disabled_is_one_of_two_words(pytester: pytest.Pytester, run: Run) -> None:
    """Anything else is a usage error that lists both."""
    pytester.makepyfile(ASKS)
    pytester.makeini("[pytest]\ncapacity_when_disabled = ignore")
    result = run(config=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: ini capacity_when_disabled: 'ignore' is none of error, skip*"])


def test_the_marker_is_known(run: Run) -> None:
    """`pytest --markers` shows the signature, so that --strict-markers accepts it."""
    run("--markers", config=None).stdout.fnmatch_lines(['@pytest.mark.capacity(topology="default", *, group=None*'])


@pytest.mark.parametrize("flag", ["--help", "--version", "--markers"])
def test_a_broken_file_does_not_break_the_help(run: Run, flag: str) -> None:
    """What only informs does not read the configuration."""
    assert run(flag, config="backend: aws\nnonsense: 1\n").ret == 0


def test_a_hook_may_be_implemented_in_a_folder(pytester: pytest.Pytester, run: Run) -> None:
    """A hook of the plugin is known without a backend too, also in a conftest.py that only collection finds."""
    folder = pytester.mkdir("folder")
    (folder / "conftest.py").write_text("def pytest_capacity_node_ready(node): pass\n", encoding="utf-8")
    (folder / "test_here.py").write_text("def test_here(): pass\n", encoding="utf-8")
    run(config=None).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("implementation", "fault"),
    [
        ("pytest_capacity_node_ready(nod)", "*are declared in the hookimpl*"),
        ("pytest_capacity_node_redy(node)", "*unknown hook 'pytest_capacity_node_redy' in plugin*"),
    ],
    ids=["argument", "name"],
)
def test_a_mistyped_hook_is_refused(pytester: pytest.Pytester, run: Run, implementation: str, fault: str) -> None:
    """Without a backend as with one: the fault is found before the run that needs the hook."""
    pytester.makeconftest(f"def {implementation}: pass")
    pytester.makepyfile("def test_here(): pass")
    result = run(config=None)
    assert result.ret != 0
    assert fnmatch.filter(result.outlines + result.errlines, fault)


def test_the_hooks_are_those_that_are_declared() -> None:
    """What makes the plugin declare its hooks is the name of any of them."""
    declared = {name for name in vars(hookspecs) if name.startswith("pytest_capacity_")}
    assert declared == plugin.HOOKS
