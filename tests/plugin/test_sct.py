"""A configuration of scylla-cluster-tests, as it is, in a whole run."""

from __future__ import annotations

import pytest
import yaml

from tests.emulated import IMAGE, Emulator
from tests.engine.test_account_faults import remove_default_subnet
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


#: A file and the weather of a cloud that has no spot machines for this account; on-demand ones may not stand in.
NO_SPOT = {
    "aws": (
        f"""
cluster_backend: aws
region_name: us-east-1
n_db_nodes: 1
instance_type_db: i4i.large
instance_provision_fallback_on_demand: false
ami_id_db_scylla: {IMAGE}
""",
        {"operation": "RunInstances", "error": "MaxSpotInstanceCountExceeded", "message": "Max spot count exceeded"},
    ),
    "azure": (
        """
cluster_backend: azure
azure_region_name: eastus
n_db_nodes: 1
azure_instance_type_db: Standard_L8s_v3
azure_image_db: Canonical:ubuntu-24_04-lts:server:latest
instance_provision_fallback_on_demand: false
""",
        {
            "operation": "VirtualMachines_CreateOrUpdate",
            "error": "OperationNotAllowed",
            "message": "exceeding approved LowPriorityCores quota",
            "http": 409,
        },
    ),
    "gce": (
        """
cluster_backend: gce
gce_datacenter: us-central1
n_db_nodes: 1
gce_instance_type_db: n2-standard-2
""",
        {
            "operation": "instances.insert",
            "error": "quotaExceeded",
            "message": "Quota 'PREEMPTIBLE_CPUS' exceeded. Limit: 0.0 in region us-central1.",
            "http": 403,
        },
    ),
}


@pytest.mark.parametrize("name", sorted(NO_SPOT))
def test_advice_names_the_keys_of_the_file(pytester: pytest.Pytester, run: Run, name: str) -> None:
    """The error of the test and the summary say what this file can have, and not a key of ours, which it cannot."""
    config, fault = NO_SPOT[name]
    (pytester.path / "weather.yaml").write_text(yaml.safe_dump({"faults": [fault]}))
    pytester.makepyfile("def test_it(capacity_nodes): pass")
    result = run("--capacity-emulator", "--capacity-scenario=weather.yaml", config=config)
    result.assert_outcomes(errors=1)
    text = result.stdout.str()
    error, _, summary = text.partition("= capacity =")
    for told in (error, summary):
        assert "write `instance_provision: on_demand`" in " ".join(told.split())
    assert "`market: on-demand`" not in " ".join(text.split())


@pytest.mark.parametrize("plan", [True, False], ids=["plan", "run"])
def test_a_refusal_before_anything_is_made_names_the_keys_of_the_file(
    pytester: pytest.Pytester, run: Run, plan: bool
) -> None:
    """The plan and the run end with the same advice about the image, by the key that such a file has for it."""
    config = NO_SPOT["gce"][0] + "gce_image_db: projects/debian-cloud/global/images/none-of-that-name\n"
    pytester.makepyfile("def test_it(capacity_nodes): pass")
    result = run("--capacity-emulator", *(["--capacity-plan"] if plan else []), config=config)
    assert result.ret == 1
    words = " ".join(result.stdout.str().split())
    assert "Correct gce_image_db, or the group's" in words
    assert "gce.image" not in words


def test_what_the_file_has_no_key_for_is_said(run_on: Run, cloud: Emulator) -> None:
    """A zone without a subnet is left out of the plan with the key of ours that would help, and that it is ours."""
    remove_default_subnet(cloud, "us-east-1a")
    result = run_on("--capacity-plan", config=NO_SPOT["aws"][0] + "fallback_to_next_availability_zone: true\n")
    assert result.ret == 0
    words = " ".join(result.stdout.str().split())
    assert "left out: us-east-1a: the zone has no default subnet" in words
    assert "(A file of scylla-cluster-tests has no aws.subnets: that needs one in this plugin's own keys)" in words
