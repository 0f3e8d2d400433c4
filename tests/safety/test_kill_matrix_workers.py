"""The signals of the kill matrix, to a run with two workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from tests.safety.blows import BLOWS, struck
from tests.safety.phases import PHASES, Decoy, Phase
from tests.safety.runs import Suite

pytestmark = pytest.mark.matrix

#: SIGTERM and SIGHUP are one handler of ours, so they take turns.
TURNS: Final = {"TERM": 0, "HUP": 1}
CASES: Final = [
    (blow, target, phase)
    for blow in BLOWS
    for number, target in enumerate(("controller", "group"))
    for step, phase in enumerate(PHASES, number)
    if TURNS.get(blow, step % 2) == step % 2
]


@pytest.mark.parametrize(("blow", "target", "phase"), CASES)
def test_workers(
    suite: Suite, decoy: Decoy, blow: str, target: str, phase: Phase, record_property: Callable[[str, object], None]
) -> None:
    """pytest with two workers: at most one provisioning, and nothing left that is not the decoy."""
    record_property("seconds", struck(suite, decoy, BLOWS[blow], target, phase, "-n2"))
