"""``errors:``: the user's own rows."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_capacity.config.source import Overrides
from pytest_capacity.model import ErrorRow
from tests.config.files import GOOD, Loader, static, with_

ROW = {"code": "NewCode", "kind": "capacity-zone", "step": "move-on"}


def row(**changes: Any) -> dict[str, Any]:
    """The good configuration with one row of errors, changed key by key; None removes one."""
    return with_(errors=[{key: value for key, value in {**ROW, **changes}.items() if value is not None}])


def test_without_rows_there_are_none(loading: Loader) -> None:
    """The table is ours alone."""
    assert loading(GOOD).errors == ()
    assert loading(with_(errors=[])).errors == ()


def test_a_row_is_of_the_clouds_that_it_names(loading: Loader) -> None:
    """The backend's, where it names none; rows of other clouds may stand beside them, in the order of the file."""
    request = loading(
        with_(
            errors=[
                ROW,
                {
                    "cloud": "static",
                    "code": ["A", "B"],
                    "prefix": "Z",
                    "message": r"no \d+ machines",
                    "http": [503, "4xx"],
                    "kind": "quota",
                    "step": "stop",
                    "scope": "region",
                },
            ]
        )
    )
    assert request.errors == (
        ErrorRow(cloud="aws", code=("NewCode",), kind="capacity-zone", step="move-on", scope="none"),
        ErrorRow(
            cloud="static",
            code=("A", "B"),
            prefix="Z",
            message=r"no \d+ machines",
            http=("503", "4xx"),
            kind="quota",
            step="stop",
            scope="region",
        ),
    )


@pytest.mark.parametrize("http", [503, "503", "5xx", [503]])
def test_a_status_is_a_number_or_all_of_its_hundred(loading: Loader, http: object) -> None:
    """One of them need not be a list."""
    (read,) = loading(row(http=http)).errors
    assert len(read.http) == 1


@pytest.mark.parametrize(
    ("values", "where", "remedy"),
    [
        (with_(errors="x"), "errors: 'x' is not a list", "- {code: NewCode"),
        (with_(errors={"code": "x"}), "errors: {'code': 'x'} is not a list", "- {code: NewCode"),
        (with_(errors=["x"]), "errors[0]: does not hold keys and values", "{code: NewCode"),
        (row(code=None), "errors[0]: matches nothing", "code, prefix, message, http"),
        (row(kind=None), "errors[0]: has no kind", "capacity-zone, "),
        (row(step=None), "errors[0]: has no step", "move-on, "),
        (row(kind="quotas"), "errors[0].kind: 'quotas' is not one of", "Did you mean quota?"),
        (row(step="move_on"), "errors[0].step: 'move_on' is not one of", "Did you mean move-on?"),
        (row(scope="moon"), "errors[0].scope: 'moon' is not one of", "Give one"),
        (row(cloud="statik"), "errors[0].cloud: 'statik' is not one of", "Did you mean static?"),
        (row(message="("), "errors[0].message: '(' is not a pattern", "backslash"),
        (row(message=""), "errors[0].message: is empty", "remove the key"),
        (row(code=404), "errors[0].code: 404 is not a list", "Write it like [a, b]"),
        (row(code=""), "errors[0].code[0]: is empty", "remove the key"),
        (row(code=[]), "errors[0].code: names nothing", "remove the key"),
        (row(http=600), "errors[0].http: '600' is not an HTTP status", "503"),
        (row(http=True), "errors[0].http: True is not an HTTP status", "503"),
        (row(http=[]), "errors[0].http: names nothing", "remove the key"),
        (row(codes="x"), "errors[0].codes: is not a known key", "Did you mean code?"),
        (static(errors=[ROW]), "errors: is given, and `backend: static` has no cloud", "Leave it out"),
    ],
)
def test_a_faulty_row_is_a_fault(loading: Loader, values: dict[str, Any], where: str, remedy: str) -> None:
    """It names the row, the key and what to write."""
    loading.refuses(values, where, remedy)


def test_all_faults_of_all_rows_come_at_once(loading: Loader) -> None:
    """And with those of the rest of the file."""
    rows = [{"code": "A", "kind": "weather"}, ROW, {"step": "leap", "kind": "quota"}]
    faults = loading.faults(with_(errors=rows, zones=5))
    assert [fault.split(": ", 2)[1] for fault in faults if "errors" in fault] == [
        "errors[0].kind",
        "errors[0]",
        "errors[2]",
        "errors[2].step",
    ]
    assert any("zones" in fault for fault in faults)


def test_rows_do_not_need_a_backend_to_be_checked(loading: Loader) -> None:
    """Where none is chosen that is the one fault, and a flag that chooses one cures it."""
    (fault,) = loading.faults({**row(), "backend": None})
    assert "no backend is chosen" in fault
    assert loading({**row(), "backend": None}, Overrides(backend="aws")).errors[0].cloud == "aws"
