"""A suite cleans the nodes that its tests borrowed; one that it could not clean is not lent again."""

from __future__ import annotations

import re

import pytest

from tests.emulated import Emulator
from tests.plugin.conftest import CONFIG, Run
from tests.plugin.nodes import REACHED

LOGS = """
    def pytest_capacity_node_returned(node, item):
        with open({log!r}, "a") as log:
            log.write(f"{{item.name}} {{node.name}}\\n")
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_every_borrowed_node_is_returned_once(pytester: pytest.Pytester, run_on: Run, workers: str) -> None:
    """Whether its test passed, failed or broke before it began; other fixtures are torn down by then."""
    log = pytester.path / "log"
    pytester.makeconftest(LOGS.format(log=str(log)))
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def uses(capacity_node, request):
            yield
            assert request.node.name not in pathlib().read_text()

        def pathlib():
            import pathlib
            log = pathlib.Path(__file__).with_name("log")
            log.touch()
            return log

        @pytest.fixture
        def broken(capacity_node): raise ValueError

        @pytest.mark.capacity(group="db", count=2)
        def test_passes(uses): pass

        @pytest.mark.capacity(group="loader")
        def test_fails(uses): assert False

        @pytest.mark.capacity(group="loader")
        def test_never_begins(broken): pass

        def test_borrows_none(capacity): assert capacity.nodes()
        """
    )
    run_on(workers).assert_outcomes(passed=2, failed=1, errors=1)
    returned = sorted(log.read_text().splitlines())
    assert returned == ["test_fails loader-0", "test_never_begins loader-0", "test_passes db-0", "test_passes db-1"]


def test_the_next_test_finds_a_clean_node(pytester: pytest.Pytester, run_on: Run) -> None:
    """Though the one before it failed; the hook uses the node as the test did."""
    pytester.makeconftest("def pytest_capacity_node_returned(node): node.run('rm left')")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.capacity(group="loader")
        @pytest.mark.parametrize("n", range(2))
        def test_it(capacity_node, n):
            assert not capacity_node.run("ls").stdout.split().count("left")
            capacity_node.run("touch left")
            assert n
        """
    )
    run_on(config=REACHED).assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize("raised", ["ValueError('too dirty')", "pytest.fail('too dirty')"])
@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_a_node_whose_hook_fails_is_not_lent_again(
    pytester: pytest.Pytester, run_on: Run, cloud: Emulator, raised: str, workers: str
) -> None:
    """The test that had it has an error at teardown that names the node; the others get another one, or are told."""
    pytester.makeconftest(
        f"""
        import pytest

        def pytest_capacity_node_returned(node, item):
            if item.name in ("test_a", "test_d"):
                raise {raised}
        """.replace("raise pytest.fail", "pytest.fail")
    )
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.capacity(group="db")

        def test_a(capacity_node): assert capacity_node.name == "db-0"
        def test_b(capacity_node): assert capacity_node.name == "db-1"
        def test_c(capacity_node): assert capacity_node.name == "db-1"
        def test_d(capacity_node): assert capacity_node.name == "db-1"
        def test_e(capacity_node): pass

        @pytest.mark.capacity(group="loader")
        def test_f(capacity_node): pass
        """
    )
    result = run_on(workers)
    result.assert_outcomes(passed=5, errors=3)
    said = r"hook pytest_capacity_node_returned failed for db-{0} \(i-\w+\): \w+: too dirty. db-{0} is not lent again"
    text = result.stdout.str()
    assert re.search(r"ERROR at teardown of test_a(?s:.*?)" + said.format(0), text)
    assert re.search(r"ERROR at teardown of test_d(?s:.*?)" + said.format(1), text)
    assert re.search(r"ERROR at setup of test_e(?s:.*?)2 are suspect", text)
    result.stdout.fnmatch_lines(["collected in *", "  db-0: 1 file, *", "  db-0: is suspect, and not lent again"])
    assert cloud.held() == []


def test_of_nodes_that_were_lent_together_one_is_suspect(pytester: pytest.Pytester, run_on: Run) -> None:
    """The hook is called for each all the same; the one for which it failed is not lent again, and the other is."""
    log = pytester.path / "log"
    pytester.makeconftest(LOGS.format(log=str(log)) + "        assert node.name != 'db-0'\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.capacity(group="db", count=2)
        def test_a(capacity_node): pass

        @pytest.mark.capacity(group="db")
        def test_b(capacity_node): assert capacity_node.name == "db-1"

        @pytest.mark.capacity(group="db", count=2)
        def test_c(capacity_node): pass
        """
    )
    result = run_on(config=CONFIG)
    result.assert_outcomes(passed=2, errors=2)
    assert log.read_text() == "test_a db-0\ntest_a db-1\ntest_b db-1\n"
    result.stdout.fnmatch_lines(["*failed for db-0 (i-*): AssertionError*. db-0 is not lent again*"])
    result.stdout.fnmatch_lines(["*asks for 2 nodes at once*of which 1 is suspect*"])
