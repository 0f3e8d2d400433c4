from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.emulated import IMAGE, ROOT, Emulator

PAGE = ROOT / "docs" / "reference" / "emulator.md"


def test_the_weather_of_the_reference_is_weather(emulator: Emulator) -> None:
    """The page's scenario is accepted, and it shows every part of the state."""
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    scenario: dict[str, Any] = yaml.safe_load(block)
    told = emulator.weather(**scenario)["weather"]
    assert set(scenario) == set(told)
    assert told["stock"] == scenario["stock"]


def test_the_example_of_the_reference_works() -> None:
    """The page's test of a fallback passes with a fallback, and only with one."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(block.replace("@pytest.fixture\n", ""), scope)

    def start(ec2: Any, zones: tuple[str, ...]) -> None:
        for zone in zones:
            try:
                placement = {"AvailabilityZone": zone}
                ec2.run_instances(ImageId=IMAGE, InstanceType="t3.micro", MinCount=1, MaxCount=1, Placement=placement)
            except ec2.exceptions.ClientError:
                continue
            return

    fixture = scope["cloud"]()
    url = next(fixture)
    try:
        scope["start_our_cluster"] = lambda ec2: start(ec2, ("us-east-1a", "us-east-1b"))
        scope["test_we_move_on_when_a_zone_is_dry"](url)
        scope["weather"](url, reset=True)
        scope["start_our_cluster"] = lambda ec2: start(ec2, ("us-east-1a",))
        with pytest.raises(AssertionError):
            scope["test_we_move_on_when_a_zone_is_dry"](url)
    finally:
        next(fixture, None)
