"""A run that waits says for what."""

from __future__ import annotations

import pytest

from tests.emulated import Emulator
from tests.plugin.conftest import Run

SUITE = """
def test_nodes(capacity):
    assert len(capacity.nodes("db")) == 2
"""


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_a_slow_boot_is_not_silent(
    pytester: pytest.Pytester, run_on: Run, cloud: Emulator, workers: tuple[str, ...]
) -> None:
    """Nodes that take 16 s to boot have a line that says so after 10 s, with workers and without."""
    cloud.weather(boot_s=16)
    pytester.makepyfile(SUITE)
    result = run_on(*workers)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*capacity: waiting for nodes in us-east-1a to be up, for *s of at most *"])
