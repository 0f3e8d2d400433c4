"""What the stand-ins for Keystone, Nova and Placement share: users, hosts, aggregates, flavors, servers.

They do what blazar-manager 18.0.0 and a client of Nova need, with Nova's own rules for where a server may go: by an
aggregate's reservation, by the inventory of a reservation's resource class, and never onto a host of Blazar's pool
without a reservation.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

#: Hosts by zone; those of the last one are none of Blazar's.
ZONES: Final = {"az-a": ("compute-1", "compute-2"), "az-b": ("compute-3", "compute-4"), "az-free": ("compute-9",)}
FREE_ZONE: Final = "az-free"
FREEPOOL: Final = "freepool"
NO_VALID_HOST: Final = "No valid host was found. There are not enough hosts available."

#: Users by name: id, roles; projects by name: id.
USERS: Final = {
    "admin": ("a" * 32, ("admin", "member", "reader")),
    "demo": ("d" * 32, ("member", "reader")),
}
PROJECTS: Final = {"admin": "0a" * 16, "demo": "0d" * 16}
PASSWORD: Final = "secret"


class World:
    """Everything, under one lock. ``weather`` is what a test changes."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tokens: dict[str, dict[str, Any]] = {}
        self.trusts: dict[str, dict[str, Any]] = {}
        self.aggregates: dict[int, dict[str, Any]] = {}
        self.flavors: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.servers: dict[str, dict[str, Any]] = {}
        self.providers: dict[str, dict[str, Any]] = {}
        self.classes: set[str] = set()
        self.calls: list[str] = []
        self.weather: dict[str, Any] = {}
        #: What is not answered yet of the calls that the weather delays.
        self.under_way: list[str] = []
        self._numbers = iter(range(1, 1_000_000))
        names = [host for hosts in ZONES.values() for host in hosts]
        self.hypervisors = {
            str(number): {
                "id": number,
                "hypervisor_hostname": host,
                "service": {"host": host, "id": number, "disabled_reason": None},
                "vcpus": 8,
                "memory_mb": 16384,
                "local_gb": 200,
                "cpu_info": "{}",
                "hypervisor_type": "QEMU",
                "hypervisor_version": 6001000,
                "state": "up",
                "status": "enabled",
            }
            for number, host in enumerate(names, 1)
        }
        for host in names:
            sizes = {"VCPU": 8, "MEMORY_MB": 16384, "DISK_GB": 200}
            self.add_provider(host, None)["inventories"] = {
                name: {
                    "total": total,
                    "reserved": 0,
                    "min_unit": 1,
                    "max_unit": total,
                    "step_size": 1,
                    "allocation_ratio": 1.0,
                }
                for name, total in sizes.items()
            }
        self.add_aggregate(FREEPOOL, None)
        for name, vcpus, memory, disk in (
            ("m1.small", 1, 2048, 20),
            ("m1.large", 2, 4096, 40),
            ("m1.huge", 8, 16384, 200),
        ):
            self.add_flavor({"id": f"flavor-{name}", "name": name, "vcpus": vcpus, "ram": memory, "disk": disk})

    @contextmanager
    def delayed(self, method: str, kind: str) -> Iterator[None]:
        """Hold a call up for as long as the weather says of calls like it, ``delays: {POST leases: 1.0}``, or until it
        says so no more."""
        what = f"{method} {kind}"
        seconds = self.weather.get("delays", {}).get(what)
        if seconds is None:
            yield
            return
        self.under_way.append(what)
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end and what in self.weather.get("delays", {}):
                time.sleep(0.02)
            yield
        finally:
            self.under_way.remove(what)

    def add_provider(self, name: str, parent: str | None) -> dict[str, Any]:
        """A resource provider of Placement's."""
        identifier = str(uuid.uuid4())
        self.providers[identifier] = {
            "uuid": identifier,
            "name": name,
            "generation": 0,
            "parent_provider_uuid": parent,
            "root_provider_uuid": parent or identifier,
            "inventories": {},
        }
        return self.providers[identifier]

    def add_aggregate(self, name: str, zone: str | None) -> dict[str, Any]:
        """A host aggregate of Nova's."""
        number = next(self._numbers)
        self.aggregates[number] = {
            "id": number,
            "uuid": str(uuid.uuid4()),
            "name": name,
            "availability_zone": zone,
            "hosts": [],
            "metadata": {},
            "deleted": False,
        }
        return self.aggregates[number]

    def add_flavor(self, words: dict[str, Any]) -> dict[str, Any]:
        """A flavor."""
        identifier = words.get("id") or words.get("flavorid") or str(uuid.uuid4())
        self.flavors[identifier] = {
            "id": identifier,
            "name": words["name"],
            "vcpus": words["vcpus"],
            "ram": words["ram"],
            "disk": words["disk"],
            "extra_specs": {},
            "swap": "",
            "OS-FLV-EXT-DATA:ephemeral": 0,
            "access": [],
            "links": [],
        }
        return self.flavors[identifier]

    def zone_of(self, host: str) -> str:
        """Where a host stands; one that a lease has taken stands in the lease's zone."""
        for aggregate in self.aggregates.values():
            if host in aggregate["hosts"] and aggregate["availability_zone"]:
                return str(aggregate["availability_zone"])
        return next(zone for zone, hosts in ZONES.items() if host in hosts)

    def make_servers(self, words: dict[str, Any], hints: dict[str, str], project: str) -> list[dict[str, Any]]:
        """Servers as one call of Nova makes them: accepted, and scheduled later."""
        count = int(words.get("min_count", 1))
        made = []
        for number in range(1, count + 1):
            identifier = str(uuid.uuid4())
            self.servers[identifier] = {
                "id": identifier,
                "name": words["name"] if count == 1 else f"{words['name']}-{number}",
                "project": project,
                "flavor": words["flavorRef"],
                "metadata": words.get("metadata", {}),
                "user_data": words.get("user_data", ""),
                "hints": hints,
                "zone": words.get("availability_zone", ""),
                "host": None,
                "made": time.monotonic(),
                "deleted": None,
                "fault": "",
            }
            self._schedule(self.servers[identifier])
            made.append(self.servers[identifier])
        return made

    def _schedule(self, server: dict[str, Any]) -> None:
        host = next((host for host in self._candidates(server) if self._wanted(host, server)), None)
        if host is None or next(iter(self._home(host))) in self.weather.get("late", ()):
            server["fault"] = NO_VALID_HOST
            return
        server["host"] = host

    def _home(self, host: str) -> list[str]:
        return [zone for zone, hosts in ZONES.items() if host in hosts]

    def _candidates(self, server: dict[str, Any]) -> list[str]:
        if "reservation" in server["hints"]:
            named = [one for one in self.aggregates.values() if one["name"] == server["hints"]["reservation"]]
            return [host for one in named for host in one["hosts"]]
        flavor = self.flavors[server["flavor"]]
        wanted = [name for name in flavor["extra_specs"] if name.startswith("resources:CUSTOM_RESERVATION_")]
        if wanted:
            return [host for host in self._all() if self._left(host, wanted[0].partition(":")[2], flavor["id"]) > 0]
        pools = {host for one in self.aggregates.values() for host in one["hosts"]}
        return [host for host in self._all() if host not in pools]

    def _wanted(self, host: str, server: dict[str, Any]) -> bool:
        group = self.groups.get(server["hints"].get("group", ""))
        others = [
            one["host"]
            for one in self.servers.values()
            if one is not server and one["host"] and group and one["hints"].get("group") == group["id"]
        ]
        if group and "affinity" in group["policies"]:
            return not others or host in others
        if group:
            return host not in others
        return not server["zone"] or self.zone_of(host) == server["zone"]

    def _all(self) -> list[str]:
        return [str(one["hypervisor_hostname"]) for one in self.hypervisors.values()]

    def _left(self, host: str, name: str, flavor: str) -> int:
        """Slots of a reservation on a host that no server has."""
        total = sum(
            one["inventories"].get(name, {}).get("total", 0)
            for one in self.providers.values()
            if one["name"] in (host, f"blazar_{host}")
        )
        used = [one for one in self.servers.values() if one["host"] == host and one["flavor"] == flavor]
        return int(total) - len(used)

    def settle(self) -> None:
        """Servers that were deleted long enough ago are gone."""
        stop = self.weather.get("slow_s", 0.0)
        for identifier, server in list(self.servers.items()):
            if server["deleted"] is not None and time.monotonic() - server["deleted"] >= stop:
                del self.servers[identifier]

    def shown(self, server: dict[str, Any]) -> dict[str, Any]:
        """A server as Nova's API shows it."""
        built = time.monotonic() - server["made"] >= self.weather.get("slow_s", 0.0)
        status = "BUILD"
        if server["fault"]:
            status = "ERROR"
        elif built:
            status = "ACTIVE"
        addresses: dict[str, Any] = {}
        address = f"10.0.0.{list(self.servers).index(server['id']) + 10}"
        if status == "ACTIVE":
            addresses = {"net": [{"addr": address, "version": 4, "OS-EXT-IPS:type": "fixed"}]}
        shown: dict[str, Any] = {
            "id": server["id"],
            "name": server["name"],
            "tenant_id": server["project"],
            "status": status,
            "OS-EXT-STS:task_state": "deleting" if server["deleted"] is not None else None,
            "OS-EXT-AZ:availability_zone": self.zone_of(server["host"]) if server["host"] else "",
            "metadata": server["metadata"],
            "flavor": {"id": server["flavor"], "links": []},
            "addresses": addresses,
        }
        if server["fault"]:
            shown["fault"] = {"code": 500, "message": server["fault"], "created": "2026-11-21T00:00:00Z"}
        return shown
