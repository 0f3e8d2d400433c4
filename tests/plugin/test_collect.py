"""When a test fails: what its nodes have to say is in a folder beside the report, and the report names it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pytest_capacity.plugin.fetch import parts
from tests.emulated import Emulator
from tests.plugin.conftest import CONFIG, Run
from tests.plugin.nodes import REACHED

COLLECTS = f"{REACHED}collect: ['logs/*.log', conf]\n"

#: Where `run` starts pytest, by default.
DIR = "capacity-collected"


def _folders(pytester: pytest.Pytester, below: str = DIR) -> dict[str, set[str]]:
    """Collected folders of tests: the nodes in each."""
    return {one.name: {node.name for node in one.iterdir()} for one in pytester.path.glob(f"{below}/*") if one.is_dir()}


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_console_and_files_are_beside_the_report(pytester: pytest.Pytester, run_on: Run, workers: str) -> None:
    """Of the nodes that the failed test used, and of no other test; under the path that they have on the node."""
    pytester.makepyfile(
        """
        import pytest

        def test_fails(capacity):
            node = capacity.node("db", 1)
            node.run("mkdir -p logs conf/sub; echo a >logs/a.log; echo b >logs/b.log; echo c >logs/c.txt; "
                     "echo d >conf/sub/d; echo said >>console")
            assert not node

        def test_passes(capacity):
            assert capacity.node("db", 0)

        @pytest.mark.xfail
        def test_is_expected_to_fail(capacity):
            assert not capacity.node("db", 0)

        def test_uses_none(capacity_config):
            assert not capacity_config
        """
    )
    result = run_on(workers, "--junitxml=out/junit.xml", config=COLLECTS)
    result.assert_outcomes(passed=1, failed=2, xfailed=1)
    name = "test_console_and_files_are_beside_the_report.py-test_fails"
    assert _folders(pytester, f"out/{DIR}") == {name: {"db-1"}}
    collected = pytester.path / "out" / DIR / name / "db-1"
    files = {str(path.relative_to(collected)): path.read_text() for path in collected.rglob("*") if path.is_file()}
    assert files.pop("console.txt").endswith("said\n")
    assert files == {"files/logs/a.log": "a\n", "files/logs/b.log": "b\n", "files/conf/sub/d": "d\n"}
    result.stdout.fnmatch_lines(
        ["*- capacity -*", f"collected in {pytester.path}/out/{DIR}/{name}", "  db-1: 4 files*"]
    )
    assert (pytester.path / "out" / DIR / ".gitignore").read_text().endswith("*\n")


def test_passing_runs_leave_no_folder(pytester: pytest.Pytester, run_on: Run) -> None:
    """Nor does a failure where there is nothing to collect."""
    pytester.makepyfile(
        """
        def test_it(capacity):
            assert capacity.node("db").run("true")

        def test_nothing(capacity_reservations):
            assert not capacity_reservations
        """
    )
    run_on(config=COLLECTS).assert_outcomes(passed=1, failed=1)
    assert not (pytester.path / DIR).exists()


def test_it_is_collected_before_the_node_is_cleaned(pytester: pytest.Pytester, run_on: Run) -> None:
    """A failed setup and a failed call are looked into while the node is the test's own; a failed teardown after."""
    pytester.makeconftest("def pytest_capacity_node_returned(node): node.run('rm -rf logs')")
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.capacity(group="loader")

        @pytest.fixture
        def logs(capacity_node, request):
            capacity_node.run(f"mkdir logs; echo {request.node.name} >logs/a.log")
            yield
            assert request.node.name != "test_teardown"

        @pytest.fixture
        def broken(logs):
            raise ValueError

        def test_setup(broken): pass
        def test_call(logs): assert False
        def test_teardown(logs): pass
        """
    )
    result = run_on(config=COLLECTS)
    result.assert_outcomes(failed=1, errors=2, passed=1)
    found = {path.parts[-5].rpartition("-")[2]: path.read_text() for path in pytester.path.glob(f"{DIR}/*/*/*/*/a.log")}
    assert found == {"test_setup": "test_setup\n", "test_call": "test_call\n"}
    result.stdout.fnmatch_lines(["  loader-0: had been given back when this failed; another test may have it"])
    assert len(_folders(pytester)) == 3


def test_what_shared_fixtures_took_counts_for_each_of_their_tests(pytester: pytest.Pytester, run_on: Run) -> None:
    """And not for others; where it is not known which node a test has, it may be any of them."""
    pytester.makepyfile(
        """
        import pytest

        KNOWN = []

        @pytest.fixture(scope="module")
        def pair(capacity_nodes):
            return capacity_nodes["db"]

        @pytest.fixture(scope="module")
        def generator(capacity):
            return capacity.node("loader")

        def test_first(pair): assert not pair
        def test_second(pair, capacity): assert not pair
        def test_other(generator): assert not generator
        def test_both(pair, generator): assert not generator
        def test_own(capacity): assert not capacity.node("db", 0)
        def test_unknown(capacity): assert False
        """
    )
    run_on("-n0").assert_outcomes(failed=6)
    found = {name.rpartition("_")[2]: nodes for name, nodes in _folders(pytester).items()}
    everything = {"db-0", "db-1", "loader-0"}
    assert found == {
        "first": {"db-0", "db-1"},
        "second": {"db-0", "db-1"},
        "other": {"loader-0"},
        "both": everything,
        "own": {"db-0"},
        "unknown": everything,
    }


def test_every_rerun_has_a_folder_of_its_own(pytester: pytest.Pytester, run_on: Run) -> None:
    """And so has the next run; names that are long, or no file names, are made so."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("name", ["../../etc/x", "long" * 100])
        def test_it(capacity, name):
            assert not capacity.node("loader")
        """
    )
    for _ in range(2):
        run_on("--reruns=1", "-p", "rerunfailures").assert_outcomes(failed=2)
    names = set(_folders(pytester))
    base = "test_every_rerun_has_a_folder_of_its_own.py-test_it-"
    assert {f"{base}..-..-etc-x{number}" for number in ("", "-2", "-3", "-4")} <= names
    assert len(names) == 8
    assert max(map(len, names)) <= 122
    assert [path.name for path in pytester.path.iterdir() if path.is_dir() and "capacity" in path.name] == [DIR]


@pytest.mark.parametrize(("how", "where"), [("flag", "there"), ("ini", "there"), ("html", f"pages/{DIR}")])
def test_another_directory_may_be_named(pytester: pytest.Pytester, run_on: Run, how: str, where: str) -> None:
    """By flag or ini; beside an HTML report, if there is one."""
    pytester.makepyfile("def test_it(capacity): assert not capacity.node('db')")
    arguments: list[str] = []
    if how == "flag":
        arguments = ["--capacity-collect-dir=there", "--junitxml=out/junit.xml"]
    elif how == "ini":
        pytester.makeini("[pytest]\ncapacity_collect_dir = there")
    else:
        # pytest-html's own option, without the plugin.
        pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--html', dest='htmlpath')")
        arguments = ["--html=pages/report.html"]
    run_on(*arguments).assert_outcomes(failed=1)
    assert len(_folders(pytester, where)) == 1
    assert not (pytester.path / DIR).exists()


def test_links_and_devices_are_left_and_the_way_out_too(pytester: pytest.Pytester, run_on: Run, tmp_path: Path) -> None:
    """A link is followed if it is named; pipes, sockets and links that are found are not, and `..` leads nowhere."""
    secret = tmp_path / "secret"
    secret.write_text("not to be found")
    pytester.makepyfile(
        f"""
        def test_it(capacity):
            node = capacity.node("db")
            node.run("mkdir -p all/empty all/real; cd all; echo x >real/file; echo y >'a b'; mkfifo pipe")
            node.run("ln -s {tmp_path} all/out; ln -s {secret} all/link")
            node.run("ln -s all/real/file named; ln -s nowhere broken; mkfifo pipe")
            assert False
        """
    )
    paths = "[all, named, pipe, broken, /dev/null, /proc/sys/kernel/ostype, 'all/../all/real/../a\\ b', nowhere]"
    result = run_on(config=f"{REACHED}collect: {paths}\n")
    (files,) = pytester.path.glob(f"{DIR}/*/db-0/files")
    found = {str(path.relative_to(files)): path.read_text() for path in files.rglob("*") if path.is_file()}
    linux = {"proc/sys/kernel/ostype": "Linux\n"} if Path("/proc/sys").exists() else {}
    assert found == {"all/real/file": "x\n", "named": "x\n", "all/a b": "y\n", **linux}
    assert not any(path.is_symlink() for path in files.rglob("*"))
    result.stdout.fnmatch_lines(
        [
            "  db-0: pipe is neither a file nor a directory",
            "  db-0: broken: No such file or directory",
            "  db-0: /dev/null is neither a file nor a directory",
            "  db-0: nowhere: No such file or directory",
        ]
    )
    assert parts("../../etc/x/../y") == parts("/etc/y") == parts("//etc//y") == ["etc", "y"]


def test_a_node_that_is_gone_is_named_and_holds_nobody_up(pytester: pytest.Pytester, run_on: Run) -> None:
    """The others' files are there all the same; the failure stays what it is."""
    pytester.makepyfile(
        """
        import contextlib
        import pytest
        from pytest_capacity import NodeError

        def test_it(capacity):
            one, other = capacity.nodes("db")
            other.run("mkdir logs; echo x >logs/a.log")
            with contextlib.suppress(NodeError):
                one.run("shutdown now", timeout=60)
            with pytest.raises(NodeError):
                while True:
                    one.run("true", timeout=60)
            assert False, "the test's own words"
        """
    )
    result = run_on(config=COLLECTS)
    result.assert_outcomes(failed=1)
    assert len(list(pytester.path.glob(f"{DIR}/*/db-1/files/logs/a.log"))) == 1
    result.stdout.fnmatch_lines(["E *the test's own words", "collected in *", "  db-0: db-0 (*cannot be reached*"])


def test_a_suite_adds_what_it_wants(pytester: pytest.Pytester, run_on: Run) -> None:
    """Its hook has a folder for each node; what it says, and what it raises, is in the report and fails nothing."""
    pytester.makeconftest(
        """
        def pytest_capacity_collect(node, item, path):
            assert path.is_dir()
            if node.name == "db-1":
                raise ValueError("not this one")
            (path / "own.txt").write_text(f"{item.name} {node.run('pwd').stdout}")
            return "no heap dump"
        """
    )
    pytester.makepyfile("def test_it(capacity): assert not capacity.nodes('db')")
    result = run_on(config=REACHED)
    result.assert_outcomes(failed=1)
    (own,) = pytester.path.glob(f"{DIR}/*/*/own.txt")
    assert own.parent.name == "db-0"
    assert own.read_text().startswith("test_it /")
    result.stdout.fnmatch_lines(["  db-0: no heap dump", "  db-1: ValueError: not this one"])


def test_nobody_waits_for_ever(pytester: pytest.Pytester, run_on: Run) -> None:
    """A node that does not come to an end is left, and said so; pytest-timeout counts none of it."""
    pytester.makeconftest(
        """
        import threading
        from pytest_capacity.plugin import collect

        collect.LIMIT = 20.0

        def pytest_capacity_collect(node, path):
            (path / "begun.txt").write_text("x")
            if node.name == "db-0":
                threading.Event().wait()
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.timeout(15)
        def test_it(capacity):
            assert not capacity.nodes("db")

        def test_next(capacity): pass
        """
    )
    result = run_on("-p", "timeout")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["  db-0: 2 files*", "  db-0: not all within 20 s", "  db-1: 2 files*"])
    assert len(list(pytester.path.glob(f"{DIR}/*/*/begun.txt"))) == 2


def test_a_directory_that_cannot_be_made_is_said(pytester: pytest.Pytester, run_on: Run) -> None:
    """The test's failure stays what it is."""
    (pytester.path / "file").touch()
    pytester.makepyfile("def test_it(capacity): assert not capacity.node('db')")
    result = run_on("--capacity-collect-dir=file/below")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["nothing could be collected: *--capacity-collect-dir names another directory"])


def test_only_so_much_is_collected(pytester: pytest.Pytester, run_on: Run) -> None:
    """Of a file that is too large its end, and then no more, with a note of both."""
    pytester.makeconftest("from pytest_capacity.plugin import fetch\nfetch.MOST = 1 << 20\n")
    pytester.makepyfile(
        """
        def test_it(capacity):
            capacity.node("db").run("mkdir logs; { head -c 3000000 /dev/zero; echo the end; } >logs/a.log; "
                                    "echo x >logs/b.log")
            assert False
        """
    )
    result = run_on(config=COLLECTS)
    (log,) = pytester.path.glob(f"{DIR}/*/db-0/files/logs/*")
    assert log.stat().st_size == 1 << 20
    assert log.read_bytes().endswith(b"\0the end\n")
    result.stdout.fnmatch_lines(["*logs/a.log: only the last 1.0 MB of it", "*logs/b.log: left out, 1 MB *"])


def test_machines_of_ones_own_have_no_console(pytester: pytest.Pytester, run: Run) -> None:
    """Of a static node that does not answer there is nothing, so there is no folder, and the reason is said."""
    pytester.makepyfile("def test_it(capacity): assert not capacity.node('db')")
    static = "backend: static\ngroups: {db: {hosts: [{address: 127.0.0.1, port: 1}]}}\ncollect: [x]\n"
    result = run(config=static)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- capacity -*", "  db-0: db-0 (* cannot be reached*"])
    assert not (pytester.path / DIR).exists()


def test_frozen_time_is_no_hindrance(pytester: pytest.Pytester, run_on: Run) -> None:
    """A fixture's frozen clock still stands when the test has failed."""
    pytester.makepyfile(
        """
        import freezegun, pytest

        @pytest.fixture
        def frozen():
            with freezegun.freeze_time("2020-01-01"):
                yield

        def test_it(capacity, frozen):
            capacity.node("db").run("mkdir logs; echo x >logs/a.log")
            assert False
        """
    )
    result = run_on(config=COLLECTS)
    result.assert_outcomes(failed=1)
    assert len(list(pytester.path.glob(f"{DIR}/*/db-0/files/logs/a.log"))) == 1
    assert not re.search("not all within", result.stdout.str())


def test_without_ssh_there_is_the_console(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """It comes from the cloud, through the keeper; what the cloud refuses is said."""
    pytester.makepyfile("def test_it(capacity): assert not capacity.node('db')")
    run_on(config=CONFIG)
    (console,) = pytester.path.glob(f"{DIR}/*/db-0/*")
    assert console.name == "console.txt"
    assert console.read_text()
    shutil.rmtree(pytester.path / DIR)
    cloud.weather(faults=[{"operation": "GetConsoleOutput", "error": "UnauthorizedOperation"}])
    result = run_on(config=CONFIG)
    result.stdout.fnmatch_lines(["  db-0: *UnauthorizedOperation*"])
    assert not (pytester.path / DIR).exists()
