"""Where a run comes to stand on two clouds of clouds.yaml, against an expectation worked out without the ladder."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.base import Backend
from pytest_capacity.errors import Exhausted
from pytest_capacity.model import Fallback, NodeGroup, Request
from pytest_capacity.testing import Bench
from tests.blazar.lab import BlazarLab, Openstack, environment
from tests.blazar.world import ZONES

#: The same region of two entries of clouds.yaml: two Keystones, two Blazars.
REGIONS: Final = ("RegionOne", "two/RegionOne")
AZS: Final = ("az-a", "az-b")
#: A whole host, and a quarter of one.
TYPES: Final = ("m1.huge", "m1.large")
GROUP: Final = NodeGroup(
    name="db", count=1, instance_type=TYPES[0], alternatives=TYPES[1:], market="on-demand", reserve=True
)

#: Region, zone, type: in the order in which they are tried, the type being the innermost.
CELLS: Final = tuple(itertools.product(REGIONS, AZS, TYPES))

#: What others have of a zone: nothing; a processor of each host, so that no whole one is left; everything.
FREE, PART, FULL = range(3)


def some_taken(seed: int) -> dict[tuple[str, str], int]:
    """What others have, by region and zone: more of those that are tried first, and now and then all of all."""
    chance = random.Random(seed)
    weights = ((0.2, 0.3, 0.5), (0.2, 0.4, 0.4), (0.3, 0.3, 0.4), (0.2, 0.3, 0.5))
    return {
        where: chance.choices((FREE, PART, FULL), weight)[0]
        for where, weight in zip(itertools.product(REGIONS, AZS), weights, strict=True)
    }


def fits(type_: str, taken: int) -> bool:
    """Whether a zone has one of these."""
    return taken == FREE or (taken == PART and type_ == "m1.large")


class TwoClouds:
    """`pytest_capacity.testing.Lab` over both."""

    zones: Sequence[str] = AZS

    def __init__(self, clouds: dict[str, Openstack], folder: Path) -> None:
        self.labs = {region: BlazarLab(clouds[region]) for region in REGIONS}
        self._file = folder / "clouds.yaml"
        entries = {name: _entry(clouds[region]) for name, region in zip(("one", "two"), REGIONS, strict=True)}
        self._file.write_text(json.dumps({"clouds": entries}))

    def request(self, *groups: NodeGroup, **overrides: Any) -> Request:
        """Both clouds, the second after the first."""
        lab = self.labs[REGIONS[0]]
        settings = {**lab.request().settings, "cloud": "one", "clouds_file": str(self._file)}
        wanted = {"regions": REGIONS, "zones": AZS, "settings": settings, "fallback": Fallback(regions=True)}
        return lab.request(*groups, **{**wanted, **overrides})

    def backend(self, request: Request) -> Backend:
        """As a keeper opens it."""
        return open_backend(request)

    def weather(self, **weather: Any) -> None:
        """None: a test takes what it wants."""
        raise NotImplementedError

    def take(self, region: str, zone: str, taken: int) -> None:
        """Another user has so much of it."""
        openstack = self.labs[region].openstack
        if taken == FULL:
            openstack.take_zone(zone)
        elif taken == PART:
            where = json.dumps(["==", "$availability_zone", zone])
            size = {"vcpus": 1, "memory_mb": 1024, "disk_gb": 10, "amount": len(ZONES[zone]), "affinity": False}
            openstack.lease({"resource_type": "virtual:instance", "resource_properties": where, **size})

    def held(self) -> Sequence[str]:
        """Of both."""
        return [one for lab in self.labs.values() for one in lab.held()]

    def calls(self) -> Sequence[str]:
        """Of both, one after the other."""
        return [call for lab in self.labs.values() for call in lab.calls()]


def _entry(openstack: Openstack) -> dict[str, Any]:
    words = environment(openstack)
    names = {"auth_url", "username", "password", "project_name", "user_domain_name", "project_domain_name"}
    return {"auth": {name: words[f"OS_{name.upper()}"] for name in sorted(names)}}


@pytest.fixture(scope="module")
def _second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Openstack]:
    with Openstack(tmp_path_factory.mktemp("second")) as openstack:
        yield openstack


@pytest.fixture
def clouds(openstack: Openstack, _second: Openstack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoClouds:
    """Both, empty; the credentials stand in clouds.yaml alone."""
    _second.clear()
    for name in environment(openstack):
        monkeypatch.delenv(name)
    return TwoClouds(dict(zip(REGIONS, (openstack, _second), strict=True)), tmp_path)


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(24))
def test_it_stands_in_the_first_cell_that_has_some(clouds: TwoClouds, tmp_path: Path, seed: int) -> None:
    """After one attempt in each cell before it, and nothing stays in those; where none has any, in none."""
    taken = some_taken(seed)
    for (region, zone), much in taken.items():
        clouds.take(region, zone, much)
    left = [cell for cell in CELLS if fits(cell[2], taken[cell[:2]])]
    bench = Bench(clouds, tmp_path / "journal.sqlite")
    engine = bench.engine(clouds.request(GROUP))
    if left:
        (node,) = engine.provision("default").nodes["db"]
        assert (node.region, node.zone, node.instance_type) == left[0]
        assert len(engine.run_state.attempts) == CELLS.index(left[0]) + 1
        (lease,) = [one for one in clouds.labs[node.region].openstack.leases() if one["name"].startswith("pc|")]
        assert lease["status"] == "ACTIVE"
        (server,) = clouds.labs[node.region].openstack.world()["servers"]
        assert server["host"] in ZONES[node.zone]
        assert node.reservation_id in {one["id"] for one in lease["reservations"]}
    else:
        with pytest.raises(Exhausted):
            engine.provision("default")
        assert len(engine.run_state.attempts) == len(CELLS)
    bench.give_back(engine)
    bench.close()
