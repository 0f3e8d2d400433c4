"""``pytest-capacity``: what can be done without pytest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from pytest_capacity import __version__

#: What the emulator is made of, by the module that must be there.
_EMULATOR_NEEDS: Final = ("moto", "yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the process's exit status. A usage error is 2, as everywhere in argparse."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # The emulator has a parser of its own, and runs as a process of its own: whatever follows is its business.
    if given[:1] == ["emulator"]:
        return _emulator(given[1:])
    parser = _parser()
    parser.parse_args(given)
    parser.print_help()
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-capacity", description="Reserve cloud capacity for tests: what can be done without pytest."
    )
    parser.add_argument("--version", action="version", version=f"pytest-capacity {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    verbs.add_parser(
        "emulator", add_help=False, help="run the emulated cloud on this machine (emulator --help says more)"
    )
    return parser


def _emulator(arguments: Sequence[str]) -> int:
    missing = [name for name in _EMULATOR_NEEDS if find_spec(name) is None]
    if missing:
        print(
            f"pytest-capacity emulator: {', '.join(missing)} is not installed in {sys.prefix}. "
            "Install it by: pip install 'pytest-capacity[emulator]'",
            file=sys.stderr,
        )
        return 1
    # By name: no room may import the emulator, which is a process of its own, and here this process becomes it.
    run: Callable[[Sequence[str]], int] = import_module("pytest_capacity.emulator.__main__").main
    return run(arguments)
