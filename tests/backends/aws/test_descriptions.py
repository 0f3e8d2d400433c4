"""The SDK's descriptions of services are what botocore itself reads, from where it would read them."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import UnknownServiceError
from botocore.loaders import JSONFileLoader, Loader
from botocore.session import Session
from botocore.utils import parse_timestamp

from pytest_capacity.backends.aws.descriptions import parse_time, read_fast


def _loader() -> Loader:
    session = Session()
    read_fast(session)
    loader: Loader = session.get_component("data_loader")
    return loader


@pytest.mark.parametrize("name", ["ec2", "sts"])
def test_services_are_described_as_botocore_does(name: str) -> None:
    """The newest description of each service that we call, packed or not."""
    plain = Loader(file_loader=JSONFileLoader())
    assert _loader().load_service_model(name, "service-2") == plain.load_service_model(name, "service-2")


@pytest.mark.parametrize("name", ["sso", "sso-oidc", "signin", "ec2", "sts"])
def test_the_sdk_makes_the_clients_of_its_credentials(name: str) -> None:
    """Of SSO, of `aws login`, of roles: it makes them of the same session."""
    session = Session()
    if name not in session.get_available_services():
        pytest.skip(f"this botocore knows no {name} yet")
    read_fast(session)
    client = session.create_client(name, region_name="us-east-1", config=Config(signature_version=UNSIGNED))
    assert client.meta.service_model.service_name == name
    with pytest.raises(UnknownServiceError):
        session.create_client("ec3", region_name="us-east-1")


def test_plain_files_and_missing_ones(tmp_path: Path) -> None:
    """The endpoints are not packed; what is not there is None, as botocore's callers expect."""
    # A copy: what other tests of this process have read is kept, and used.
    copyfile(f"{Loader.BUILTIN_DATA_PATH}/endpoints.json", tmp_path / "endpoints.json")
    ours, path = _loader().file_loader, str(tmp_path / "endpoints")
    assert ours.load_file(path) == JSONFileLoader().load_file(path)
    assert ours.load_file(f"{path}-of-nobody") is None


def test_the_users_own_descriptions_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_DATA_PATH, with ~ and variables in it, stands before what comes with botocore."""
    described = tmp_path / "models" / "ec2" / "2999-12-31"
    described.mkdir(parents=True)
    (described / "service-2.json").write_text('{"metadata": {"ours": true}}')
    monkeypatch.setenv("MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("AWS_DATA_PATH", "/nowhere:$MODELS")
    loader = _loader()
    assert loader.determine_latest_version("ec2", "service-2") == "2999-12-31"
    assert loader.load_service_model("ec2", "service-2") == {"metadata": {"ours": True}}


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-29T13:00:00.000Z",
        "2026-11-29T13:00:00.123456Z",
        "2026-11-29T13:00:00Z",
        "2026-11-29T13:00:00+02:00",
        "Sun, 29 Nov 2026 13:00:00 GMT",
        "29 Nov 2026 13:00:00Z",
        "20261129",
        "1795000000",
        1795000000.5,
    ],
)
def test_times_are_those_that_botocore_reads(value: Any) -> None:
    """ISO 8601 as EC2 and STS write it, and the other forms that services of AWS use."""
    assert parse_time(value) == parse_timestamp(value)


def test_what_is_no_time_is_refused_as_botocore_does() -> None:
    """Its words, of a text that looks like a time at its end."""
    with pytest.raises(ValueError, match='Invalid timestamp "soonZ"'):
        parse_time("soonZ")


def test_answers_are_read_with_these_times() -> None:
    """A client of the session parses the times of its answers so: botocore's own parser has a UTC of its own."""
    session = Session()
    read_fast(session)
    shape = session.get_service_model("ec2").operation_model("DescribeInstances").output_shape
    body = (
        b"<DescribeInstancesResponse><reservationSet><item><instancesSet><item>"
        b"<launchTime>2026-11-29T13:00:00.000Z</launchTime>"
        b"</item></instancesSet></item></reservationSet></DescribeInstancesResponse>"
    )
    parser = session.get_component("response_parser_factory").create_parser("ec2")
    answer = parser.parse({"status_code": 200, "headers": {}, "body": body}, shape)
    launched = answer["Reservations"][0]["Instances"][0]["LaunchTime"]
    assert (launched.isoformat(), launched.tzinfo) == ("2026-11-29T13:00:00+00:00", UTC)
