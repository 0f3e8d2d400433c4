"""Which cluster a run's databases are in: the configured one, or the emulator's."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pytest_capacity.databases import KubernetesSettings
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.engine import Engine
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.journal import Journal
from pytest_capacity.model import Request
from pytest_capacity.scaling.service import Connect, Scaling

if TYPE_CHECKING:
    from pytest_capacity.scaling.kubedb.client import Kubernetes


def scaling_of(request: Request, engine: Engine, state: RunState, journal: Journal, clock: Clock) -> Scaling:
    """Return what a run scales. ``request.endpoint`` is the emulator's where the run has one."""

    def wait(seconds: float, wake: threading.Event) -> bool:
        return clock.wait(seconds, wake)

    return Scaling(
        request,
        journal.events(request.run),
        state.intend,
        state.note,
        clock.now,
        wait,
        lambda: engine.hard_end,
        _connector(request),
    )


def _connector(request: Request) -> Connect:
    """Return what opens the cluster; imports its client when it is called."""

    def connect(settings: KubernetesSettings) -> Kubernetes:
        from pytest_capacity.scaling.kubedb.client import Kubernetes, emulator_secret

        # An emulated run reaches no cluster of the user's, whatever the file names.
        if request.emulated and request.endpoint:
            return Kubernetes.at(request.endpoint, emulator_secret(), settings.namespace)
        return Kubernetes.open(settings.kubeconfig, settings.context, settings.namespace)

    return connect
