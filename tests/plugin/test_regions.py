"""One suite over two regions, in a whole run."""

from __future__ import annotations

import pytest

from tests.emulated import IMAGE, Emulator
from tests.plugin.conftest import Run

CONFIG = f"""
backend: aws
project: tests
topologies:
  east: {{regions: [us-east-1], groups: {{db: {{count: 2, instance_type: i4i.large, ssh: {{user: scyllaadm}}}}}}}}
  west: {{regions: [us-west-2], groups: {{db: {{count: 1, instance_type: i4i.large}}}}}}
ssh: {{user: ubuntu}}
aws: {{image: {{us-east-1: {IMAGE}, us-west-2: {IMAGE}}}}}
"""

SUITE = """
import pytest

@pytest.mark.capacity("west")
def test_west(capacity_node):
    assert capacity_node.region == "us-west-2"
    assert capacity_node.run("echo $USER").stdout == "ubuntu\\n"

def test_both(capacity):
    east, west = (capacity.topology(name).nodes("db") for name in ("east", "west"))
    assert {node.region for node in east} == {"us-east-1"}
    assert {node.region for node in west} == {"us-west-2"}
    assert [node.access.user for node in (*east, *west)] == ["scyllaadm", "scyllaadm", "ubuntu"]
    assert [node.run("echo $USER").stdout for node in east] == ["scyllaadm\\n"] * 2
"""


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["serial", "xdist"])
def test_one_suite_over_two_regions(
    pytester: pytest.Pytester, run_on: Run, cloud: Emulator, workers: tuple[str, ...]
) -> None:
    """Each topology stands in its region, nodes have the user of their group, and both regions are read at the end."""
    pytester.makepyfile(SUITE)
    result = run_on(*workers, config=CONFIG)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines_random(
        [
            *([] if workers else ["capacity: aws us-east-1, us-west-2,*"]),
            "east/db: i-* i4i.large * in us-east-1?,*",
            "west/db: i-* i4i.large * in us-west-2?,*",
            "receipt: 0 things bearing run * are left (us-east-1, us-west-2 read)",
        ]
    )
    assert cloud.held() == []
