"""The reference of the command line has what there is."""

from __future__ import annotations

import argparse

import pytest

from pytest_capacity.cli.options import _parser
from pytest_capacity.cli.runs import State
from tests.emulated import ROOT

REFERENCE = (ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8")

#: The verbs by their names.
VERBS = next(action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)).choices


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_option_is_in_the_reference(verb: str) -> None:
    """A verb has its row, an option is named."""
    assert f"\n| `{verb}" in REFERENCE
    shown = [action for action in VERBS[verb]._actions if action.help != argparse.SUPPRESS and action.dest != "help"]
    for name in (name for action in shown for name in action.option_strings):
        assert f"`{name}" in REFERENCE or f"[{name}]" in REFERENCE, name


@pytest.mark.parametrize("state", State.__args__)  # type: ignore[attr-defined]
def test_every_state_is_in_the_reference(state: str) -> None:
    """As `ls` shows it."""
    assert f"\n| `{state}` |" in REFERENCE
