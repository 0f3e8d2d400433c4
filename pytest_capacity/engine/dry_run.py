"""A plan: what a run would try, read from the cloud and the journal. Nothing is created, and nothing is written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Final

from msgspec.structs import replace

from pytest_capacity import ladder
from pytest_capacity.backends import provider
from pytest_capacity.backends.base import Backend, ReadsQuotas
from pytest_capacity.backends.wording import wording
from pytest_capacity.engine import messages
from pytest_capacity.engine.calls import asked, refused
from pytest_capacity.engine.climb import order_for
from pytest_capacity.engine.clock import Clock, Deadline
from pytest_capacity.engine.credentials import check_account, who_we_are
from pytest_capacity.engine.offers import READING, OfferReader, check_zones
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.journal import PassingJournal
from pytest_capacity.model import Diagnosis, Offer, Quota, Request, Topology
from pytest_capacity.preview import Plan, TopologyPreview, as_rung, preview_topology

#: Reads at once.
_WIDTH: Final = 16


def make_plan(
    request: Request, backend: Backend, journal: PassingJournal, clock: Clock, which: Callable[[], str] = str
) -> Plan:
    """Read the account and, beside it, what the zones of all regions offer to all topologies; return the plan.

    Raises `Refused` with the cloud's words where it does not answer, for another account than the configured one, and
    for zones that the account does not have.
    """
    run_state = RunState(journal, request.run, clock)
    run_state.worded = wording(request)
    with ThreadPoolExecutor(_WIDTH, "capacity-read") as pool:
        reader = OfferReader(request, backend, run_state, clock, pool)
        for name in request.topologies:
            reader.ahead(name)
        quotas = _quotas_ahead(request, backend, pool)
        deadline = Deadline(clock, threading.Event(), READING)
        identity = who_we_are(request, backend, clock, deadline)
        check_account(identity, provider(request.backend).account_setting(request))
        offers = {name: reader.read(name, deadline)[0] for name in request.topologies}
        allowed = _quotas(quotas, backend, run_state)
    check_zones(request, {region: zones for found in offers.values() for region, zones in found.items()})
    lately, now = run_state.refused_lately(messages.cloud(request, identity, which())), clock.now()

    def preview(name: str) -> TopologyPreview:
        topology, memory = request.topologies[name], provider(request.backend).memory
        found = preview_topology(topology, request, offers[name], lately, now, backend.family, memory, allowed)
        return replace(found, remarks=_remarks(request, backend, topology, found, offers[name], now))

    return Plan(
        backend=request.backend,
        account=identity.account,
        regions=request.regions,
        at=now,
        emulated=request.emulated,
        topologies={name: preview(name) for name in request.topologies},
        troubles=tuple(run_state.troubles),
    )


def _quotas_ahead(request: Request, backend: Backend, pool: Executor) -> dict[str, Future[Sequence[Quota]]]:
    """Begin to read what the quotas of each region allow, where the backend supports it."""
    if not isinstance(backend, ReadsQuotas):
        return {}
    wanted: dict[str, set[str]] = {}
    for topology in request.topologies.values():
        types = {type_ for group in topology.groups for type_ in (group.instance_type, *group.alternatives)}
        for region in ladder.regions(request, topology):
            wanted.setdefault(region, set()).update(types)
    return {region: pool.submit(backend.quotas, region, sorted(types)) for region, types in wanted.items()}


def _quotas(
    asked_for: Mapping[str, Future[Sequence[Quota]]], backend: Backend, run_state: RunState
) -> tuple[Quota, ...]:
    """Return what could be read. What could not is reported, and rules nothing out."""
    found: list[Quota] = []
    for region, future in asked_for.items():
        answer = asked(backend, future.result)
        if isinstance(answer, Diagnosis):
            run_state.trouble(str(refused(f"asked what the quotas of {region} allow", backend.name, answer)))
        else:
            found += answer
    return tuple(found)


def _remarks(
    request: Request,
    backend: Backend,
    topology: Topology,
    found: TopologyPreview,
    offers: Mapping[str, Sequence[Offer]],
    now: float,
) -> tuple[str, ...]:
    """Return what the pieces of the first placement have for the summary, each text once."""
    if not found.rungs:
        return ()
    rung, hard_end = as_rung(found.rungs[0]), now + request.duration_s
    order = order_for(request, topology, rung, offers, {}, attempt=1, lease_end=now, hard_end=hard_end)
    notes = [piece.note for planned in backend.plan(order) for piece in planned]
    return tuple(dict.fromkeys(filter(None, notes)))
