"""A run with databases, from pytest through the keeper to a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from pytest_capacity.emulator.kubernetes.script import Script
from tests.emulated import ROOT
from tests.scaling.clusters import Served
from tests.scaling.conftest import create

CLI = (sys.executable, "-c", "import sys; from pytest_capacity.cli import main; sys.exit(main())")

PLUGINS = ("-p", "no:cacheprovider", "-p", "capacity", "-p", "xdist", "-p", "no:randomly")

CONFIG = """
backend: static
project: tests
kubernetes: {kubeconfig: kubeconfig.yaml}
scaling: {interval: 1s}
databases:
  cart: {engine: postgres, version: "16.4", replicas: 3, size: db.t3.small, storage_gb: 5}
"""

#: A module beside the tests.
KEEPERS = """
import os

def keeper():
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = open(f"/proc/{entry}/cmdline").read()
            parent = open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()[1]
        except OSError:
            continue
        if "pytest_capacity.keeper.__main__" in command and int(parent) == os.getpid():
            return int(entry)
    raise AssertionError("no keeper")
"""


@pytest.fixture
def suite(
    pytester: pytest.Pytester, served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> pytest.Pytester:
    """A suite whose kubeconfig names the served cluster, on which time passes as it does here."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    served.clock.runs = True
    # A test sees that a change is under way: it takes longer than two calls do on a loaded machine.
    served.cluster.script = Script(step_s=4.0, provision_s=0.3)
    create(served, "mongodb")
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": served.url}}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "default"}}],
    }
    (pytester.path / "kubeconfig.yaml").write_text(yaml.safe_dump(kubeconfig))
    (pytester.path / "capacity.yaml").write_text(CONFIG)
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_subprocess(*PLUGINS, *arguments, timeout=240)


def ours(served: Served) -> list[str]:
    with served.lock:
        return [one["id"] for one in served.cluster.held() if "orders" not in one["id"]]


TESTS = """
import asyncio
import pytest
from pytest_capacity.errors import KubeDBError


def test_a_database_of_the_run(capacity):
    cart = capacity.database("cart")
    assert (cart.engine, cart.namespace) == ("postgres", "default")
    result = cart.patch(replicas=5)
    assert result["ops_type"] == "HorizontalScaling"
    assert result["replicas"] == 5
    assert cart.status.status == "SCALING"
    (request,) = result.wait(120)
    assert request.outcome == "successful"
    assert cart.status.status == "RUNNING"


def test_one_that_is_there_already(capacity):
    orders = capacity.database("orders", engine="mongodb")

    async def scale():
        result = await orders.patch_async(replicas=5, size="db.t3.medium")
        return await result.wait_async(120)

    assert [request.kind for request in asyncio.run(scale())] == ["HorizontalScaling", "VerticalScaling"]
    assert len(orders.requests) == 2


def test_errors(capacity):
    orders = capacity.database("orders", engine="mongodb")
    with pytest.raises(KubeDBError, match="volumes never shrink"):
        orders.patch(storage_gb=1)
    with pytest.raises(KubeDBError, match="no database 'nothing' is configured"):
        capacity.database("nothing")
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_suite_scales_databases_and_leaves_none(
    suite: pytest.Pytester, served: Served, workers: tuple[str, ...]
) -> None:
    """Provisioned once for all workers, scaled, shown as it happens, and given back; the journal has it all."""
    suite.makepyfile(TESTS)
    result = run(suite, *workers)
    result.assert_outcomes(passed=3)
    assert ours(served) == []
    text = result.stdout.str()
    assert "database cart: asking for postgres cart-" in text
    assert "postgres/default/cart-" in text
    assert "HorizontalScaling" in text
    assert "(replicas 5)" in text
    assert "database cart: cart-" in text
    assert sum(operation == "CreatePostgres" for operation, _ in served.calls) == 1
    listed = subprocess.run([*CLI, "ops", "ls", "--json"], capture_output=True, text=True, check=True)
    requests = json.loads(listed.stdout)
    assert [request["outcome"] for request in requests] == ["successful"] * 3
    assert {request["target"] for request in requests} >= {"mongodb/default/orders"}


def test_a_killed_suite_leaves_no_database(suite: pytest.Pytester, served: Served) -> None:
    """pytest dies while a scaling is under way: the keeper gives the database back; the journal says how it stood."""
    served.cluster.script = Script(step_s=600.0)
    suite.makepyfile(
        """
        import os, signal

        def test_dies(capacity):
            capacity.database("cart").patch(replicas=5)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    result = run(suite)
    assert result.ret != 0
    wait_for(lambda: not ours(served))
    (request,) = wait_for(lambda: [one for one in ops() if one["outcome"]])
    assert request["outcome"] == "left"


def ops() -> list[dict[str, Any]]:
    listed = subprocess.run([*CLI, "ops", "ls", "--json"], capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(listed.stdout) if listed.stdout.startswith("[") else []
    return found


T = TypeVar("T")


def wait_for(what: Callable[[], T]) -> T:
    """Return what ``what`` gives as soon as it is something."""
    end = time.monotonic() + 120
    while not (found := what()):
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.2)
    return found


def test_the_embedded_emulator_has_the_cluster_too(suite: pytest.Pytester, served: Served) -> None:
    """With --capacity-emulator a run reaches no cluster that the file names, and its scenario scripts the operator."""
    (suite.path / "scenario.yaml").write_text(yaml.safe_dump({"own": {"kubernetes": {"step_s": 0.2}}}))
    suite.makepyfile(
        """
        def test_scales(capacity):
            cart = capacity.database("cart")
            cart.patch(size="db.t3.large").wait(120)
            assert cart.status.status == "RUNNING"
        """
    )
    result = run(suite, "--capacity-emulator=scenario.yaml")
    result.assert_outcomes(passed=1)
    assert "0 things bearing run" in result.stdout.str()
    assert served.calls == []


def test_tests_go_on_when_the_keeper_dies_under_a_scaling(suite: pytest.Pytester, served: Served) -> None:
    """Another keeper follows the request to its end, and gives the database back; nothing is made twice."""
    served.cluster.script = Script(step_s=3.0)
    suite.makepyfile(
        """
        import os, signal
        from keepers import keeper

        def test_survives(capacity):
            cart = capacity.database("cart")
            change = cart.patch(replicas=5)
            os.kill(keeper(), signal.SIGKILL)
            (request,) = change.wait(120)
            assert request.outcome == "successful"
            assert capacity.database("cart").name == cart.name
            cart.patch(size="db.t3.medium").wait(120)
        """,
        keepers=KEEPERS,
    )
    result = run(suite)
    result.assert_outcomes(passed=1)
    assert ours(served) == []
    assert sum(operation == "CreatePostgres" for operation, _ in served.calls) == 1
    assert sum(operation == "CreatePostgresOpsRequest" for operation, _ in served.calls) == 2
    assert [one["outcome"] for one in ops()] == ["successful", "successful"]


def test_an_abandoned_run_is_listed_and_given_back(suite: pytest.Pytester, served: Served) -> None:
    """pytest and its keeper are killed: `ls` shows the database, and `release` has it deleted by another keeper."""
    served.cluster.script = Script(step_s=60.0)
    suite.makepyfile(
        """
        import os, signal
        from keepers import keeper

        def test_dies(capacity):
            capacity.database("cart").patch(replicas=5)
            me, its_keeper = os.getpid(), keeper()
            if os.fork() == 0:
                os.kill(me, signal.SIGSTOP)  # Or it would start another keeper.
                os.kill(its_keeper, signal.SIGKILL)
                os.kill(me, signal.SIGKILL)
                os._exit(0)
            signal.pause()
        """,
        keepers=KEEPERS,
    )
    run(suite)
    assert len(ours(served)) == 4
    (seen,) = wait_for(lambda: [one for one in runs() if one["state"] == "abandoned"])
    assert [held["kind"] for held in seen["held"]] == ["database"]
    assert subprocess.run([*CLI, "release", seen["run"]], timeout=240, check=False).returncode == 0
    assert ours(served) == []
    assert [one["outcome"] for one in ops()] == ["left"]


def runs() -> list[dict[str, Any]]:
    """What `ls` says."""
    listed = subprocess.run([*CLI, "ls", "--json"], capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(listed.stdout)
    return found


def test_the_example_runs_without_a_cluster(pytester: pytest.Pytester, suite: pytest.Pytester) -> None:
    """As it stands in the repository."""
    for path in (ROOT / "examples/databases").iterdir():
        if path.is_file():
            shutil.copy(path, pytester.path)
    result = run(pytester, "--capacity-emulator=scenario.yaml")
    result.assert_outcomes(passed=3)
    assert "0 things bearing run" in result.stdout.str()
