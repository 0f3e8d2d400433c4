"""A worker dies: its node is lent no more, the others go on, and there was one provisioning."""

from __future__ import annotations

from typing import Final

import pytest

from tests.safety.phases import Decoy, nothing_left, prepare, provisionings, said
from tests.safety.runs import Ended, Suite

#: Some tests kill the worker that runs them; the others say which node they got, and wait until the dead have died.
TESTS: Final = """
import os, pathlib, signal, time
import pytest

HERE = pathlib.Path(__file__).parent
DEADLY = int((HERE / "deadly").read_text())

def say(name, text):
    spare = HERE / f".{name}"
    spare.write_text(text)
    spare.rename(HERE / name)

# xdist deals out two tests at a time at first: so the deadly ones fall to different workers.
ROLES = [(what, number) for number in range(4) for what in ["died", "lived"] if what == "lived" or number < DEADLY]

@pytest.mark.parametrize("role", ROLES, ids=str)
def test_role(capacity_node, role):
    what, number = role
    if what == "died":
        say(f"died-{number}", capacity_node.id)
    while len(list(HERE.glob("died-*"))) < DEADLY:
        time.sleep(0.02)
    if what == "died":
        os.kill(os.getpid(), signal.SIGKILL)
    say(f"lived-{number}", capacity_node.id)
"""


def run(suite: Suite, *arguments: str, deadly: int, count: int) -> Ended:
    """A run with two workers in which so many of the tests kill their worker."""
    prepare(suite, count=count, tests=TESTS)
    suite.write("deadly", str(deadly))
    return suite.start("-n2", *arguments).wait()


def nodes(suite: Suite, what: str, count: int) -> list[str]:
    """The nodes that the tests got which died, or lived."""
    return [said(suite, f"{what}-{number}") or "" for number in range(count)]


def test_one_dies(suite: Suite, decoy: Decoy) -> None:
    """Its node is suspect, another worker takes its place, all other tests pass on the other nodes."""
    ended = run(suite, deadly=1, count=3)
    assert ended.code == pytest.ExitCode.TESTS_FAILED, ended
    assert (ended.count("passed"), ended.count("failed")) == (4, 1), ended
    assert not set(nodes(suite, "died", 1)) & set(nodes(suite, "lived", 4)), ended
    assert provisionings(suite.emulator) == (1, 1), ended
    assert "suspect" in suite.logs()
    assert "receipt: 0 things" in ended.text, ended
    nothing_left(suite, decoy)


def test_all_die(suite: Suite, decoy: Decoy) -> None:
    """Both workers at once: those who replace them borrow what is left, of the same provisioning."""
    ended = run(suite, deadly=2, count=3)
    assert (ended.count("passed"), ended.count("failed")) == (4, 2), ended
    assert not set(nodes(suite, "died", 2)) & set(nodes(suite, "lived", 4)), ended
    assert provisionings(suite.emulator) == (1, 1), ended
    nothing_left(suite, decoy)


def test_nobody_takes_its_place(suite: Suite, decoy: Decoy) -> None:
    """With --max-worker-restart=0 the run ends, and releases."""
    ended = run(suite, "--max-worker-restart=0", deadly=2, count=3)
    assert ended.code != 0, ended
    assert provisionings(suite.emulator) == (1, 1), ended
    nothing_left(suite, decoy)


def test_too_few_are_left(suite: Suite, decoy: Decoy) -> None:
    """When the dead have made all nodes suspect, the others fail at once and say why, instead of waiting."""
    ended = run(suite, deadly=2, count=2)
    assert ended.count("passed") == 0, ended
    assert "of which 2 are suspect" in ended.text, ended
    assert provisionings(suite.emulator) == (1, 1), ended
    nothing_left(suite, decoy)
