"""What `pytest-capacity run` makes of its options."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pytest_capacity.cli.cloud import cloud_of
from pytest_capacity.cli.options import read_options
from pytest_capacity.cli.run import read_request
from pytest_capacity.errors import ConfigError
from tests.config.files import GOOD


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    file = tmp_path / "capacity.yaml"
    file.write_text(yaml.safe_dump(dict(GOOD)))
    return file


@pytest.mark.parametrize("prefix", ["--", "--capacity-"])
def test_the_ladder_is_set_by_flags(file: Path, prefix: str) -> None:
    """By our own names, and by pytest's."""
    given = ["run", "--config", str(file), f"{prefix}fallback", "spot,type", f"{prefix}retry-until", "1m", "--", "true"]
    request = read_request(read_options(given), {})
    fallback = request.fallback
    assert (fallback.spot_to_on_demand, fallback.zones, fallback.instance_types) == (True, False, True)
    assert request.retry_until_s == 60


def test_a_bad_flag_is_named_as_it_was_written(file: Path) -> None:
    """Both of them, at once."""
    given = ["run", "--config", str(file), "--fallback", "zones", "--retry-until", "soon", "--", "true"]
    with pytest.raises(ConfigError) as caught:
        read_request(read_options(given), {})
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["--fallback", "--retry-until"]


def test_what_will_not_work_for_ever_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error: standard output is the command's own."""
    file = tmp_path / "capacity.yaml"
    file.write_text(
        "cluster_backend: aws\nregion_name: us-east-1\nn_db_nodes: 1\ninstance_type_db: i4i.large\n"
        "ami_id_db_scylla: ami-0123456789abcdef0\naws_fallback_to_next_availability_zone: true\n"
    )
    assert read_request(read_options(["run", "--config", str(file), "--", "true"]), {}).fallback.zones
    said = capsys.readouterr()
    assert "aws_fallback_to_next_availability_zone: is deprecated" in said.err
    assert said.out == ""


@pytest.mark.parametrize("verb", ["allocations", "serve"])
def test_the_cloud_that_is_asked_is_that_of_the_file_that_is_named(file: Path, verb: str) -> None:
    """Of one file, or of several as `run` reads them."""
    other = file.with_name("other.yaml")
    other.write_text("zones: [us-east-1b]\n")
    one = cloud_of(read_options([verb, "--config", str(file)]))
    both = cloud_of(read_options([verb, "--config", str(file), "--config", str(other)]))
    assert [cloud.request.zones for cloud in (one, both) if cloud] == [(), ("us-east-1b",)]
