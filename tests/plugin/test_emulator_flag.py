"""`--capacity-emulator` among the arguments of pytest."""

from __future__ import annotations

import pytest

from pytest_capacity.plugin.run_options import take_no_value

FLAG = "--capacity-emulator"


@pytest.mark.parametrize(
    ("given", "taken", "found"),
    [
        ([FLAG, "tests/"], [f"{FLAG}=", "tests/"], True),
        (["-q", "tests/", FLAG], ["-q", "tests/", f"{FLAG}="], True),
        ([FLAG, FLAG, "-x"], [f"{FLAG}=", f"{FLAG}=", "-x"], True),
        ([f"{FLAG}=weather.yaml", "tests/"], [f"{FLAG}=weather.yaml", "tests/"], False),
        (["tests/", "--", FLAG], ["tests/", "--", FLAG], False),
        ([FLAG, "--", FLAG], [f"{FLAG}=", "--", FLAG], True),
        ([f"{FLAG}s", "tests/"], [f"{FLAG}s", "tests/"], False),
        ([], [], False),
    ],
)
def test_the_flag_alone_takes_nothing(given: list[str], taken: list[str], found: bool) -> None:
    """What follows it stays an argument of its own; after `--` all are paths, this one too."""
    assert take_no_value(given) is found
    assert given == taken
