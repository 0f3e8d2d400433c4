"""``--capacity-on-exhausted``: what becomes of tests whose capacity is not to be had."""

from __future__ import annotations

import pytest

from tests.emulated import IMAGE, Emulator
from tests.plugin.conftest import Run

#: One topology that runs dry, and one that the cloud refuses for another reason.
CONFIG = f"""
backend: aws
regions: [us-east-1]
zones: [a, b]
topologies:
  default: {{groups: {{db: {{count: 1, instance_type: i4i.large}}}}}}
  denied: {{groups: {{db: {{count: 1, instance_type: c6i.xlarge}}}}}}
aws: {{image: {{us-east-1: {IMAGE}}}}}
"""

TESTS = """
    import pytest
    from pytest_capacity import Exhausted

    def test_handle(capacity): assert False
    def test_nodes(capacity_nodes): assert False
    def test_reservations(capacity_reservations): assert False
    def test_node(capacity_node): assert False

    @pytest.fixture
    def own(request):
        request.getfixturevalue("capacity")

    def test_own(own): assert False

    def test_body(request):
        request.getfixturevalue("capacity")

    def test_raised():
        raise Exhausted("no capacity for what this test itself asked for")

    def test_caught():
        with pytest.raises(Exhausted):
            raise Exhausted("x")

    def test_other(): pass
"""

DENIED = """
    import pytest

    @pytest.mark.capacity("denied")
    def test_denied(capacity_node): pass
"""

DRY = {"us-east-1a": {"i4i.large": 0}, "us-east-1b": {"i4i.large": 0}}
REFUSED = {"operation": "CreateCapacityReservation", "zone": "us-east-1a", "error": "UnauthorizedOperation"}


@pytest.mark.parametrize(
    ("flag", "chosen", "outcomes", "code"),
    [
        ("-n0", "skip", {"skipped": 7, "passed": 2}, 0),
        ("-n2", "xfail", {"xfailed": 7, "passed": 2}, 0),
        ("--runxfail", "xfail", {"errors": 5, "failed": 2, "passed": 2}, 1),
    ],
)
def test_every_test_without_capacity_ends_as_the_user_says(
    pytester: pytest.Pytester,
    run_on: Run,
    cloud: Emulator,
    flag: str,
    chosen: str,
    outcomes: dict[str, int],
    code: int,
) -> None:
    """With one reason; the attempts are made once, and stand in the summary once. Other tests run.

    Who passes --runxfail wants to see what fails.
    """
    pytester.makepyfile(TESTS)
    pytester.makeini(f"[pytest]\ncapacity_on_exhausted = {chosen}")
    cloud.weather(stock=DRY)
    result = run_on(flag, "-rsx", config=CONFIG)
    result.assert_outcomes(**outcomes)
    assert result.ret == code
    result.stdout.fnmatch_lines(
        [
            "=* capacity =*",
            "#  ZONE  *",
            "1  us-east-1a  on-demand  yes  *i4i.large  capacity-zone  *  InsufficientInstanceCapacity: *",
            "2  us-east-1b  *",
            "to change: *",
            "all zones of us-east-1 are exhausted for 'default': us-east-1a, us-east-1b",
            "receipt: 0 things *",
        ]
    )
    assert sum(line.startswith("1  us-east-1a") for line in result.outlines) == 1
    if code == 0:
        result.stdout.fnmatch_lines(
            [f"{'SKIPPED' if chosen == 'skip' else 'XFAIL'}*no capacity for topology 'default'*"]
        )
    assert len(cloud.calls("CreateCapacityReservation")) == 2


def test_what_is_refused_for_another_reason_stays_an_error(
    pytester: pytest.Pytester, run_on: Run, cloud: Emulator
) -> None:
    """A permission that is missing is no lack of capacity."""
    pytester.makepyfile(DENIED)
    cloud.weather(faults=[REFUSED])
    result = run_on("--capacity-on-exhausted=skip", config=CONFIG)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*UnauthorizedOperation*"])
