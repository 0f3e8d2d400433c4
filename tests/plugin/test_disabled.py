"""Installed and not used, the plugin is not there."""

from __future__ import annotations

import json
import sys

import pytest

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


@pytest.mark.parametrize(
    ("config", "readers"),
    [(None, set()), ("regions: [us-east-1]\n", {"pytest_capacity.config"})],
    ids=["no file", "a file without a backend"],
)
def test_nothing_but_pytest_and_the_standard_library_is_loaded(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, config: str | None, readers: set[str]
) -> None:
    """A run without a backend loads no module beyond pytest's, the standard library's and the plugin's entry.

    What looks into a file is loaded only where there is one.
    """
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    pytester.makepyfile(LISTS_MODULES)
    if config is not None:
        (pytester.path / "capacity.yaml").write_text(config, encoding="utf-8")
    plain = _modules(pytester.runpytest_subprocess("-s", "-p", "no:capacity"))
    with_plugin = _modules(pytester.runpytest_subprocess("-s"))

    ours = {name for name in with_plugin - plain if name.startswith("pytest_capacity")}
    assert ours == readers | {
        "pytest_capacity",
        "pytest_capacity.plugin",
        "pytest_capacity.plugin.options",
        "pytest_capacity.plugin.hookspecs",
    }
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
