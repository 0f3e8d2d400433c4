"""Every signal in each phase of a run without workers: one provisioning, and nothing left."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.safety.blows import BLOWS, struck
from tests.safety.phases import PHASES, Decoy, Phase
from tests.safety.runs import Suite

pytestmark = pytest.mark.matrix


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("blow", BLOWS)
def test_serial(
    suite: Suite, decoy: Decoy, blow: str, phase: Phase, record_property: Callable[[str, object], None]
) -> None:
    """To the group, of which pytest is all: at most one provisioning, and nothing left that is not the decoy."""
    record_property("seconds", struck(suite, decoy, BLOWS[blow], "group", phase))
