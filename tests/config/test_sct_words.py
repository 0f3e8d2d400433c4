"""Advice in the keys of scylla-cluster-tests, since a file that has these takes no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pytest_capacity.backends import INSTALLED, provider
from pytest_capacity.backends.wording import wording
from pytest_capacity.config.loading import _KEYS
from pytest_capacity.config.sct import _BESIDE
from pytest_capacity.config.sct_words import ALONE, in_their_advice
from pytest_capacity.model import Request

CLOUDS = ("aws", "azure", "gce", "oci")
REMEDIES = Path(__file__).parents[2] / "pytest_capacity" / "backends" / "remedies.yaml"
#: What of a group a file of ours sets by itself, besides the keys at its top.
OF_A_GROUP = ("placement_group", "ready", "instance_type", "count", "image")


def request(cloud: str, dialect: str) -> Request:
    """Of a run of this cloud; only what the wording looks at."""
    values = {"run": "r", "project": "p", "topologies": {}, "regions": (), "duration_s": 1.0, "timeout_s": 1.0}
    return Request(backend=cloud, dialect=dialect, **values)  # type: ignore[arg-type]


def advice(cloud: str) -> Iterator[str]:
    """Every remedy that a run on this cloud can show."""
    file = provider(cloud).errors_file
    assert file is not None
    table = yaml.safe_load(file.read_text(encoding="utf-8"))
    yield from yaml.safe_load(REMEDIES.read_text(encoding="utf-8")).values()
    yield from table["remedies"].values()
    yield from filter(None, (row.get("remedy") for row in table["rows"]))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_remedy_names_a_key_that_the_file_cannot_have(cloud: str) -> None:
    """In every remedy of every cloud our keys are replaced, or named as keys that such a file has not."""
    ours = {*_KEYS, *OF_A_GROUP, *INSTALLED.names()}.difference(_BESIDE)
    told = wording(request(cloud, "sct"))
    changed = 0
    for words in advice(cloud):
        said, _, rest = told(words).partition(" (A file of scylla-cluster-tests has no ")
        lacking = rest.partition(":")[0].split(", ")
        spans = {re.split(r"[:. ]", span)[0] for span in re.findall(r"`([^`]*)`", said)}
        # The command line of AWS is called so too.
        wrong = {key for key in spans & ours if key not in lacking} - {"aws", "oci"}
        wrong |= {key for key in re.findall(rf"(?<![\w./-]){cloud}\.[a-z_]+\b", said) if key not in lacking}
        assert wrong == set(), said
        assert told(told(words)) == told(words)
        changed += told(words) != words
    assert changed >= 5


@pytest.mark.parametrize("cloud", CLOUDS)
def test_advice_to_a_file_of_ours_stays_as_it_is(cloud: str) -> None:
    """The same remedies are not touched where the file has our keys."""
    told = wording(request(cloud, "own"))
    assert [told(words) for words in advice(cloud)] == list(advice(cloud))


@pytest.mark.parametrize(
    ("cloud", "ours", "theirs"),
    [
        ("aws", "Add zones, or write `market: on-demand`", "Add zones, or write `instance_provision: on_demand`"),
        ("aws", "or write `market:\n    on-demand`; see", "or write `instance_provision: on_demand`; see"),
        ("aws", "set `reserve: false` for the group", "set `use_capacity_reservation: false`"),
        ("gce", "set `reserve: false` for the group", "set `gce_use_capacity_reservation: false`"),
        ("azure", "cannot be reserved: write `reserve: false`", "cannot be reserved: write "
         "`azure_use_capacity_reservation: false`"),
        ("oci", "write `reserve: false` for one of them", "write `oci_use_capacity_reservation: false`"),
        ("aws", "Write `backend: aws`, or `regions: [us-east-1]`", "Write `cluster_backend: aws`, or "
         "`region_name: us-east-1`"),
        ("gce", "Write `backend: gce`, or `regions: [us-east1]`", "Write `cluster_backend: gce`, or "
         "`gce_datacenter: us-east1`"),
        ("oci", "`zones` are AD-1", "`availability_zone` are AD-1"),
        ("gce", "or let nodes fall back (`fallback: {spot_to_on_demand: true}`)", "or let nodes fall back "
         "(`instance_provision_fallback_on_demand: true`)"),
        ("aws", "us-esat-1: Correct regions", "us-esat-1: Correct region_name"),
        ("gce", "Correct the name, or gce.project", "Correct the name, or gce_project"),
        ("gce", "Correct gce.image, or the group's", "Correct gce_image_db, or the group's"),
        ("azure", "azure.capacity_reservation_group: G is full", "azure_capacity_reservation_group: G is full"),
        ("oci", "in compartment C (oci.compartment)", "in compartment C (oci_compartment_id)"),
        ("aws", "Correct aws.iam_instance_profile: the name", "Correct aws_instance_profile_name_db: the name"),
        ("aws", "Correct aws.root_volume or aws.volumes", "Correct root_disk_size_db or data_volume_disk_num"),
        ("aws", "Correct it in capacity.yaml", "Correct it in the configuration"),
        ("aws", "Write `ssh: true` and `colocate: zone`", "Write `ssh: true` and `colocate: zone`"),
        ("gce", "docs/how-to/gce.md, gce.example.com", "docs/how-to/gce.md, gce.example.com"),
        ("aws", "visit https://aws.amazon.com/pp", "visit https://aws.amazon.com/pp"),
        ("aws", "Name a subnet (aws.subnets), or free some.", "Name a subnet (aws.subnets), or free some. (A file of "
         "scylla-cluster-tests has no aws.subnets: that needs one in this plugin's own keys)"),
        ("oci", "take it out of use_reservations", "take it out of use_reservations. (A file of scylla-cluster-tests "
         "has no use_reservations: that needs one in this plugin's own keys)"),
        ("aws", "have it replaced (`on_preempt: replace`)", "have it replaced (`on_preempt: replace`). (A file of "
         "scylla-cluster-tests has no on_preempt: that needs one in this plugin's own keys)"),
    ],
)  # fmt: skip
def test_what_is_said_instead(cloud: str, ours: str, theirs: str) -> None:
    """The cloud's own key where it has one; names of files and hosts are no keys."""
    assert in_their_advice(ours, provider(cloud)) == theirs


def test_what_the_file_cannot_have_is_no_key_of_scylla_cluster_tests() -> None:
    """The list is of our keys, and of none that goes beside theirs."""
    assert set(ALONE) <= {*_KEYS, *OF_A_GROUP}
    assert not set(ALONE) & set(_BESIDE)
