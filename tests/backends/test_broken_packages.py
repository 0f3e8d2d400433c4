"""What the author of a backend reads where the package is at fault; runs of other backends are not concerned."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_capacity import backends
from pytest_capacity.config.loading import load
from pytest_capacity.config.source import Overrides
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Request

PACKAGE: Final = """
from pytest_capacity.backends.base import Backend, Provider
from pytest_capacity.backends.static.backend import StaticBackend


class Lab(Provider):
    title, opens = "the lab", StaticBackend

    def __init__(self, name):
        self.name = name

    def open(self, request):
        return self.opens(request)


class Half(Backend):
    def __init__(self, request):
        self.name, self.default_user = request.backend, "user"
        self.batch, self.leased, self.leftovers = {}, frozenset(), frozenset()


class Without:
    def __init__(self, request):
        self.whole = StaticBackend(request)

    def __getattr__(self, name):
        if name in ("release", "batch"):
            raise AttributeError(name)
        return getattr(self.whole, name)


class Fails(Lab):
    def opens(self, request):
        return request.no_such_field


class Imports(Lab):
    def opens(self, request):
        import no_such_sdk.client


class Settings(Lab):
    def read_section(self, section, faults):
        return None


class Objects(Lab):
    def read_section(self, section, faults):
        return {"key": object()}


lab, fails, imports = Lab("lab"), Fails("fails"), Imports("imports")
settings, objects = Settings("settings"), Objects("objects")
half, without = Lab("half"), Lab("without")
half.opens, without.opens = Half, Without
nothing, other = None, Lab("another")
parts, dotted = Lab("parts"), Lab("my.lab-2")
parts.modules = ("no_such_sdk.client",)
"""
NAMES: Final = ("lab", "fails", "imports", "settings", "objects", "half", "without", "nothing", "other", "parts")


def forget() -> None:
    """What is installed is looked up anew."""
    for cached in (backends.providers, backends.provider, backends.file_variables, backends.environment_prefixes):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that has several providers, few of them good, and one whose module raises when it is imported."""
    (tmp_path / "company_labs.py").write_text(PACKAGE)
    (tmp_path / "company_fault.py").write_text("raise ValueError('LAB_URL is not set')\n")
    info = tmp_path / "company_labs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: company-labs\nVersion: 1.0\n")
    points = [f"{name} = company_labs:{name}" for name in NAMES]
    points += ["kind = company_labs:Lab", "fault = company_fault:PROVIDER", "my.lab-2 = company_labs:dotted"]
    (info / "entry_points.txt").write_text("\n".join([f"[{backends.GROUP}]", *points]))
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    yield
    monkeypatch.undo()
    for name in ("company_labs", "company_fault"):
        sys.modules.pop(name, None)
    forget()


def request_of(name: str, **values: Any) -> Request:
    """The request of a configuration with that backend."""
    groups: Mapping[str, Any] = {"db": {"count": 1, "instance_type": "big"}}
    wanted = {"backend": name, "regions": ["lab"], "groups": groups, **values}
    return load(Overrides(), clouds=backends.INSTALLED, path=None, environ={}, values=wanted)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "fault",
            "company_fault:PROVIDER (of company-labs) cannot be loaded: ValueError: LAB_URL is not set. Install or",
        ),
        ("kind", "company_labs:Lab (of company-labs) is a class, not an object of a class that inherits from Provider"),
        ("nothing", "company_labs:nothing (of company-labs) is a NoneType, not an object of a class that inherits"),
        ("other", "company_labs:other (of company-labs) has the name 'another', and its entry point has another."),
        (
            "settings",
            "its provider made what is no plain data of a request: Expected `object`, got `null` - at `$.settings`",
        ),
        (
            "objects",
            "its provider made what is no plain data of a request: Encoding objects of type object is unsupported",
        ),
    ],
)
def test_a_provider_at_fault_is_a_fault_of_the_configuration(name: str, words: str) -> None:
    """Named are the backend, the package and what is wrong."""
    with pytest.raises(ConfigError) as caught:
        request_of(name)
    assert f"backend {name!r}: {words}" in caught.value.faults[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "fails",
            "backend 'fails' cannot be opened: AttributeError: 'Request' object has no attribute 'no_such_field' (",
        ),
        ("imports", "backend 'imports' needs the module 'no_such_sdk', which is not installed here: install what"),
        ("half", "backend 'half': Half has no whoami, regions, offers, family, plan, create, change, refresh, "),
        ("without", "backend 'without': Without has no batch, release (pytest_capacity.backends.base.Backend)"),
    ],
)
def test_a_backend_at_fault_is_told_before_any_call(name: str, words: str) -> None:
    """A method that is left out, or inherited from the protocol, would be met only when it is called."""
    with pytest.raises(ConfigError) as caught:
        backends.open_backend(request_of(name))
    assert words in caught.value.faults[0]


def test_the_place_of_a_fault_is_named() -> None:
    """File and line."""
    with pytest.raises(ConfigError) as caught:
        backends.open_backend(request_of("fails"))
    line = PACKAGE.splitlines().index("        return request.no_such_field") + 1
    assert f"company_labs.py:{line})" in caught.value.faults[0]


def test_a_fault_in_one_package_concerns_no_other_backend() -> None:
    """What is collected of all providers leaves out those that cannot be loaded."""
    assert "AWS_CONFIG_FILE" in backends.file_variables()
    assert "AWS_" in backends.environment_prefixes()
    assert backends.open_backend(request_of("lab")).regions()


def test_a_name_may_have_dots_and_dashes() -> None:
    """It is the value of ``backend:``, and the key of the section."""
    request = request_of("my.lab-2", **{"my.lab-2": {}})
    assert (request.backend, backends.open_backend(request).name) == ("my.lab-2", "static")


def test_what_another_package_requires_is_no_extra_of_ours() -> None:
    """Also where the missing module is in a package that is missing itself."""
    words = "which is not installed here: install what company_labs:parts (of company-labs) requires"
    assert backends.missing_extra("parts") == f"'parts' needs the module 'no_such_sdk.client', {words}"
