"""Sessions, how long nodes are kept, how far a run can be extended."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_capacity.config.source import Overrides
from tests.config.files import GOOD, Loader, with_


def test_by_default_nothing_is_shared_or_kept(loading: Loader) -> None:
    """And nothing can be extended."""
    request = loading(GOOD)
    assert (request.session, request.keep, request.keep_s, request.limit_s) == (None, "never", 1800, 5400)


@pytest.mark.parametrize(
    ("values", "keep", "seconds"),
    [
        ({"keep": "never"}, "never", 1800),
        ({"keep": False}, "never", 1800),
        ({"keep": "failed"}, "failed", 1800),
        ({"keep": "always"}, "always", 1800),
        ({"keep": True}, "always", 1800),
        ({"keep": "45m"}, "always", 2700),
        ({"keep": 60}, "always", 60),
        ({"keep": "failed", "keep_for": "1h"}, "failed", 3600),
        ({"keep_for": "1h"}, "never", 3600),
        ({"keep": "always", "duration": "10m"}, "always", 600),
    ],
)
def test_when_nodes_are_kept_and_how_long(loading: Loader, values: dict[str, Any], keep: str, seconds: float) -> None:
    """A word, or a time, which says both; half an hour where none is given, and never longer than the run."""
    request = loading(with_(**values))
    assert (request.keep, request.keep_s) == (keep, seconds)


@pytest.mark.parametrize(
    ("in_file", "flag", "keep", "seconds"),
    [
        ({"keep": "failed", "keep_for": "10m"}, "1h", "always", 3600),
        ({"keep": "failed", "keep_for": "10m"}, "always", "always", 600),
        ({"keep": "20m"}, "failed", "failed", 1200),
        ({"keep": "20m"}, "never", "never", 1200),
        ({}, "failed", "failed", 1800),
        ({"keep": "always"}, "90", "always", 90),
    ],
)
def test_a_flag_says_when_or_how_long(
    loading: Loader, in_file: dict[str, Any], flag: str, keep: str, seconds: float
) -> None:
    """What it leaves open is as the file says."""
    request = loading(with_(**in_file), Overrides(keep=flag))
    assert (request.keep, request.keep_s) == (keep, seconds)


def test_nodes_are_kept_under_a_name(loading: Loader) -> None:
    """The session's; without one the project's, in the length of a session's, and still that project's own."""
    assert loading(with_(session="nightly")).session == "nightly"
    assert loading(with_(session=42)).session == "42"
    assert loading(with_(session="nightly"), Overrides(session="mine")).session == "mine"
    assert loading(with_(keep="failed", project="storage")).session == "storage"
    assert loading(with_(keep="never", project="storage")).session is None
    assert loading(with_(keep="always", session="mine")).session == "mine"
    long = [loading(with_(keep="always", project="p" * 60 + end)).session or "" for end in "ab"]
    assert long[0] != long[1]
    assert {len(name) for name in long} == {40}
    assert loading(with_(session=long[0])).session == long[0]


def test_how_far_a_run_can_be_extended(loading: Loader) -> None:
    """Not at all, unless the file says so."""
    assert loading(with_(duration="2h")).limit_s == 7200
    assert loading(with_(duration="2h", limits={"duration": "12h"})).limit_s == 43200
    assert loading(with_(duration="2h", limits={})).limit_s == 7200
    (fault,) = loading.faults(with_(limits={"duration": "2h"}), Overrides(duration="3h"))
    assert "limits.duration: '2h' is shorter than `duration`, 3h" in fault


@pytest.mark.parametrize(
    ("values", "where", "remedy"),
    [
        (with_(session="a b"), "session: 'a b' does not have the right form", "at most 40"),
        (with_(session="-x"), "session: '-x' does not have the right form", "at most 40"),
        (with_(session="x" * 41), "session: 'xxx", "at most 40"),
        (with_(session=True), "session: True is not a text", "Quote"),
        (with_(session=""), "session: is empty", "remove the key"),
        (with_(keep="sometimes"), "keep: 'sometimes' is neither never, failed nor always, nor a duration", "90m"),
        (with_(keep=[]), "keep: [] is neither never, failed nor always, nor a duration", "90m"),
        (with_(keep=1.5), "keep: 1.5 is neither never", "90m"),
        (with_(keep="0m"), "keep: '0m' is no time at all", "90m"),
        (with_(keep="2h"), "keep: '2h' is too long: nodes are not kept longer than `duration`, 1h30m", "shorter"),
        (with_(keep_for="2h"), "keep_for: '2h' is too long: nodes are not kept longer", "shorter"),
        (with_(keep_for="x"), "keep_for: 'x' is not a duration", "90m"),
        (with_(keep="10m", keep_for="10m"), "keep_for: is there beside `keep: 10m`", "Keep one"),
        (with_(limits="12h"), "limits: does not hold keys and values", "{duration: 12h}"),
        (with_(limits={"duraton": "12h"}), "limits.duraton: is not a known key", "Did you mean duration?"),
        (with_(limits={"duration": "8d"}), "limits.duration: '8d' is too long: a run lasts at most 7d", "shorter"),
        (with_(limits={"duration": "1h"}), "limits.duration: '1h' is shorter than `duration`, 1h30m", "longer limit"),
        (with_(limits={"duration": None}), "limits.duration: None is not a duration", "90m"),
    ],
)
def test_each_fault_names_file_key_and_remedy(loading: Loader, values: dict[str, Any], where: str, remedy: str) -> None:
    """One bad value is one line."""
    loading.refuses(values, where, remedy)


def test_a_bad_flag_names_its_source(loading: Loader) -> None:
    """Not the file."""
    source = {"keep": "PYTEST_CAPACITY_KEEP"}
    faults = loading.faults(GOOD, Overrides(keep="5h", session="a/b", source=source))
    assert [fault.partition(":")[0] for fault in faults] == ["--capacity-session", "PYTEST_CAPACITY_KEEP"]
