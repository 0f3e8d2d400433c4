"""extend, and logs."""

from __future__ import annotations

import pytest

from tests.cli.conftest import SESSION, Shell
from tests.safety.runs import GRANTED, until


def test_what_is_kept_is_kept_for_longer(shell: Shell) -> None:
    """By as much as was said, as often as it is said, up to the limit."""
    shell.keep()
    before = shell.one()["kept_until_epoch"]
    for number in (1, 2):
        ended = shell("extend", SESSION, "10m")
        assert ended.code == 0, ended
        assert f"{SESSION}: is kept until" in ended.out
        assert shell.one()["kept_until_epoch"] == pytest.approx(before + number * 600, abs=1)


def test_a_run_in_use_lasts_longer(shell: Shell) -> None:
    """Its hard end moves, where `limits` allows it."""
    shell.suite.configure({"db": {"count": 2, "instance_type": "i4i.large"}}, limits={"duration": "12h"})
    going = shell.use()
    listed = shell.one()
    ended = shell("extend", listed["run"], "1h30m")
    assert ended.code == 0, ended
    assert shell.one()["hard_end_epoch"] == pytest.approx(listed["hard_end_epoch"] + 5400, abs=1)
    shell.let_go()
    assert going.wait().code == 0


def test_nothing_lasts_beyond_its_limit(shell: Shell) -> None:
    """Refused in the keeper's words; nothing changes."""
    shell.keep()
    before = shell.one()
    ended = shell("extend", SESSION, "2h")
    assert ended.code == 1
    assert "its limit is" in ended.err
    assert "limits.duration" in ended.err
    after = shell.one()
    assert [after[name] for name in ("hard_end", "kept_until")] == [before[name] for name in ("hard_end", "kept_until")]


def test_a_time_that_is_none(shell: Shell) -> None:
    """A usage error, before anybody is asked."""
    ended = shell("extend", SESSION, "soon")
    assert ended.code == 2
    assert ended.err.startswith("pytest-capacity extend: 'soon' is not a duration. Write it like 90m")


def test_what_has_no_keeper_is_not_extended(shell: Shell) -> None:
    """The words say what can be done instead."""
    shell.keep()
    shell.kill_keepers()
    ended = shell("extend", SESSION, "1h")
    assert ended.code == 1
    assert f"its keeper died. Have what it held given back: pytest-capacity release {SESSION}" in ended.err


def test_a_log_is_followed_to_its_end(shell: Shell) -> None:
    """Line for line as they come, until the keeper is gone."""
    shell.keep()
    run = shell.one()["run"]
    going = shell.start("logs", "-f", SESSION)
    until(lambda: f"of run {run}" in going.written(), GRANTED, "it has begun")
    assert going.process.poll() is None
    assert "run-ended" not in going.written()
    assert shell("release", SESSION).code == 0
    ended = going.wait()
    assert ended.code == 0, ended
    assert "run-ended" in ended.out
    assert shell("logs", run).out == ended.out


def test_a_log_that_is_gone(shell: Shell) -> None:
    """Is told without a traceback."""
    shell.keep()
    log = shell.one()["keeper"]["log"]
    shell.suite.path.joinpath(log).unlink()
    ended = shell("logs", SESSION)
    assert ended.code == 1
    assert "cannot be read" in ended.err
