"""A running Blazar with its stand-ins, and what a test does with it. No SDK: it shows what is on the wire."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.base import Backend
from pytest_capacity.model import NodeGroup, Request, Topology
from tests.blazar.services import REGION
from tests.blazar.world import FREE_ZONE, PASSWORD, ZONES

ROOT: Final = Path(__file__).resolve().parent.parent.parent
IMAGE: Final = "70a599e0-31e7-49b7-b260-868f441e862b"
DB: Final = NodeGroup(name="db", count=2, instance_type="m1.large", market="on-demand", reserve=True)
LOADER: Final = NodeGroup(name="loader", count=1, instance_type="m1.small", market="on-demand", reserve=True)
PATIENCE: Final = 90.0

#: How long one answer may take on a loaded machine. Seconds.
ANSWER: Final = 180.0

#: What our leases are called; those of a test's own are not.
OURS: Final = "pc|"


def until(there: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait until it is so."""
    end = time.monotonic() + patience
    while not there():
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        time.sleep(0.1)


def hosts_of(count: int, zone: str = "") -> dict[str, Any]:
    """A reservation of so many whole hosts."""
    where = json.dumps(["==", "$availability_zone", zone]) if zone else ""
    sizes = {"min": count, "max": count}
    return {"resource_type": "physical:host", **sizes, "hypervisor_properties": "", "resource_properties": where}


class Openstack:
    """The process. Use it as a context manager."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._errors = (state / "stderr").open("wb")
        command = [sys.executable, "-W", "ignore", "-m", "tests.blazar.process", str(state)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors, cwd=ROOT)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (state / "stderr").read_text()
        ready = json.loads(line)
        self.blazar: str = ready["blazar"]
        self.cloud: str = ready["cloud"]
        self._tokens: dict[str, str] = {}
        try:
            self._register_hosts()
        except BaseException:
            self.__exit__()
            raise

    def _register_hosts(self) -> None:
        for zone, hosts in ZONES.items():
            for host in hosts if zone != FREE_ZONE else ():
                body = {"name": host, "gpu": "h200" if host == "compute-1" else "none"}
                status, answer = self.ask("POST", "/v1/os-hosts", body)
                assert status == 201, answer

    @property
    def keystone(self) -> str:
        """Where a client begins."""
        return f"{self.cloud}/v3"

    def __enter__(self) -> Openstack:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)
        if self.process.stdout:
            self.process.stdout.close()
        self._errors.close()

    def token(self, user: str) -> str:
        """A token of that user, for the project of the same name."""
        if user not in self._tokens:
            domain = {"name": "Default"}
            password = {"user": {"name": user, "domain": domain, "password": PASSWORD}}
            scope = {"project": {"name": user, "domain": domain}}
            body = {"auth": {"identity": {"methods": ["password"], "password": password}, "scope": scope}}
            with closing(HTTPConnection(urlsplit(self.cloud).netloc, timeout=ANSWER)) as connection:
                connection.request("POST", "/v3/auth/tokens", json.dumps(body))
                self._tokens[user] = connection.getresponse().headers["X-Subject-Token"]
        return self._tokens[user]

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        user: str | None = "admin",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and answer of Blazar's API."""
        given = {"Accept": "application/json", "Content-Type": "application/json", **(headers or {})}
        if user:
            given["X-Auth-Token"] = self.token(user)
        with closing(HTTPConnection(urlsplit(self.blazar).netloc, timeout=ANSWER)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body), given)
            answer = connection.getresponse()
            text = answer.read()
        return answer.status, json.loads(text) if text else None

    def world(self, weather: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the stand-ins have; with ``weather`` it is changed."""
        with closing(HTTPConnection(urlsplit(self.cloud).netloc, timeout=ANSWER)) as connection:
            body = None if weather is None else json.dumps(weather)
            connection.request("GET" if body is None else "POST", "/_world", body)
            found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found

    def leases(self) -> list[dict[str, Any]]:
        """Those that have not ended."""
        found: list[dict[str, Any]] = self.ask("GET", "/v1/leases")[1]["leases"]
        return [one for one in found if one["status"] != "TERMINATED"]

    def lease(self, *reservations: Mapping[str, Any], hours: float = 2, start: str = "now") -> dict[str, Any]:
        """A lease of another user."""
        end = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M")
        body = {"name": "another's", "start_date": start, "end_date": end, "reservations": reservations, "events": []}
        status, answer = self.ask("POST", "/v1/leases", body)
        assert status == 201, answer
        found: dict[str, Any] = answer["lease"]
        return found

    def take_zone(self, zone: str) -> None:
        """Another user has every host of it."""
        self.lease(hosts_of(len(ZONES[zone]), zone))

    def clear(self) -> None:
        """Nothing is leased, and the weather is fair."""
        self.world({})
        for lease in self.ask("GET", "/v1/leases")[1]["leases"]:
            path = f"/v1/leases/{lease['id']}"
            # Blazar refuses (500, "Invalid lease status.") while it starts or changes one.
            until(lambda path=path: self.ask("DELETE", path)[0] in (204, 404), f"{path} is gone")  # type: ignore[misc]
        until(lambda: not self.world()["servers"] or self._delete_servers(), "no servers")

    def _delete_servers(self) -> bool:
        for server in self.world()["servers"]:
            with closing(HTTPConnection(urlsplit(self.cloud).netloc, timeout=ANSWER)) as connection:
                headers = {"X-Auth-Token": self.token("admin")}
                connection.request("DELETE", f"/compute/v2.1/servers/{server['id']}", headers=headers)
                connection.getresponse().read()
        return False


def environment(openstack: Openstack, user: str = "admin") -> dict[str, str]:
    """The variables that a user of OpenStack has."""
    return {
        "OS_AUTH_URL": openstack.keystone,
        "OS_USERNAME": user,
        "OS_PASSWORD": PASSWORD,
        "OS_PROJECT_NAME": user,
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": REGION,
    }


class BlazarLab:
    """`pytest_capacity.testing.Lab` over the real Blazar."""

    zones: Sequence[str] = ("az-a", "az-b")

    def __init__(self, openstack: Openstack) -> None:
        self.openstack = openstack

    def request(self, *groups: NodeGroup, **overrides: Any) -> Request:
        """Two database nodes and a loader, in both zones, unless told otherwise."""
        wanted: dict[str, Any] = {
            "backend": "blazar",
            "run": "run-1",
            "project": "tests",
            "topologies": {"default": Topology(groups or (DB, LOADER))},
            "regions": (REGION,),
            "zones": self.zones,
            "duration_s": 5400.0,
            "timeout_s": 60.0,
            "settings": {"image": IMAGE},
        }
        return Request(**{**wanted, **overrides})

    def backend(self, request: Request) -> Backend:
        """As a keeper opens it; the credentials are those of the environment."""
        return open_backend(request)

    def weather(
        self,
        *,
        dry: Sequence[str] = (),
        late: Sequence[str] = (),
        lose_reply: bool = False,
        quota: bool = False,
        slow_s: float = 0.0,
    ) -> None:
        """A dry zone is one that another user has leased; late, Nova finds no host for the servers."""
        for zone in dry:
            self.openstack.take_zone(zone)
        weather = {"late": list(late), "lose_reply": lose_reply, "quota": quota, "slow_s": slow_s}
        self.openstack.world(weather)

    def held(self) -> Sequence[str]:
        """Our leases, and all servers."""
        leases = [one["id"] for one in self.openstack.leases() if one["name"].startswith(OURS)]
        return leases + [one["id"] for one in self.openstack.world()["servers"]]

    def calls(self) -> Sequence[str]:
        """Those that change something."""
        found: list[str] = self.openstack.world()["calls"]
        return found
