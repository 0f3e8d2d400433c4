"""Brings the nodes up and down as the World's machines come and go."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
import traceback
from collections.abc import Collection
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from pytest_capacity.emulator.nodes.homes import Home, Homes, end_processes
from pytest_capacity.emulator.things import FOREVER, Machine
from pytest_capacity.emulator.user_data import says_line
from pytest_capacity.emulator.world import World

if TYPE_CHECKING:
    from pytest_capacity.emulator.nodes.node import Node

#: Lines of user data that let cloud-init fail, or end with errors that it goes on after.
CLOUD_INIT_ERROR: Final = "# emulator: cloud-init error"
CLOUD_INIT_DEGRADED: Final = "# emulator: cloud-init degraded"
#: Seconds until what failed (no file descriptor left) is tried again.
AGAIN_S: Final = 1.0
#: How long the emulator's other threads wait for the nodes' own.
PATIENCE_S: Final = 10.0


class Fleet:
    """All nodes, on one thread with an event loop, which starts with the first machine that is given a key.

    The World signals when machines may have changed; the loop then looks, and again when the next one is due.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._nodes: dict[str, Node] = {}
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._missing = False
        world.on_turn.append(self._turn)

    def doors(self) -> dict[str, dict[str, Any]]:
        """Return what ``GET /_world/ssh`` answers: where machines are reached. The caller holds the lock."""
        self._world.settle()
        now = self._world.clock.now()
        machines = [] if self._missing else self._world.machines.values()
        return {
            one.id: {"address": "127.0.0.1", "port": one.node.port if one.node is not None else None}
            for one in machines
            if one.public_keys and one.stage(now) in ("starting", "running")
        }

    def follow(self) -> None:
        """Wait until the nodes of machines that are gone are gone too. Not with the World's lock held."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(PATIENCE_S)

    def close(self) -> None:
        """End every node; nothing of them is left."""
        if self._loop is not None:
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(PATIENCE_S)

    def _turn(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)
        elif self._thread is None and any(one.public_keys for one in self._world.machines.values()):
            self._start()

    def _start(self) -> None:
        if self._missing:
            return
        if find_spec("asyncssh") is None:
            self._missing = True
            words = f"machines have no SSH server: asyncssh is not installed in {sys.prefix}"
            print(f"pytest-capacity emulator: {words}; install it there, and start again", file=sys.stderr)
            return
        leave_out_late_accepts()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="nodes", daemon=True)
        self._thread.start()

    async def _serve(self) -> None:
        self._wake = asyncio.Event()
        self._busy = asyncio.Lock()
        self._homes = Homes()
        self._loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            try:
                due_s = await self._look()
            except Exception:  # noqa: BLE001 - the edge of a thread: the other nodes go on
                traceback.print_exc()
                due_s = AGAIN_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), due_s)

    async def _look(self) -> float | None:
        """Do what is due; return the seconds until something is again, as things are now."""
        await self._leave()
        async with self._busy:
            with self._world.lock:
                now = self._world.clock.now()
                machines = [one for one in self._world.machines.values() if one.public_keys]
            for one in machines:
                if one.stage(now) == "running":
                    await self._advance(one, now)
        coming = [at - now for one in machines for at in _turns(one) if now < at < FOREVER]
        return min(coming, default=None)

    async def _leave(self) -> None:
        """End the nodes of machines that run no more, and of those of a World that was emptied."""
        async with self._busy:
            with self._world.lock:
                self._world.settle()
                now = self._world.clock.now()
                running = {one.id for one in self._world.machines.values() if one.stage(now) == "running"}
            self._close([node for id_, node in self._nodes.items() if id_ not in running])

    async def _advance(self, one: Machine, now: float) -> None:
        node = self._nodes.get(one.id)
        if node is None:
            node = self._nodes[one.id] = self._make(one)
        if node.port is None and now >= one.running_at + one.ssh_delay_s:
            await node.open()
        if not node.cloud_init_ended and now >= one.running_at + one.cloud_init_s:
            node.end_cloud_init(_end_of_cloud_init(one.user_data))

    def _make(self, one: Machine) -> Node:
        # Here, and not above: an emulator whose machines have no key need not load asyncssh.
        from pytest_capacity.emulator.nodes.node import Node

        node = Node(
            one,
            Home(self._homes.root / re.sub(r"[^A-Za-z0-9_-]+", "-", one.id).strip("-")),
            asked=lambda word, minutes: self._asked(one, word, minutes),
            route=self._route,
            clock=self._now,
        )
        one.node = node
        return node

    def _close(self, nodes: Collection[Node]) -> None:
        for node in nodes:
            node.shut()
        end_processes([node.home for node in nodes])
        for node in nodes:
            node.close()
            del self._nodes[node.id]

    async def _end(self) -> None:
        async with self._busy:
            self._close(list(self._nodes.values()))
            self._homes.remove()

    def _now(self) -> float:
        # A reset gives the World another clock.
        return self._world.clock.now()

    def _asked(self, one: Machine, word: str, minutes: float) -> None:
        if word == "reboot":
            asyncio.get_running_loop().call_later(minutes * 60, self._reboot, one.id)
            return
        with self._world.lock:
            now = self._world.clock.now()
            one.shutdown_at = None if word == "cancel" else now + minutes * 60
            self._world.settle()
        self._wake.set()

    def _reboot(self, id_: str) -> None:
        node = self._nodes.get(id_)
        if node is not None:
            node.drop()
            end_processes([node.home])

    def _route(self, host: str, port: int) -> int | None:
        for node in self._nodes.values():
            if port == 22 and host in node.addresses:
                return node.port
        return None


def _end_of_cloud_init(user_data: bytes) -> str:
    """Return the line that cloud-init prints at its end."""
    if says_line(user_data, CLOUD_INIT_ERROR):
        return "error"
    return "degraded" if says_line(user_data, CLOUD_INIT_DEGRADED) else "done"


def _turns(one: Machine) -> list[float]:
    """Return the moments at which something of a machine changes by time alone."""
    at = one.running_at
    return [
        at,
        at + one.ssh_delay_s,
        at + one.cloud_init_s,
        one.leaving_at,
        one.stopping_at,
        FOREVER if one.shutdown_at is None else one.shutdown_at,
        FOREVER if one.taken_at is None else one.taken_at,
    ]


def leave_out_late_accepts() -> None:
    """Keep from standard error what Python says of a connection that is accepted while its server closes.

    A race in `asyncio.Server.close` (python/cpython#109564): the transport's ``__del__`` raises, though it has closed
    the connection. A node that goes away closes its port at any time.
    """
    others = sys.unraisablehook

    def hook(found: sys.UnraisableHookArgs, /) -> None:
        late = getattr(found.object, "__qualname__", "") == "_SelectorTransport.__del__"
        if not (late and isinstance(found.exc_value, TypeError)):
            others(found)

    sys.unraisablehook = hook
