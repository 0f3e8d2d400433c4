"""One cloud, one room: no shared module names a cloud, and a cloud is found without one."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_capacity.backends import INSTALLED, file_variables, missing_extra, provider, providers
from pytest_capacity.backends.aws import PROVIDER as AWS
from pytest_capacity.backends.base import Provider
from pytest_capacity.backends.diagnosis import table_of
from pytest_capacity.backends.static import PROVIDER as STATIC
from pytest_capacity.config.loading import load
from pytest_capacity.config.source import Overrides
from pytest_capacity.errors import ConfigError
from pytest_capacity.install_advice import install_command
from tests.emulated import ROOT

PACKAGE: Final = ROOT / "pytest_capacity"

#: Names of clouds, of their services and SDKs, and the forms of their regions, types and ids. A word of a name counts,
#: too: what an underscore, a digit or a capital letter sets apart.
NAMES: Final = re.compile(
    r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))"
    r"(?i:aws|amazon|ec2|boto(?:core|3)?|arn|gce|gcp|google|gcloud|azure|arm(?!64)|oci|ocid\d?|oracle|openstack|blazar|nova"
    r"|keystone(?:auth1)?)(?![a-z])"
    r"|OS_AUTH|\b(?i:ami-|(us|eu)-?(east|west|central|north)|i4i\.|standard_|vm\.standard)"
)

#: Lines that name one all the same, and why. At most five.
ALLOWED: Final = {
    # The example of a hook, which a reader copies.
    "plugin/hookspecs.py": 1,
    # The header and the policy's names of the REST API that is specified: they go over the wire.
    "allocations/web/app.py": 3,
    # cloud-init begins the lines of its console so on every cloud.
    "emulator/nodes/node.py": 1,
}

#: Names that scylla-cluster-tests has for its settings: their clouds are in them, and an Oracle is its second database.
SCT_KEYS: Final = ("config/sct_keys.py", "config/sct_keys.txt")

#: The types of mypy say that each has all that a provider needs.
PROVIDERS: Final[tuple[Provider, ...]] = (AWS, STATIC)


def shared_files() -> list[Path]:
    """All that the package has but compiled code, less the folder of each cloud."""
    own = {
        path.parent for pattern in ("backends/*/provider.py", "emulator/*/face.py") for path in PACKAGE.glob(pattern)
    }
    found = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [path for path in found if not own & set(path.parents)]


def test_no_shared_file_names_a_cloud() -> None:
    """All that only one cloud knows stands in its folder: code, comments, tables and pages."""
    found: dict[str, list[str]] = {}
    for path in shared_files():
        name = str(path.relative_to(PACKAGE))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if name not in SCT_KEYS and NAMES.search(line):
                found.setdefault(name, []).append(f"{number}: {line.strip()}")
    assert {name: lines for name, lines in found.items() if len(lines) != ALLOWED.get(name)} == {}
    assert set(found) == set(ALLOWED)
    assert sum(ALLOWED.values()) <= 5


def test_shared_files_are_of_every_kind_and_room() -> None:
    """Only the clouds' own folders are left out, and not a room that has a module of the same name as theirs."""
    shared = {str(path.relative_to(PACKAGE)) for path in shared_files()}
    assert {
        "scaling/nodes/provider.py",
        "backends/remedies.yaml",
        "allocations/web/templates/allocations.html",
    } <= shared
    assert {"emulator/world.py", "emulator/nodes/node.py", "backends/base.py"} <= shared
    assert not [name for name in shared if re.match(r"(backends|emulator)/(aws|azure|gce|oci|blazar|static)/", name)]


def test_the_names_are_found() -> None:
    """The pattern is one that can fail: what stood in shared modules before."""
    for line in (
        "AWS_REGION",
        '"aws"',
        "an EC2 server",
        "us-east-1a",
        "ami-0123",
        "i4i.large",
        "botocore",
        "n2 of GCE",
        "class AwsProvider",
        "is_gce = name",
        "on_azure",
        "openAzure()",
        "OCI_REGION",
        "keystoneauth1",
        "ocid1.instance",
        "westeurope or useast2",
        "Standard_D4s_v5",
    ):
        assert NAMES.search(line), line
    for line in (
        "draws",
        "laws",
        "social",
        "associate",
        "warm",
        "harm",
        "armed",
        "RawSocket",
        "arm64",
        "standard",
        "renovate",
    ):
        assert not NAMES.search(line), line


def test_each_of_our_providers_is_an_entry_point() -> None:
    """The registry has one way to find a backend, ours or a company's; each bears the name of its folder."""
    folders = {path.parent.name for path in PACKAGE.glob("backends/*/provider.py")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = project["entry-points"]["pytest_capacity.backends"]
    assert declared == {name: f"pytest_capacity.backends.{name}:PROVIDER" for name in folders}
    assert folders <= set(providers())
    for name in folders:
        found = provider(name)
        assert (found.name, found.title != "") == (name, True)
        assert not found.modules or name in project["optional-dependencies"]
        if found.errors_file:
            assert table_of(name).rows


#: What a configuration of each backend needs, beside the regions of its examples.
CONFIGURED: Final[dict[str, dict[str, Any]]] = {
    "aws": {"aws": {"image": "ami-0123456789abcdef0"}},
    "azure": {"azure": {"image": "Canonical:ubuntu-24_04-lts:server:latest"}},
    "blazar": {"blazar": {"image": "70a599e0-31e7-49b7-b260-868f441e862b"}},
    "gce": {"gce": {"project": "tests-1"}},
    "oci": {"oci": {"compartment": "ocid1.compartment.oc1..aaaaexample", "image": "ocid1.image.oc1..aaaaexample"}},
    "static": {"groups": {"db": {"hosts": ["10.0.0.1"]}}},
}


@pytest.mark.parametrize("name", sorted(path.parent.name for path in PACKAGE.glob("backends/*/provider.py")))
def test_a_provider_loads_no_sdk(name: str) -> None:
    """pytest reads the configuration by it, and the header: neither the SDK nor the second face comes with that."""
    code = f"""
import contextlib, sys
from pytest_capacity.backends import INSTALLED, provider
from pytest_capacity.backends.diagnosis import table_of
from pytest_capacity.errors import ConfigError
from pytest_capacity.config.loading import load
from pytest_capacity.config.source import Overrides
one = provider({name!r})
values = {{"backend": one.name, **{CONFIGURED[name]!r}}}
if not one.owns_machines:
    group = {{"count": 1, "instance_type": one.examples.instance_type}}
    values |= {{"regions": [one.examples.region], "groups": {{"db": group}}}}
request = one.with_environment(load(Overrides(), clouds=INSTALLED, path=None, environ={{}}, values=values), {{}})
one.endpoint_of(request, {{}}), one.chosen_profile(request, {{}}), one.account_setting(request), one.memory("quota")
assert request.backend == {name!r}
assert not one.errors_file or table_of({name!r}).rows
print([module for module in one.modules if module in sys.modules])
print([module for module in sys.modules if module == "pytest_capacity.backends.{name}.backend"])
with contextlib.suppress(ConfigError):  # There are no credentials here.
    one.open(request)
print([module for module in one.modules if module in sys.modules][:1] == list(one.modules[:1]))
print("pytest_capacity.backends.{name}.backend" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["[]", "[]", "True", "True"], done.stderr


def test_listing_the_providers_imports_none() -> None:
    """The help of `--capacity-backend` names them; nothing is loaded for it."""
    code = """
import sys
from pytest_capacity.plugin.options import OPTIONS
(option,) = [option for option in OPTIONS if option.name == "backend"]
assert not any(name.startswith("pytest_capacity.backends") for name in sys.modules)
print(option.help % {})
print([name for name in sys.modules if name.startswith("pytest_capacity.backends.")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown, loaded = done.stdout.splitlines()
    assert f"(here: {', '.join(providers())})" in shown
    assert loaded == "[]"


def test_an_unknown_backend_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match=r"backend 'none' is not known here. What there is: aws, "):
        provider("none")


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the module that its provider wants."""
    monkeypatch.setattr(type(AWS), "modules", ("no_such_sdk",))
    words = missing_extra("aws")
    assert words == f"'aws' needs the module 'no_such_sdk', which is not installed here: {install_command('aws')}"
    assert missing_extra("static") is None


def test_variables_that_hold_paths_come_from_the_providers() -> None:
    """Of every one, since a keeper may be started for a run whose backend only its journal knows."""
    assert set(AWS.file_variables) <= set(file_variables())


LAB: Final = """
from pytest_capacity.backends.base import Examples, Provider


class Lab(Provider):
    name, title = "lab", "the lab"
    examples = Examples(region="berlin", instance_type="big", group="{count: 3, instance_type: big}")
    file_variables, environment_prefixes = ("LAB_TOKEN_FILE",), ("LAB_",)

    def default_regions(self, environ):
        return (), ""

    def read_section(self, section, faults):
        return dict(section.values)


PROVIDER = Lab()
"""


def test_a_company_can_ship_its_own(tmp_path: Path) -> None:
    """A package with an entry point is a backend: its section is read by it, and messages use its words."""
    (tmp_path / "company_lab.py").write_text(LAB)
    info = tmp_path / "company_lab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: company-lab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[pytest_capacity.backends]\n"
        "lab = company_lab:PROVIDER\nbad = company_lab:NOTHING\naws = company_lab:PROVIDER\n"
    )
    code = """
from pytest_capacity.backends import INSTALLED, file_variables, provider, providers
from pytest_capacity.config.source import Overrides
from pytest_capacity.config.loading import load
from pytest_capacity.errors import ConfigError
print(*providers())
values = {"backend": "lab", "regions": ["berlin"], "groups": {"db": {"count": 1, "instance_type": "big"}}}
values |= {"lab": {"rack": 7}, "aws": {"of": "another cloud"}}
request = load(Overrides(), clouds=INSTALLED, path=None, environ={}, values=values)
print(request.backend, dict(request.settings), request.regions, "LAB_TOKEN_FILE" in file_variables())
for changes in ({"regions": None}, {"backend": "bad"}):
    try:
        load(Overrides(), clouds=INSTALLED, path=None, environ={}, values={**values, **changes})
    except ConfigError as error:
        print(error.faults[0])
print(type(provider("aws")).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    names, request, no_region, bad, ours = done.stdout.splitlines()
    assert {"lab", "bad", "aws", "static"} <= set(names.split())
    assert request == "lab {'rack': 7} ('berlin',) True"
    assert no_region == "params: regions: no region is named. Write `regions: [berlin]`."
    assert bad.startswith("backend 'bad': company_lab:NOTHING (of company-lab) cannot be loaded: ")
    assert ours == "AwsProvider"


def test_a_file_may_hold_sections_of_several_clouds() -> None:
    """Of which the chosen one's counts; what is no provider's name is an unknown key, as ever."""
    values = {
        "backend": "aws",
        "regions": ["us-east-1"],
        "aws": {"image": "ami-0123456789abcdef0"},
        "static": {"whatever": 1},
        "groups": {"db": {"count": 1, "instance_type": "i4i.large", "static": {"x": 1}}},
    }
    request = load(Overrides(), clouds=INSTALLED, path=None, environ={}, values=values)
    assert request.settings == {"image": {"us-east-1": "ami-0123456789abcdef0"}}
    with pytest.raises(ConfigError, match=r"params: awz: is not a known key\. Did you mean aws?"):
        load(Overrides(), clouds=INSTALLED, path=None, environ={}, values={**values, "awz": {}})
