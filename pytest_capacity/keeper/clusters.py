"""What a run scales: its node groups, and its databases in the configured cluster, or in the emulator's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_capacity.backends.emulator_secret import emulator_secret
from pytest_capacity.databases import KubernetesSettings
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.engine import Engine
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.journal import Journal
from pytest_capacity.keeper.loans import Loans
from pytest_capacity.model import Request
from pytest_capacity.scaling.nodes.provider import NodeGroups
from pytest_capacity.scaling.service import Connect, Scaling
from pytest_capacity.scaling.state import OpsState

if TYPE_CHECKING:
    from pytest_capacity.scaling.kubedb.client import Kubernetes


def scaling_of(
    request: Request, engine: Engine, state: RunState, journal: Journal, clock: Clock, loans: Loans
) -> Scaling:
    """Return what a run scales. ``request.endpoint`` is the emulator's where the run has one."""

    def nodes(requests: OpsState, on_end: Callable[[], None]) -> NodeGroups:
        return NodeGroups(engine, requests, loans, request.scaling.timeout_s, on_end)

    return Scaling(
        request,
        journal.events(request.run),
        state.intend,
        state.note,
        clock.now,
        clock.wait,
        lambda: engine.hard_end,
        _connector(request),
        nodes,
    )


def _connector(request: Request) -> Connect:
    """Return what opens the cluster; imports its client when it is called."""

    def connect(settings: KubernetesSettings) -> Kubernetes:
        from pytest_capacity.scaling.kubedb.client import Kubernetes

        # An emulated run reaches no cluster of the user's, whatever the file names.
        if request.emulated and request.endpoint:
            return Kubernetes.at(request.endpoint, emulator_secret(), settings.namespace)
        return Kubernetes.open(settings.kubeconfig, settings.context, settings.namespace)

    return connect
