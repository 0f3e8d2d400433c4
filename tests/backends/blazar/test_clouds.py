"""Regions of several clouds: which entry of clouds.yaml each is of, and what a session is made of there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_capacity.backends.blazar.clouds import Cloud, read_cloud
from pytest_capacity.backends.blazar.settings import BlazarSettings
from pytest_capacity.backends.groups import plain
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Request, Topology

ONE: dict[str, Any] = {"auth": {"auth_url": "http://one/v3", "username": "me", "project_name": "p"}}
TWO: dict[str, Any] = {"auth": {"auth_url": "http://two/v3", "application_credential_id": "a"}, "insecure": True}


@pytest.fixture(autouse=True)
def _no_openstack(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the shell that runs the tests decide nothing."""
    for name in ("OS_CLIENT_CONFIG_FILE", "OS_CLOUD", "OS_AUTH_URL", "OS_REGION_NAME"):
        monkeypatch.delenv(name, raising=False)


def written(folder: Path, secure: dict[str, Any] | None = None, **clouds: dict[str, Any]) -> BlazarSettings:
    """The settings that name the file, and its first cloud."""
    (folder / "clouds.yaml").write_text(yaml.safe_dump({"clouds": clouds}))
    if secure is not None:
        (folder / "secure.yaml").write_text(yaml.safe_dump({"clouds": secure}))
    return BlazarSettings(cloud="one", clouds_file=str(folder / "clouds.yaml"))


def read(region: str, settings: BlazarSettings, endpoint: str | None = None) -> Cloud:
    """The cloud of a region."""
    request = Request(
        backend="blazar",
        run="run-1",
        project="tests",
        topologies={"default": Topology(())},
        regions=(region,),
        settings=plain(settings),
        endpoint=endpoint,
        duration_s=60.0,
        timeout_s=60.0,
    )
    return read_cloud(region, request, settings)


def test_a_region_is_of_the_cloud_before_the_slash(tmp_path: Path) -> None:
    """Without one it is of the section's; what the catalog is asked for is the name alone."""
    settings = written(tmp_path, one=ONE, two=TWO)
    first, second = read("RegionOne", settings), read("two/RegionTwo", settings)
    assert (first.auth["auth_url"], first.region, first.auth_type) == ("http://one/v3", "RegionOne", "password")
    assert (second.auth["auth_url"], second.region) == ("http://two/v3", "RegionTwo")
    assert (second.auth_type, second.verify) == ("v3applicationcredential", False)


def test_what_is_hidden_stands_in_another_file(tmp_path: Path) -> None:
    """secure.yaml is laid over the entry of the same name, and over its credentials key by key."""
    secure = {"one": {"auth": {"password": "secret"}, "cacert": "/ca.pem"}, "two": {"auth": {"password": "other"}}}
    found = read("RegionOne", written(tmp_path, secure, one={**ONE, "cacert": "/old.pem"}, two=TWO))
    assert found.auth == {**ONE["auth"], "password": "secret"}
    assert found.verify == "/ca.pem"


def test_an_endpoint_goes_before_every_cloud(tmp_path: Path) -> None:
    """A run that is told where its Keystone is goes nowhere else."""
    settings = written(tmp_path, one=ONE, two=TWO)
    for region in ("RegionOne", "two/RegionTwo"):
        assert read(region, settings, "http://127.0.0.1:1").auth["auth_url"] == "http://127.0.0.1:1"


def test_a_client_certificate_is_a_pair(tmp_path: Path) -> None:
    """Half of it is none."""
    whole = {**ONE, "cert": "/c.pem", "key": "/k.pem"}
    settings = written(tmp_path, one=whole, two={**TWO, "cert": "/c.pem"})
    assert read("RegionOne", settings).cert == ("/c.pem", "/k.pem")
    assert read("two/RegionTwo", settings).cert is None


def test_a_cloud_that_is_not_in_the_file(tmp_path: Path) -> None:
    """The message names those that are."""
    with pytest.raises(ConfigError, match=r"has no cloud 'three'. It has: one, two"):
        read("three/RegionOne", written(tmp_path, one=ONE, two=TWO))


def test_without_a_cloud_the_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the credentials, without the region's; without a Keystone it is said what is missing."""
    for name, value in {"AUTH_URL": "http://env/v3", "USERNAME": "me", "REGION_NAME": "R", "CACERT": "/c"}.items():
        monkeypatch.setenv(f"OS_{name}", value)
    found = read("RegionOne", BlazarSettings())
    assert (found.auth["auth_url"], found.auth["username"]) == ("http://env/v3", "me")
    assert not found.auth.keys() & {"region_name", "cacert"}
    assert found.verify == "/c"
    monkeypatch.delenv("OS_AUTH_URL")
    with pytest.raises(ConfigError, match="no Keystone is named"):
        read("RegionOne", BlazarSettings())


def test_an_empty_key_is_no_credential(tmp_path: Path) -> None:
    """As ``user_domain_name:`` without a value."""
    entry = {"auth": {**ONE["auth"], "user_domain_name": None}}
    assert "user_domain_name" not in read("RegionOne", written(tmp_path, one=entry)).auth
