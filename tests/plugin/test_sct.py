"""A configuration of scylla-cluster-tests, as it is, in a whole run."""

from __future__ import annotations

import pytest

from tests.emulated import IMAGE, Emulator
from tests.plugin.conftest import Run

FILE = f"""
cluster_backend: aws
region_name: us-east-1 us-west-2
availability_zone: b
n_db_nodes: "2 1"
n_loaders: 1
n_monitor_nodes: 1
instance_type_db: i4i.large
instance_type_loader: c6i.xlarge
instance_type_monitor: t3.large
ami_id_db_scylla: {IMAGE} {IMAGE}
use_capacity_reservation: true
aws_fallback_to_next_availability_zone: true
colocate: zone
"""

SUITE = """
    def test_all_of_it_is_in_one_zone(capacity, capacity_nodes, capacity_reservations):
        assert {name: len(nodes) for name, nodes in capacity_nodes.items()} == {"db": 3, "loader": 1, "monitor": 1}
        assert {node.zone for nodes in capacity_nodes.values() for node in nodes} == {"ZONE"}
        reserved = {reservation.instance_type: reservation.count for reservation in capacity_reservations}
        assert reserved == {"i4i.large": 3, "c6i.xlarge": 1}
"""


@pytest.mark.parametrize(
    ("dry", "zone"),
    [(["us-east-1b"], "us-east-1a"), ([f"us-east-1{letter}" for letter in "abcdef"], "us-west-2b")],
    ids=["next-zone", "next-region"],
)
def test_the_whole_cluster_moves(
    pytester: pytest.Pytester,
    run_on: Run,
    cloud: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    dry: list[str],
    zone: str,
) -> None:
    """The zone that is named first, then the others, then the next region; the old key works, with one warning."""
    cloud.weather(stock={zone: {"i4i.large": 0} for zone in dry})
    monkeypatch.setenv("SCT_FALLBACK_TO_NEXT_REGION", "true")
    pytester.makepyfile(SUITE.replace("ZONE", zone))
    result = run_on(config=FILE)
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*PytestConfigWarning: capacity: */capacity.yaml: aws_fallback_to_next_availability_zone: is deprecated. "
            "Write fallback_to_next_availability_zone instead*"
        ]
    )
