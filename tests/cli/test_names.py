"""RUN: a session's name, a run's id, or the beginning of one."""

from __future__ import annotations

import pytest

from pytest_capacity.journal import Journal
from tests.cli.conftest import SESSION, Shell


def begin(shell: Shell, *runs: str, session: str | None = None) -> Journal:
    """Runs that have begun, by the journal."""
    journal = Journal(shell.suite.journal)
    for run in runs:
        journal.write(run, "run-started", data={"started": 1.0, "request": {"session": session}})
    return journal


@pytest.mark.parametrize("verb", [("ssh",), ("extend", "1h"), ("release",), ("logs",)], ids=lambda verb: verb[0])
def test_a_run_that_nobody_knows(shell: Shell, verb: tuple[str, ...]) -> None:
    """Is a usage error that names those there are."""
    begin(shell, "nightly-1").close()
    ended = shell(verb[0], "weekly", *verb[1:])
    assert ended.code == 2
    assert ended.err.startswith(f"pytest-capacity {verb[0]}: no run or session is called 'weekly'")
    assert "Under way: nightly-1" in ended.err


def test_a_beginning_that_fits_several(shell: Shell) -> None:
    """Is refused with all of them; nothing is done."""
    begin(shell, "nightly-1", "nightly-2").close()
    ended = shell("release", "night")
    assert ended.code == 2
    assert "'night' may be any of 2 runs: nightly-1, nightly-2" in ended.err


def test_a_whole_id_is_no_beginning(shell: Shell) -> None:
    """nightly-1 is meant, though nightly-10 begins like it."""
    begin(shell, "nightly-1", "nightly-10").close()
    assert "run nightly-1 is over, and holds nothing" in shell("release", "nightly-1").out


def test_what_is_under_way_comes_first(shell: Shell) -> None:
    """A beginning means what may still be released, not what ended yesterday."""
    journal = begin(shell, "nightly-1", "nightly-2")
    journal.write("nightly-1", "run-ended", data={"left": 0})
    journal.close()
    assert "run nightly-2 is over" in shell("release", "nightly").out
    assert "run nightly-1 is over, since" in shell("release", "nightly-1").out


def test_a_session_goes_by_its_name_and_by_its_run(shell: Shell) -> None:
    """Both, and the beginning of each, mean the same."""
    shell.keep()
    run = shell.one()["run"]
    for name in (SESSION, SESSION[:2], run, run[:6]):
        assert f"keeper {shell.suite.keepers()[0]} of run {run}" in shell("logs", name).out


def test_the_log_of_a_session_that_is_over(shell: Shell) -> None:
    """By the session's name too: the newest."""
    shell.keep()
    run = shell.one()["run"]
    assert shell("release", SESSION).code == 0
    assert f"of run {run}" in shell("logs", SESSION).out
