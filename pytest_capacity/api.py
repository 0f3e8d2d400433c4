"""Reservations without pytest: the interface that deployment code of long-running test frameworks asks for.

::

    from pytest_capacity import CapacityReservation

    params = {"backend": ..., "regions": [...], "groups": {"db": {"count": 3, ...}}, ...}
    reservation = CapacityReservation()
    if reservation.is_enabled(params):
        reservation.reserve(params)
        launch(capacity_reservation=reservation.get_id(zone, instance_type))
        ...
        reservation.cancel(params)

``params`` is what ``capacity.yaml`` holds, as a mapping, or the path of such a file. The reservations are held by a
keeper that belongs to the calling process: when the process ends, however it ends, they are cancelled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pytest_capacity.backends import INSTALLED, missing_extra, provider, providers
from pytest_capacity.config.loading import GIVEN, is_reserving, load
from pytest_capacity.config.reading import read_mapping
from pytest_capacity.config.source import Overrides
from pytest_capacity.errors import CapacityError, ConfigError
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.owner import Owner
from pytest_capacity.keeper.spawn import SpawnOptions
from pytest_capacity.model import Placed, Receipt, Request

Params = Mapping[str, Any] | str | os.PathLike[str]


class CapacityReservation:
    """The reservations of one run, which is the test id of ``params`` (``test_id:``), or one that is made up.

    Not for use from several threads at once. ``emulator`` runs against the built-in emulator.
    """

    def __init__(self, *, emulator: bool = False, keeper_python: str | None = None) -> None:
        self._emulator: Final = emulator
        # The keeper runs in another directory.
        named = str(Path(keeper_python).absolute()) if keeper_python and os.sep in keeper_python else keeper_python
        self._options: Final = SpawnOptions(python=named)
        self._owner: Owner | None = None
        self._params: Params = {}
        self._placed: list[Placed] = []

    def is_enabled(self, params: Params) -> bool:
        """Return whether ``params`` choose a backend and ask for reservations. Checks nothing else and makes no call.

        Raises `ConfigError` for a file that cannot be read (a mistyped path must not switch reservations off) and for
        a ``reserve`` that is neither true nor false.
        """
        if isinstance(params, Mapping):
            return is_reserving(params, GIVEN, INSTALLED)
        return is_reserving(read_mapping(Path(params)), os.fspath(params), INSTALLED)

    def reserve(self, params: Params) -> None:
        """Reserve what the groups of every topology need, in the first zone that has it; launch nothing.

        Raises `ConfigError`, `Exhausted` when no zone has it, `Refused`, or `KeeperError`; then nothing is held.
        """
        if self._owner:
            raise CapacityError("this run's capacity is reserved already. Cancel it first, or use another object")
        request = self._request(params)
        owner = self._begin(request)
        try:
            self._placed = [
                owner.call(protocol.Ask(topology=name, launch=False), protocol.Ready).placed
                for name in request.topologies
            ]
        except BaseException:
            # Ctrl-C too: what was got goes back when the keeper's owner is gone.
            owner.close()
            raise
        self._owner, self._params = owner, params

    def get_id(self, zone: str, instance_type: str) -> str:
        """Return the id of the reservation for ``instance_type`` in ``zone``: a letter or a name.

        Raises `CapacityError` that says what there is.
        """
        held = [reservation for placed in self._placed for reservation in placed.reservations]
        for reservation in held:
            if reservation.instance_type == instance_type and zone in (
                reservation.zone,
                reservation.zone.removeprefix(reservation.region).lstrip("-"),
            ):
                return reservation.id
        known = ", ".join(f"{one.instance_type} in {one.zone} ({one.id})" for one in held) or "none"
        raise CapacityError(
            f"no reservation for {instance_type} in {zone}. This run holds: {known}. "
            "Reserve first, or ask for one of these"
        )

    def cancel(self, params: Params) -> None:
        """Cancel the reservations that `reserve` made, and wait until the cloud lists none; ``params`` as then.

        Does nothing when nothing is reserved. Raises `CapacityError` that names what is left, and how to remove it.
        """
        if self._owner is None:
            return
        owner, self._owner, self._placed = self._owner, None, []
        try:
            receipt = owner.release(now=True)
        finally:
            owner.close()
        if isinstance(receipt, Receipt):  # No session: no other process shares it.
            _must_be_clean(receipt)

    def cancel_all_regions(self, test_id: str, params: Params | None = None) -> None:
        """Find everything that bears the run ``test_id`` in every region of the account, and remove it.

        The account is the one of ``params`` (default: `reserve`'s, else the environment's), and so is the ``project:``,
        which is part of what marks a thing as ours. Raises `CapacityError` that names what is left or was not read.
        """
        if self._owner and test_id == self._owner.run:
            self.cancel(self._params)
        elif self._owner and params is None:
            _must_be_clean(self._owner.call(protocol.CancelRun(run=test_id), protocol.Settled).receipt)
        else:
            owner = self._begin(self._request(params or self._params or _nothing(os.environ), fresh=True))
            try:
                receipt = owner.call(protocol.CancelRun(run=test_id), protocol.Settled).receipt
            finally:
                owner.close()
            _must_be_clean(receipt)

    def _request(self, params: Params, *, fresh: bool = False) -> Request:
        """Return the checked request. ``fresh``: of a run of its own, whatever ``params`` call theirs."""
        given = params if isinstance(params, Mapping) else None
        path = None if given is not None else Path(params)  # type: ignore[arg-type] # mypy does not follow `given`
        request = load(
            Overrides(emulator=self._emulator),
            clouds=INSTALLED,
            path=path,
            environ=os.environ,
            run=str(uuid4()) if fresh else None,
            values=given,
        )
        return provider(request.backend).with_environment(request, os.environ)

    def _begin(self, request: Request) -> Owner:
        owner = Owner(request, self._options, lambda _event: None)  # The keeper's log has the events.
        try:
            owner.start()
        except BaseException:
            owner.close()
            raise
        return owner


def _nothing(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return what is asked for where only something old is looked for: a topology that is never placed.

    In the one cloud whose SDK is installed; of several the one whose region the environment names. Raises `ConfigError`
    where that is none or not the only one.
    """
    clouds = [one for name in providers() if not (one := provider(name)).owns_machines and missing_extra(name) is None]
    named = [one for one in clouds if one.default_regions(environ)[0]] or clouds
    if len(named) != 1:
        there = ", ".join(one.name for one in clouds) or "none"
        raise ConfigError([f"params: it is not clear which cloud is meant; installed are: {there}. Give `params`"])
    cloud = named[0]
    group = {"count": 1, "instance_type": cloud.examples.instance_type, "image": cloud.examples.image}
    regions = cloud.default_regions(environ)[0] or (cloud.examples.region,)
    return {"backend": cloud.name, "regions": list(regions), "groups": {"none": group}}


def _must_be_clean(receipt: Receipt) -> None:
    if receipt.clean:
        return
    left = [f"{held.kind} {held.id} in {held.zone or held.region} ({held.state})" for held in receipt.left]
    unread = [f"{part.kind} in {part.region} could not be read: {part.why}" for part in receipt.unread]
    by_hand = [f"by hand: {command}" for command in receipt.by_hand]
    if receipt.unanswered:
        unread.append(f"{receipt.unanswered} create calls were not answered")
    raise CapacityError("\n".join([f"not everything of run {receipt.run} is gone:", *left, *unread, *by_hand]))
