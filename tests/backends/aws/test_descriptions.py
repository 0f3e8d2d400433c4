"""The SDK's descriptions of services are what botocore itself reads, from where it would read them."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import UnknownServiceError
from botocore.loaders import JSONFileLoader, Loader
from botocore.session import Session

from pytest_capacity.backends.aws.descriptions import read_fast


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
