"""Beside the real pyfakefs: tests with a made-up file system reach their nodes."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import CONFIG, Run

pytest.importorskip("pyfakefs")

SUITE = """
    from pathlib import Path

    import pytest
    from pyfakefs.fake_filesystem_unittest import Patcher

    def test_no_node(fs):
        # What is loaded by now, pyfakefs remembers as its own to change.
        fs.create_file("/only/here")

    def test_node_before(capacity, fs):
        fs.create_file("/only/here")
        assert capacity.node("db").run("echo one").stdout == "one\\n"
        assert Path("/only/here").exists()

    def test_node_after(fs, capacity):
        assert capacity.node("loader").run("echo two").stdout == "two\\n"

    def test_in_the_body(capacity):
        with Patcher() as patcher:
            patcher.fs.create_file("/only/here")
            assert open("/only/here").read() == ""
            assert capacity.node("db", 1).run("echo three").stdout == "three\\n"
        assert not Path("/only/here").exists()
"""


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_nodes_beside_made_up_files(run_on: Run, pytester: pytest.Pytester, workers: str) -> None:
    """paramiko is not told to be missing, and the run's key is read from the real file system."""
    pytester.makepyfile(SUITE)
    result = run_on("-p", "pyfakefs.pytest_plugin", workers, config=f"{CONFIG}ssh: {{}}\n")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["receipt: 0 things*"])
