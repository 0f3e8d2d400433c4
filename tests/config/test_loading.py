"""capacity.yaml and what is said over it -> a request, or every fault at once."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_capacity.backends import INSTALLED
from pytest_capacity.backends.aws.settings import section_of
from pytest_capacity.config.loading import load
from pytest_capacity.config.sct import KEYS as SCT_KEYS
from pytest_capacity.config.source import Overrides
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import NodeGroup, Topology
from tests.config.files import GOOD, IMAGE, Loader, aws, db, with_
from tests.made_up import LETTERS

POOL: Final = "arn:aws:resource-groups:us-east-1:123456789012:group"


def test_defaults(loading: Loader) -> None:
    """What a short file leaves open is as documented."""
    request = loading(GOOD)
    assert (request.backend, request.run, request.regions, request.zones) == ("aws", "new-run", ("us-east-1",), ())
    assert (request.duration_s, request.timeout_s, request.market, request.reserve) == (5400, 900, "on-demand", True)
    assert (request.endpoint, request.emulated, request.journal, request.project) == (None, False, None, "tests")
    (group,) = request.topologies["default"].groups
    assert group == NodeGroup(name="db", count=3, instance_type="i4i.large", market="on-demand", reserve=True)


def test_a_given_key_that_is_no_text() -> None:
    """A file cannot have one; a mapping of the caller's own can."""
    values: dict[Any, Any] = {**GOOD, 5: "x"}
    with pytest.raises(ConfigError, match="params: 5: is not a known key"):
        load(Overrides(), clouds=INSTALLED, path=None, environ={}, values=values)


#: Every key of the reference.
WHOLE: Final[dict[str, Any]] = {
    "backend": "aws",
    "regions": "us-east-1",
    "zones": ["b", "us-east-1a", "use1-az2"],
    "topologies": {
        "default": {"groups": {"db": {"count": 3, "instance_type": "i4i.large", "placement_group": True}}},
        "other": {
            "groups": {
                "loader": {"count": 1, "instance_type": "c6i.xlarge", "image": "ami-11111111"},
                "cheap": {"count": 2, "instance_type": "c6i.xlarge", "market": "spot"},
                "plain": {"count": 2, "instance_type": "t3.large", "reserve": False},
                "own": {
                    "count": 1,
                    "instance_type": "t3.large",
                    "aws": {"image": {"us-east-1": "ami-22222222"}},
                },
            }
        },
    },
    "reserve": True,
    "market": "on-demand",
    "use_reservations": ["cr-0123456789abcdef0", "arn:aws:resource-groups:us-east-1:123456789012:group/pool"],
    "duration": "2h",
    "timeout": "10m",
    "journal": "/tmp/journal.sqlite",
    "endpoint": "https://ec2.example.com",
    "project": "storage",
    "test_id": "nightly-42",
    "prices": {"i4i.large": 0.172, "c6i.xlarge": 1},
    "aws": {
        "image": {"us-east-1": IMAGE},
        "subnets": {"us-east-1a": "subnet-11111111", "b": "subnet-22222222"},
        "key_name": "ci",
        "security_groups": ["sg-11111111"],
        "platform": "Linux/UNIX",
        "tenancy": "dedicated",
        "public_ip": "yes",
        "tags": {"team": "storage"},
        "self_terminate": False,
        "profile": "ci",
        "account": 123456789012,
    },
}


def test_the_whole_file(loading: Loader) -> None:
    """Every key of the reference arrives where it belongs."""
    request = loading(WHOLE)
    assert request.zones == ("b", "us-east-1a", "use1-az2")
    assert request.topologies["default"].group("db").placement_group
    other = request.topologies["other"]
    assert other.group("loader").image == "ami-11111111"
    assert other.group("own").image == "ami-22222222"
    assert (other.group("cheap").market, other.group("cheap").reserve) == ("spot", True)
    assert (other.group("plain").market, other.group("plain").reserve) == ("on-demand", False)
    assert len(request.use_reservations) == 2
    assert (request.duration_s, request.timeout_s, request.journal) == (7200, 600, "/tmp/journal.sqlite")
    assert (request.endpoint, request.project, request.run) == ("https://ec2.example.com", "storage", "nightly-42")
    assert request.prices == {"i4i.large": 0.172, "c6i.xlarge": 1.0}
    settings = section_of(request)
    assert settings.subnets == {"us-east-1a": "subnet-11111111", "us-east-1b": "subnet-22222222"}
    assert (settings.tenancy, settings.public_ip, settings.self_terminate) == (
        "dedicated",
        True,
        False,
    )
    assert (settings.profile, settings.account, settings.key_name) == (
        "ci",
        "123456789012",
        "ci",
    )
    assert (settings.security_groups, settings.tags) == (("sg-11111111",), {"team": "storage"})


@pytest.mark.parametrize(
    ("values", "where", "remedy"),
    [
        (with_(backend=None), "backend: no backend", "--capacity-backend=aws"),
        (with_(backend="awz"), "backend: 'awz' is not one of aws", "Did you mean aws?"),
        (with_(backend="hetzner"), "backend: 'hetzner' is not one of aws", "Give one of them"),
        (with_(regoins=["us-east-1"]), "regoins: is not a known key", "Did you mean regions?"),
        (with_(regions=None), "regions: no region is named", "AWS_REGION"),
        (with_(regions=[]), "regions: names no region", "regions: [us-east-1]"),
        (with_(regions=["us-east-1", "us-east-1"]), "regions: names a region twice", "once"),
        (with_(regions=["useast1"]), "regions: 'useast1' does not have the right form", "like us-east-1"),
        (with_(regions=[1]), "regions[0]: 1 is not a text", "Quote it"),
        (with_(regions={"a": 1}), "regions: {'a': 1} is not a list", "Write it like"),
        (with_(zones=["a", "us-east-1a"]), "zones: 'us-east-1a' is there twice", "once"),
        (with_(zones=["us-west-2a"]), "zones: 'us-west-2a' is not a zone of us-east-1", "of these"),
        (with_(zones=["usw2-az1"]), "zones: 'usw2-az1' is not a zone of us-east-1", "of these"),
        (with_(zones=["us-east-12a"]), "zones: 'us-east-12a' is not a zone of us-east-1", "of these"),
        (with_(zones=["A!"]), "zones: 'A!' does not have the right form", "use1-az2"),
        (with_(groups=None), "groups: no machines are asked for", "Add `groups"),
        (with_(groups={}), "groups: is empty", "Add a group"),
        (with_(groups=[1]), "groups: does not hold keys and values", "{db:"),
        (with_(groups={"db": 3}), "groups.db: does not hold keys and values", "count: 3"),
        (
            with_(groups={"d b": {"count": 1, "instance_type": "i4i.large"}}),
            "groups.d b: 'd b' does not have",
            "letters",
        ),
        (with_(topologies={"default": {"groups": GOOD["groups"]}}), "topologies.default: is there twice", "keep one"),
        (with_(groups=None, topologies={"a": {}}), "topologies.a: has no `groups`", "Add `groups"),
        (with_(groups=None, topologies={"a": {"groups": {}}}), "topologies.a.groups: is empty", "Add a group"),
        (with_(groups=None, topologies={"a": {"group": {}}}), "topologies.a.group: is not a known key", "groups?"),
        (db(count=0), "groups.db.count: 0 is not a number of nodes", "whole number"),
        (db(count=True), "groups.db.count: True is not a number of nodes", "whole number"),
        (db(count="3"), "groups.db.count: '3' is not a number of nodes", "whole number"),
        (db(count=1.5), "groups.db.count: 1.5 is not a number of nodes", "whole number"),
        (with_(groups={"db": {"instance_type": "i4i.large"}}), "groups.db.count: is missing", "{count: 3"),
        (with_(groups={"db": {"count": 1}}), "groups.db.instance_type: is missing", "i4i.large"),
        (db(instance_type="large"), "groups.db.instance_type: 'large' does not have", "i4i.large"),
        (db(instancetype="x"), "groups.db.instancetype: is not a known key", "Did you mean instance_type?"),
        (db(market="spott"), "groups.db.market: 'spott' is not one of", "Did you mean spot?"),
        (db(reserve="maybe"), "groups.db.reserve: 'maybe' is neither true nor false", "true or false"),
        (db(image="x"), "groups.db.image: 'x' does not have the right form", "ami-"),
        (db(image=IMAGE, aws={"image": IMAGE}), "groups.db.aws.image: is there beside", "Keep one"),
        (db(aws={"key": 1}), "groups.db.aws.key: is not a known key", "image"),
        (with_(aws=None), "groups.db.image: no image is known for us-east-1", "or for this one (`image: ami-...`)"),
        (with_(aws={"image": {"eu-west-1": IMAGE}}), "groups.db.image: no image is known for us-east-1", "aws: {image"),
        (
            with_(regions=["us-esat-1"], aws={"image": {"us-east-1": IMAGE}}),
            "groups.db.image: no image is known for us-esat-1",
            "Did you mean the region us-east-1, which has one?",
        ),
        (db(placement_group=True, instance_type="t3.large"), "groups.db.placement_group: 't3.large'", "false"),
        (db(placement_group=True, instance_type="t4g.nano"), "groups.db.placement_group: 't4g.nano'", "false"),
        (
            db(placement_group=True, instance_type="mac2-m2.metal"),
            "groups.db.placement_group: 'mac2-m2.metal'",
            "false",
        ),
        (
            db(placement_group=True, instance_type="m7i-flex.large"),
            "groups.db.placement_group: 'm7i-flex.large'",
            "false",
        ),
        (with_(market=True), "market: True is not a text", "Quote"),
        (with_(duration="90x"), "duration: '90x' is not a duration", "90m"),
        (with_(duration=True), "duration: True is not a duration", "90m"),
        (with_(duration=0), "duration: 0 is no time at all", "90m"),
        (with_(duration="8d"), "duration: '8d' is too long: a run lasts at most 7d", "shorter"),
        (with_(duration="10m", timeout="11m"), "timeout: '11m' is too long", "shorter"),
        (with_(timeout="soon"), "timeout: 'soon' is not a duration", "90m"),
        (with_(test_id="a b"), "test_id: 'a b' does not have the right form", "nightly-42"),
        (with_(test_id="x" * 65), "test_id: 'xxx", "at most 64"),
        (with_(project=""), "project: is empty", "remove the key"),
        (with_(journal=[]), "journal: is not a text", "one value"),
        (with_(endpoint="ftp://x"), "endpoint: 'ftp://x' is not an http(s) URL", "https://"),
        (with_(endpoint="http://[x"), "endpoint: is not a URL", "https://"),
        (with_(endpoint="http://ec2.example.com"), "endpoint: 'http://ec2.example.com' sends", "Use https"),
        (with_(endpoint="https://u:hunter2@x"), "endpoint: holds a user or password", "credentials come from"),
        (with_(use_reservations=["cr-x"]), "use_reservations: 'cr-x' does not have", "resource group"),
        (with_(use_reservations=["cr-11111111"] * 2), "use_reservations: names a reservation twice", "once"),
        (with_(use_reservations=[f"{POOL}/a", f"{POOL}/b"]), "use_reservations: names two resource groups", "one"),
        (with_(prices={"i4i.large": "1"}), "prices.i4i.large: '1' is not a price", "0.172"),
        (with_(prices={"i4i.large": -1}), "prices.i4i.large: -1 is not a price", "0.172"),
        (with_(prices={"x": 1}), "prices.x: 'x' does not have", "i4i.large"),
        (with_(aws=[1]), "aws: does not hold keys and values", "image"),
        (aws(imagee="x"), "aws.imagee: is not a known key", "Did you mean image?"),
        (aws(image="ami-x"), "aws.image: 'ami-x' does not have", "ami-"),
        (aws(subnets={"use1-az2": "subnet-11111111"}), "aws.subnets.use1-az2: is not the name of a zone", "us-east-1a"),
        (aws(subnets={"us-east-1a": "x"}), "aws.subnets.us-east-1a: 'x' does not have", "subnet-"),
        (aws(security_groups=["sg-default"]), "aws.security_groups: 'sg-default' does not have", "or a name"),
        (aws(platform="linux"), "aws.platform: 'linux' is not one of", "."),
        (aws(tenancy="host"), "aws.tenancy: 'host' is not one of default, dedicated", "Give one"),
        (aws(public_ip=2), "aws.public_ip: 2 is neither true nor false", "true or false"),
        (aws(account="12"), "aws.account: '12' does not have", "12 digits"),
        (aws(tags={"TestId": "x"}), "aws.tags.TestId: is a tag that", "another name"),
        (aws(tags={"aws:x": "x"}), "aws.tags.aws:x: is a tag that", "another name"),
        (aws(tags={"pytest-capacity:run": "x"}), "aws.tags.pytest-capacity:run: is a tag that", "another name"),
        (aws(tags={"n": 1}), "aws.tags.n: is not a text", "Quote"),
        (aws(tags={"n": "x" * 257}), "aws.tags.n: a value of 257 characters", "256"),
        (aws(tags={"k" * 129: "x"}), "aws.tags: a tag's name of 129 characters", "128"),
        (aws(tags={f"k{number}": "x" for number in range(41)}), "aws.tags: has 41 tags", "40"),
    ],
)
def test_each_fault_names_file_key_and_remedy(loading: Loader, values: dict[str, Any], where: str, remedy: str) -> None:
    """One bad value is one line: the file, the key, what is wrong, what to do; and nothing more is complained of."""
    assert "hunter2" not in loading.refuses(values, where, remedy)


def test_all_faults_at_once(loading: Loader) -> None:
    """A user corrects a file once, not once a fault."""
    faults = loading.faults(
        {"regions": ["us-east-1"], "groups": {"db": {"count": 0}, "x": {"instance_type": "t3.large"}}, "duration": "x"}
    )
    text = "\n".join(faults)
    for where in ("backend:", "groups.db.count:", "groups.db.instance_type:", "groups.x.count:", "duration:"):
        assert f"{loading.path}: {where}" in text


def test_overrides_beat_the_file(loading: Loader) -> None:
    """What flags, environment or ini gave wins, key by key."""
    request = loading(
        with_(zones=["a"], duration="1h", market="on-demand", reserve=True, endpoint="https://x.example.com"),
        Overrides(
            regions=("us-east-1",),
            zones=("b,c", "d"),
            reserve="off",
            duration="30m",
            market="spot",
            timeout="5m",
            endpoint="http://127.0.0.1:5000",
            journal="j",
        ),
    )
    assert (request.zones, request.reserve, request.duration_s) == (("b", "c", "d"), False, 1800)
    assert (request.market, request.timeout_s, request.journal) == ("spot", 300, "j")
    assert request.endpoint == "http://127.0.0.1:5000"


def test_a_flag_does_not_contradict_the_file(loading: Loader) -> None:
    """`--capacity-market=spot` over a file with `reserve: true` is a choice; both at one level are a fault."""
    stays = {"spot_to_on_demand": False}
    request = loading(with_(reserve=True, fallback=stays), Overrides(market="spot"))
    assert request.topologies["default"].group("db").reserve is False
    over = Overrides(market="spot", reserve=True, source={"reserve": "--capacity-reserve"})
    (fault,) = loading.faults(with_(fallback=stays), over)
    assert fault.startswith("--capacity-reserve: is true")


def test_a_bad_override_names_its_source(loading: Loader) -> None:
    """The message begins with where the value came from, not with the file."""
    faults = loading.faults(
        GOOD,
        Overrides(duration="x", zones=("eu-west-1a",), source={"duration": "PYTEST_CAPACITY_DURATION"}),
    )
    assert [fault.partition(":")[0] for fault in faults] == ["PYTEST_CAPACITY_DURATION", "--capacity-zones"]


def test_region_of_the_environment(loading: Loader) -> None:
    """AWS_REGION, then AWS_DEFAULT_REGION, as the SDK has it; the file comes first."""
    both = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "eu-west-1"}
    assert loading(aws(), environ={"AWS_REGION": "eu-west-1"}).regions == ("us-east-1",)
    values = with_(regions=None, aws={"image": IMAGE})
    assert loading(values, environ=both).regions == ("us-east-1",)
    assert loading(values, environ={"AWS_DEFAULT_REGION": "eu-west-1"}).regions == ("eu-west-1",)


@pytest.mark.parametrize("zone", ["a", "ap-northeast-1a", "apne1-az4", "ap-northeast-1-tpe-1a", "apne1-tpe1-az1"])
def test_zones_in_every_way(loading: Loader, zone: str) -> None:
    """Letters, names and ids are taken, those of local zones too."""
    values = with_(regions=["ap-northeast-1"], zones=[zone], aws={"image": IMAGE})
    assert loading(values).zones == (zone,)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:5000", "http://localhost:1", "http://[::1]:5000", "https://x.example"]
)
def test_good_endpoints(loading: Loader, url: str) -> None:
    """https anywhere, plain http on this machine."""
    assert loading(with_(endpoint=url)).endpoint == url


def test_emulated(loading: Loader) -> None:
    """The emulator's URL, account and credentials take the place of the file's; a flag beside it is a fault."""
    values = with_(endpoint="https://x.example", aws={"image": IMAGE, "profile": "ci", "account": "123456789012"})
    request = loading(values, Overrides(emulator=True))
    assert (request.emulated, request.endpoint, section_of(request).profile, section_of(request).account) == (
        True,
        None,
        None,
        None,
    )
    (fault,) = loading.faults(GOOD, Overrides(emulator=True, endpoint="http://127.0.0.1:1"))
    assert "--capacity-endpoint: is given beside --capacity-emulator" in fault


def test_topologies_of_the_hook(loading: Loader) -> None:
    """Structs made in Python get the same defaults as the file's groups, and may be all there is."""
    made = {"big": Topology((NodeGroup(name="db", count=5, instance_type="i4i.large"),))}
    request = loading(with_(groups=None), topologies=made)
    assert list(request.topologies) == ["big"]
    assert request.topologies["big"].name == "big"
    assert request.topologies["big"].group("db").reserve is True


def test_bad_topologies_of_the_hook(loading: Loader) -> None:
    """Structs made in Python are checked like the file, and the message names the hook."""
    group = NodeGroup(name="db", count=0, instance_type="t3.large", placement_group=True)
    made: dict[str, Any] = {
        "default": Topology((group,)),
        "big": Topology((group, group)),
        "odd": {"groups": {}},
        "worse": Topology(("db",)),  # type: ignore[arg-type]
    }
    text = "\n".join(loading.faults(GOOD, topologies=made))
    for words in (
        "topologies: default: ",
        "topologies: big.db.count: 0 is not",
        "topologies: big.db.placement_group: 't3.large'",
        "topologies: big.db: is there twice",
        "topologies: odd: {'groups': {}} is not a Topology",
        "topologies: worse: 'db' is not a NodeGroup",
    ):
        assert f"pytest_capacity_{words}" in text


def test_without_a_file(tmp_path: Path) -> None:
    """Flags and a hook can be the whole configuration; the run id that is fixed already is kept."""
    group = NodeGroup(name="db", count=1, instance_type="i4i.large", image=IMAGE)
    request = load(
        Overrides(backend="aws", regions=("us-east-1",)),
        clouds=INSTALLED,
        path=None,
        environ={},
        topologies={"default": Topology((group,))},
        run="r1",
        project="My Tests!",
    )
    assert (request.run, request.project) == ("r1", "My-Tests")


def test_run_ids_differ() -> None:
    """Where the run has no name, each gets another id."""
    groups = {"default": Topology((NodeGroup(name="db", count=1, instance_type="i4i.large", image=IMAGE),))}
    over = Overrides(backend="aws", regions=("us-east-1",))
    runs = {load(over, clouds=INSTALLED, path=None, environ={}, topologies=groups).run for _ in range(2)}
    assert len(runs) == 2


KEYS = st.sampled_from(
    ["backend", "regions", "zones", "groups", "topologies", "reserve", "market", "duration", "prices", "aws", "x",
     "count", "instance_type", "image", "db", "tags", "subnets", "endpoint", "use_reservations", "placement_group",
     "ready", "ready_timeout", "user_data", "file", "hosts", "address", "port", "ssh", "user", "key", "bastion",
     "collect", "session", "keep", "keep_for", "limits", "fallback", "colocate", "retry_until", "on_preempt",
     "alternatives", "order", "zones", "spot_to_on_demand", ]
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(LETTERS, max_size=8)
    | st.sampled_from(
        ["aws", "static", "90m", "a", "zone", "region", "none", "i4i.large", "always", "tcp:80", "10.0.0.1"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


SCT_VALUES = VALUES | st.sampled_from(["spot", "2 1", "us-east-1,us-west-2", "gce", IMAGE, 3, "true"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_file_is_a_request_or_a_config_error(loading: Loader, values: dict[str, Any]) -> None:
    """No file ends in a traceback."""
    try:
        request = loading(values)
    except ConfigError:
        return
    assert request.topologies


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from([*SCT_KEYS, "colocate", "test_id"]), SCT_VALUES, max_size=8))
def test_any_file_of_scylla_cluster_tests_is_a_request_or_a_config_error(
    loading: Loader, values: dict[str, Any]
) -> None:
    """Nor does one of those."""
    base = {"cluster_backend": "aws", "region_name": "us-east-1", "n_db_nodes": 1, "instance_type_db": "i4i.large"}
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        try:
            request = loading({**base, "ami_id_db_scylla": IMAGE, **values})
        except ConfigError:
            return
    assert request.topologies
