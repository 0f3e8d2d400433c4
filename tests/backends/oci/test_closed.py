"""Nothing reaches Oracle where an emulator is used; and what a run calls is what the page of permissions has."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.oci.backend import OciBackend
from pytest_capacity.emulator.oci.face import CLUSTER_ROUTES, ROUTES
from pytest_capacity.model import Change
from tests.backends.oci.runs import DB, LOADER, REGION, SETTINGS, request
from tests.emulated import ROOT, Emulator
from tests.engine.runs import Bench, within

PAGE = ROOT / "docs/how-to/oci.md"


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every host that this process looks up or connects to, from now on."""
    hosts: list[str] = []
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def noted_look_up(host: Any, *rest: Any, **more: Any) -> Any:
        hosts.append(str(host))
        return look_up(host, *rest, **more)

    def noted_connect(self: socket.socket, address: Any) -> None:
        hosts.append(str(address[0] if isinstance(address, tuple) else address))
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", noted_look_up)
    monkeypatch.setattr(socket.socket, "connect", noted_connect)
    return hosts


def whole_run(bench: Bench, emulator: Emulator, **changes: Any) -> None:
    """A run that uses all that the backend has: network, report, lookups, renewal, console, a failure, a release."""
    out = {"error": "InternalError", "message": "Out of host capacity.", "late": True, "times": 1}
    emulator.weather(faults=[{"operation": "LaunchInstance", **out}])
    settings = replace(SETTINGS, public_ip=True, capacity_report=True)
    engine = bench.engine(request(emulator, replace(DB, placement_group=True), LOADER, settings=settings, **changes))
    placed = engine.provision("default")
    backend = open_backend(engine.request)
    assert isinstance(backend, OciBackend)
    assert backend.regions()
    # What was made in the zone before may be on its way out.
    for held in (one for one in engine.run_state.held() if one.zone == placed.zone):
        backend.change(held, Change(deadline=1_900_000_000.0))
    node = next(held for held in engine.run_state.held() if held.kind == "node" and held.group == "loader")
    backend.console(node)
    for change in (
        Change(disk_gb=100),
        Change(running=False),
        Change(instance_type="VM.Standard2.2", reservation_id=""),
        Change(running=True),
    ):
        backend.change(node, change)
    assert backend.disks([node]) == [100]
    assert list(backend.inventory("run-1", (REGION,)))
    assert engine.release(within(120)).clean


def test_nothing_reaches_oracle(
    bench: Bench, emulator: Emulator, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No name is looked up and no host is connected to but this machine, whatever proxies the environment has."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    whole_run(bench, emulator)
    assert set(reached) == {"127.0.0.1"}


def test_nothing_reaches_oracle_but_the_endpoint(
    bench: Bench, emulator: Emulator, reached: list[str], config_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an endpoint of the user's, and the user's own key, no other host is asked for anything."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OCI_CONFIG_FILE", config_file)
    whole_run(bench, emulator, emulated=False)
    assert set(reached) == {"127.0.0.1"}


def _operations(page: str) -> set[str]:
    section = page.partition("## Permissions")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([A-Z][a-z]+[A-Za-z]+)`", row)}


def test_the_page_has_every_permission(bench: Bench, emulator: Emulator) -> None:
    """Every operation of a run stands in the table, and every operation in the table is one of OCI's."""
    page = PAGE.read_text(encoding="utf-8")
    listed = _operations(page)
    whole_run(bench, emulator)
    called = {call["operation"] for call in emulator.calls()}
    assert called - listed == set()
    assert listed - {operation for _, _, operation, _ in (*ROUTES, *CLUSTER_ROUTES)} == set()
    assert len(called) > 30


def test_the_policy_covers_what_the_table_has() -> None:
    """Each kind of thing that the table has permissions for is in a statement of the policy."""
    page = PAGE.read_text(encoding="utf-8")
    statements = re.findall(
        r"^Allow group pytest-capacity to (\w+) ([a-z-]+) in (?:tenancy|compartment tests)$", page, re.M
    )
    covers = {
        "compartments": ("COMPARTMENT_",),
        "tenancies": ("TENANCY_",),
        "compute-capacity-reports": ("COMPUTE_CAPACITY_REPORT_",),
        "compute-capacity-reservations": ("CAPACITY_RESERVATION_",),
        "instance-family": ("INSTANCE_", "CONSOLE_HISTORY_"),
        "volume-family": ("VOLUME_",),
        "virtual-network-family": (
            "VCN_",
            "SUBNET_",
            "VNIC_",
            "SECURITY_LIST_",
            "INTERNET_GATEWAY_",
            "ROUTE_TABLE_",
            "NETWORK_SECURITY_GROUP_",
        ),
        "cluster-placement-groups": ("CLUSTER_PLACEMENT_GROUP_",),
        "work-requests": ("WORKREQUEST_",),
    }
    assert {kind for _, kind in statements} == set(covers)
    permissions = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", page))
    known = tuple(prefix for kind in covers.values() for prefix in kind)
    # Variables of the environment are written alike.
    assert {one for one in permissions if not one.startswith(("OCI_", *known))} == set()
    rows = {line.split("|")[1].strip(" `"): line for line in page.splitlines() if line.startswith("| `")}
    for operation in ("LaunchInstance", "UpdateInstance"):
        assert "CAPACITY_RESERVATION_LAUNCH_INSTANCE" in rows[operation]
    managed = {kind for verb, kind in statements if verb == "manage"}
    for kind, prefixes in covers.items():
        changes = [
            one for one in permissions if one.startswith(prefixes or "-") and one.endswith(("_CREATE", "_DELETE"))
        ]
        assert not changes or kind in managed, kind


def test_the_examples_are_valid(tmp_path: Path) -> None:
    """The configuration on the page, and that of the quick start, can be loaded."""
    from pytest_capacity.backends import INSTALLED
    from pytest_capacity.config.loading import load
    from pytest_capacity.config.source import Overrides

    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for text in (*blocks, (ROOT / "examples/quickstart/capacity.oci.yaml").read_text(encoding="utf-8")):
        (tmp_path / "capacity.yaml").write_text(text, encoding="utf-8")
        loaded = load(Overrides(), clouds=INSTALLED, path=tmp_path / "capacity.yaml", environ={})
        assert loaded.backend == "oci"
        assert {group.name for group in loaded.topologies["default"].groups} == {"db", "loader"}
