"""What the names of instance types say, held against what the emulator knows of each type."""

from __future__ import annotations

import pytest

from pytest_capacity.backends.aws.backend import open_aws as open
from pytest_capacity.backends.aws.types import family, is_arm
from tests.backends.aws.orders import group, request

STANDARD = "Standard (A, C, D, H, I, M, R, T, Z)"


def test_every_type_has_the_processor_that_its_name_says() -> None:
    """Hundreds of them, by AWS's own description of each."""
    # Here, since it takes a second, which every process that collects the tests would wait for.
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    described = {
        name: any(one.startswith("arm64") for one in type_["ProcessorInfo"]["SupportedArchitectures"])
        for name, type_ in INSTANCE_TYPES.items()
    }
    assert len(described) > 500
    assert {name: is_arm(name) for name in described} == described


@pytest.mark.parametrize(("type_", "arm"), [("p6e-gb200.36xlarge", True), ("mac1.metal", False), ("nonsense", None)])
def test_names_that_are_not_like_others_are_read_too(type_: str, arm: bool | None) -> None:
    """One that cannot be read says nothing."""
    assert is_arm(type_) is arm


@pytest.mark.parametrize(
    ("type_", "quota"),
    [
        ("a1.large", STANDARD),
        ("i4i.large", STANDARD),
        ("im4gn.large", STANDARD),
        ("m7i-flex.large", STANDARD),
        ("z1d.large", STANDARD),
        ("g5.xlarge", "G and VT"),
        ("gr6.4xlarge", "G and VT"),
        ("vt1.3xlarge", "G and VT"),
        ("f2.6xlarge", "F"),
        ("p5en.48xlarge", "P"),
        ("inf2.xlarge", "Inf"),
        ("trn1n.32xlarge", "Trn"),
        ("x2gd.large", "X"),
        ("dl1.24xlarge", "DL"),
        ("hpc7g.4xlarge", "HPC"),
        ("u-6tb1.metal", "High Memory"),
        ("u7in-16tb.224xlarge", "High Memory"),
        ("mac2-m2pro.metal", "Mac"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_type_counts_against_the_quota_of_its_family(type_: str, quota: str) -> None:
    """Types with equal words share one, so one of them refused is all of them refused."""
    assert family(type_) == open(request(group("db", "i4i.large"))).family(type_) == quota
