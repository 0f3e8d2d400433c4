"""Where a run may go when a cloud has run out: fallback, alternatives, colocation, another round."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_capacity.config.source import Overrides
from pytest_capacity.model import AXES, Fallback, NodeGroup, Topology
from tests.config.files import GOOD, IMAGE, Loader, aws, db, static, with_

TWO = ["us-east-1", "eu-west-1"]
ALONE: dict[str, Any] = {"db": {"count": 1, "instance_type": "i4i.large"}}


def regions(**changes: Any) -> dict[str, Any]:
    """The good configuration with two regions and fallback between them, with keys changed."""
    return with_(**{"regions": TWO, "fallback": {"regions": True}, "aws": {"image": IMAGE}, **changes})


def test_by_default_market_and_zones_are_moved_along(loading: Loader) -> None:
    """Not regions, which is a matter of where data may be; types where some are listed; one time round."""
    request = loading(GOOD)
    assert request.fallback == Fallback(spot_to_on_demand=True, zones=True, regions=False, instance_types=True)
    assert request.fallback.order == AXES == ("market", "type", "zone", "region")
    assert (request.colocate, request.retry_until_s, request.on_preempt) == ("zone", 0, "fail")


def test_every_key_arrives(loading: Loader) -> None:
    """What the file says is what the request has."""
    request = loading(
        regions(
            fallback={
                "spot_to_on_demand": False,
                "zones": "no",
                "regions": True,
                "instance_types": False,
                "order": ["type", "market", "region", "zone"],
            },
            colocate="region",
            retry_until="20m",
            on_preempt="replace",
            groups={"db": {"count": 3, "instance_type": "i4i.large", "alternatives": ["i4i.xlarge", "i3.large"]}},
        )
    )
    order = ("type", "market", "region", "zone")
    assert (request.fallback.spot_to_on_demand, request.fallback.zones) == (False, False)
    assert (request.fallback.regions, request.fallback.instance_types) == (True, False)
    assert request.fallback.order == order
    assert (request.regions, request.colocate) == (tuple(TWO), "region")
    assert (request.retry_until_s, request.on_preempt) == (1200, "replace")
    assert request.topologies["default"].group("db").alternatives == ("i4i.xlarge", "i3.large")
    assert loading(db(alternatives="i3.large")).topologies["default"].group("db").alternatives == ("i3.large",)


@pytest.mark.parametrize(
    ("given", "on"),
    [
        ("spot", (True, False, False, False)),
        ("zone", (False, True, False, False)),
        ("region", (False, False, True, False)),
        ("type", (False, False, False, True)),
        ("spot, zone", (True, True, False, False)),
        ("spot,zone,region,type", (True, True, True, True)),
        ("none", (False, False, False, False)),
    ],
)
def test_a_flag_names_exactly_the_axes(loading: Loader, given: str, on: tuple[bool, ...]) -> None:
    """Whatever the file says of the switches; its order stays. In the file the same words will do."""
    order = ("type", "market", "zone", "region")
    in_file = {"spot_to_on_demand": True, "regions": True, "instance_types": True, "order": list(order)}
    found = loading(regions(fallback=in_file), Overrides(fallback=(given,))).fallback
    assert (found.spot_to_on_demand, found.zones, found.regions, found.instance_types) == on
    assert found.order == order
    named = TWO if on[2] else ["us-east-1"]
    assert loading(with_(fallback=given, regions=named, aws={"image": IMAGE})).fallback == Fallback(
        spot_to_on_demand=on[0], zones=on[1], regions=on[2], instance_types=on[3]
    )


def test_a_flag_about_regions_is_no_contradiction_of_the_file(loading: Loader) -> None:
    """It says what is meant now: one region of several, or no fallback between them."""
    assert loading(regions(), Overrides(regions=("eu-west-1",))).regions == ("eu-west-1",)
    assert not loading(regions(), Overrides(fallback=("zone",))).fallback.regions
    over = Overrides(fallback=("region",), regions=("eu-west-1",), source={"fallback": "--capacity-fallback"})
    (fault,) = loading.faults(aws(), over)
    assert fault.startswith("--capacity-fallback: there is no other region to fall back to than eu-west-1")


def test_another_round_takes_the_time_that_it_takes(loading: Loader) -> None:
    """Provisioning may last that much longer, up to the whole run; 0 is once, and a flag may say it."""
    assert loading(with_(retry_until="20m")).timeout_s == 35 * 60
    assert loading(with_(retry_until="80m")).timeout_s == 90 * 60
    assert loading(with_(retry_until="20m", timeout="25m")).timeout_s == 25 * 60
    once = loading(with_(retry_until="20m"), Overrides(retry_until="0"))
    assert (once.retry_until_s, once.timeout_s) == (0, 900)
    assert loading(with_(retry_until="20m"), Overrides(timeout="5m")).timeout_s == 300


@pytest.mark.parametrize("switched", [True, False])
def test_spot_and_reserve(loading: Loader, switched: bool) -> None:
    """Spot first, then reserved on-demand; where spot stays spot there is nothing to reserve."""
    values = db(market="spot")
    values["fallback"] = {"spot_to_on_demand": switched}
    group = loading(values).topologies["default"].group("db")
    assert (group.market, group.reserve) == ("spot", switched)
    values["groups"]["db"]["reserve"] = False
    assert loading(values).topologies["default"].group("db").reserve is False
    values["groups"]["db"]["reserve"] = True
    if switched:
        assert loading(values).topologies["default"].group("db").reserve is True
    else:
        (fault,) = loading.faults(values)
        assert "groups.db.reserve: is true, and the market is spot. A spot instance cannot use" in fault


def test_spot_and_reserve_for_all_groups(loading: Loader) -> None:
    """The same at the top of the file."""
    assert loading(with_(market="spot", reserve=True)).topologies["default"].group("db").reserve is True
    (fault,) = loading.faults(with_(market="spot", reserve=True, fallback={"spot_to_on_demand": False}))
    assert "reserve: is true, and the market is spot" in fault
    assert "fallback.spot_to_on_demand" in fault


def test_a_letter_is_a_zone_of_each_region(loading: Loader) -> None:
    """A name or an id is one of its own; `*` is every zone that is not named."""
    zones = ("a", "us-east-1b", "euw1-az2", "*")
    assert loading(regions(zones=list(zones))).zones == zones
    (fault,) = loading.faults(regions(zones=["a", "eu-west-1a"]))
    assert "zones: 'eu-west-1a' is there twice" in fault
    (fault,) = loading.faults(regions(zones=["us-west-2a"]))
    assert "zones: 'us-west-2a' is not a zone of us-east-1, eu-west-1" in fault


def test_zones_off_and_regions_on(loading: Loader) -> None:
    """One zone of each region is a ladder too."""
    request = loading(regions(fallback={"zones": False, "regions": True}))
    assert (request.fallback.zones, request.fallback.regions) == (False, True)


def test_one_node_may_be_colocated_with_nobody(loading: Loader) -> None:
    """And several, where nothing moves along zones and regions."""
    assert loading(with_(groups=ALONE, colocate="none")).colocate == "none"
    assert loading(with_(colocate="none", fallback={"zones": False})).colocate == "none"


@pytest.mark.parametrize(
    ("values", "where", "remedy"),
    [
        (with_(fallback={"zone": True}), "fallback.zone: is not a known key", "Did you mean zones?"),
        (with_(fallback={"zones": "some"}), "fallback.zones: 'some' is neither true nor false", "true or false"),
        (with_(fallback=True), "fallback: True is neither keys and values nor a list", "{regions: true"),
        (with_(fallback=["zones"]), "fallback: 'zones' is not one of spot, zone", "Did you mean zone?"),
        (with_(fallback="none,zone"), "fallback: none is there beside others", "alone"),
        (with_(fallback={"order": ["zone"]}), "fallback.order: [zone] is no order of", "each of the four once"),
        (with_(fallback={"order": ["zone"] * 4}), "fallback.order: [zone, zone, zone, zone] is no", "[market, type"),
        (with_(colocate="rack"), "colocate: 'rack' is not one of zone, region, none", "Give one of them"),
        (with_(on_preempt="retry"), "on_preempt: 'retry' is not one of fail, replace", "Give one of them"),
        (with_(retry_until="soon"), "retry_until: 'soon' is not a duration", "90m"),
        (with_(retry_until="2h"), "retry_until: '2h' is too long: nodes are not looked for longer", "shorter"),
        (with_(retry_until="20m", timeout="10m"), "retry_until: '20m' is longer than `timeout`, 10m", "leave it out"),
        (db(alternatives=["i4i"]), "groups.db.alternatives: 'i4i' does not have the right form", "i4i.large"),
        (db(alternatives=["i4i.large"]), "groups.db.alternatives: 'i4i.large' is asked for already", "once"),
        (db(alternatives=["i3.large"] * 2), "groups.db.alternatives: 'i3.large' is asked for already", "once"),
        (db(alternatives=3), "groups.db.alternatives: 3 is not a list", "[a, b]"),
        (
            db(alternatives=["t3.large"], placement_group=True),
            "groups.db.placement_group: 't3.large' cannot join",
            "another type",
        ),
        (
            with_(regions=TWO, aws={"image": IMAGE}),
            "regions: us-east-1, eu-west-1: nodes are placed in one region",
            "`fallback: {regions: true}`",
        ),
        (with_(fallback={"regions": True}), "fallback.regions: there is no other region", "Name the others"),
        (regions(aws={"image": {"us-east-1": IMAGE}}), "groups.db.image: no image is known for eu-west-1", "aws:"),
        (
            regions(aws={"image": IMAGE, "subnets": {"us-east-1a": "subnet-11111111"}}),
            "aws.subnets: there is no subnet in eu-west-1",
            "eu-west-1a: subnet-",
        ),
        (
            with_(colocate="none"),
            "colocate: is none, and fallback along zones is on: the 3 nodes of topology 'default'",
            "`colocate: zone`",
        ),
        (
            regions(colocate="none", fallback={"zones": False, "regions": True}),
            "colocate: is none, and fallback along regions is on",
            "`fallback.regions`",
        ),
        (
            {**db(placement_group=True), "colocate": "region"},
            "colocate: is region, and default/db asks for a cluster placement group",
            "colocate: zone",
        ),
        (static(colocate="region"), "colocate: is given, and `backend: static`", "Leave it out"),
        (static(fallback={"zones": False}), "fallback: is given, and `backend: static`", "Leave it out"),
        (static(retry_until="1m"), "retry_until: is given, and `backend: static`", "Leave it out"),
        (static(on_preempt="fail"), "on_preempt: is given, and `backend: static`", "Leave it out"),
        (
            static(groups={"db": {"hosts": ["10.0.0.1"], "alternatives": ["i4i.large"]}}),
            "groups.db.alternatives: is there, and these machines are your own",
            "Remove",
        ),
    ],
)
def test_each_fault_names_file_key_and_remedy(loading: Loader, values: dict[str, Any], where: str, remedy: str) -> None:
    """One bad value is one line: the file, the key, what is wrong, what to do."""
    loading.refuses(values, where, remedy)


def test_all_faults_at_once(loading: Loader) -> None:
    """A contradiction does not hide the next one."""
    values = db(alternatives=["x"], placement_group=True)
    values |= {"regions": TWO, "fallback": {"zone": True}, "colocate": "region", "retry_until": "x", "on_preempt": 1}
    text = "\n".join(loading.faults(values))
    for where in ("alternatives:", "regions:", "fallback.zone:", "colocate:", "retry_until:", "on_preempt:", "image:"):
        assert where in text


def test_alternatives_of_the_hook(loading: Loader) -> None:
    """Structs made in Python have them too, and are checked alike."""
    group = NodeGroup(name="db", count=1, instance_type="i4i.large", alternatives=("i3.large",))
    made = {"big": Topology((group,))}
    assert loading(with_(groups=None), topologies=made).topologies["big"].group("db").alternatives == ("i3.large",)
    bad = {"big": Topology((NodeGroup(name="db", count=1, instance_type="i3.large", alternatives=("i3.large",)),))}
    (fault,) = loading.faults(with_(groups=None), topologies=bad)
    assert "pytest_capacity_topologies: big.db.alternatives: 'i3.large' is asked for already" in fault
