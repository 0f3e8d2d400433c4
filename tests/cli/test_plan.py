"""plan: what a run would try, without a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_capacity.cli.plan import _plain
from pytest_capacity.preview import Asking, LeftOut, Plan, PreviewRung, Remembered, Room, TopologyPreview
from tests.cli.conftest import SESSION, Shell
from tests.emulated import IMAGE, ROOT
from tests.safety.runs import creates

REFERENCE = (ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8")


def test_a_kept_session_is_neither_joined_nor_touched(shell: Shell) -> None:
    """The plan says what its nodes would be asked for anew; no call but reads is made, and no run begins."""
    shell.keep()
    before, calls = shell.listed("--all"), len(shell.emulator.calls())
    shell.suite.configure(
        {"db": {"count": 1, "instance_type": "i4i.large"}}, session=SESSION, prices={"i4i.large": 0.2}
    )
    ended = shell("plan", f"--endpoint={shell.emulator.url}", "--json")
    assert ended.code == 0, ended
    plan = json.loads(ended.out)
    assert plan["account"] == "123456789012"
    first = plan["topologies"]["default"]["rungs"][0]
    assert first["zone"] == "us-east-1a"
    assert first["groups"] == {
        "db": {"count": 1, "instance_type": "i4i.large", "market": "on-demand", "reserved": True}
    }
    assert first["usd_per_hour"] == 0.2
    reads = {call["operation"] for call in shell.emulator.calls()[calls:]}
    assert all(operation.startswith(("Describe", "Get", "List")) for operation in reads), reads
    after = shell.listed("--all")
    assert [{**one, "age_s": 0} for one in after] == [{**one, "age_s": 0} for one in before]


def test_nothing_to_try(shell: Shell) -> None:
    """Status 1, the zones and why they are none; on an emulator of its own, which ends with it."""
    groups = {"db": {"count": 1, "instance_type": "u-24tb1.112xlarge"}}
    topologies = {"good": {"groups": {"db": {"count": 1, "instance_type": "i4i.large"}}}, "bad": {"groups": groups}}
    shell.suite.configure(groups=None, topologies=topologies, aws={"image": {"us-east-1": IMAGE}})
    ended = shell("plan", "--emulator", "--zone=a")
    assert ended.code == 1, ended
    assert "EMULATED" in ended.out
    assert "good: tried in this order" in ended.out
    assert "bad: nothing to try\n  left out: us-east-1a: does not offer u-24tb1.112xlarge\n" in ended.out
    assert creates(shell.emulator) == []
    good = shell("plan", f"--endpoint={shell.emulator.url}", "--topology=good")
    assert good.code == 0, good
    assert "bad" not in good.out


def test_what_the_cloud_refuses_is_told(shell: Shell) -> None:
    """In its own words, and without a traceback."""
    shell.emulator.weather(faults=[{"operation": "GetCallerIdentity", "error": "InvalidClientTokenId"}])
    ended = shell("plan", f"--endpoint={shell.emulator.url}")
    assert (ended.code, ended.out) == (1, ""), ended
    assert ended.err.startswith("pytest-capacity plan: asked the cloud who we are (GetCallerIdentity), and aws said ")
    wrong = shell("plan", "--topology=none")
    assert wrong.code == 2
    assert "there is no topology 'none'" in wrong.err


def test_every_key_is_in_the_reference() -> None:
    """Of each object that there can be."""
    refusal = Remembered(at=1.0, group="db", code="C", kind="quota")
    rung = PreviewRung(
        region="r",
        zone="z",
        zones=("z",),
        groups={"db": Asking(count=1, instance_type="t", market="spot")},
        dry=(refusal,),
        quota=(refusal,),
        room=(Room(market="spot", name="n", unit="u", asked=1.0, limit=2.0),),
    )
    topologies = {"default": TopologyPreview((rung,), (LeftOut("r", "z", "w"),))}
    plan = _plain(Plan(backend="aws", account="1", regions=("r",), at=1.0, topologies=topologies))
    section = REFERENCE.partition("## `plan`")[2].partition("\n## ")[0]
    assert {key for key in _keys(plan) if f"`{key}`" not in section} == {"default", "db"}


def _keys(value: Any) -> Iterator[str]:
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _keys(inner)
    if isinstance(value, Mapping):
        yield from value
