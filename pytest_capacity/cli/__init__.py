"""``pytest-capacity``: what can be done without pytest.

One module a verb, loaded when it is asked for: `ls` is to be there at once, and none of them needs pytest or an SDK.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Final

#: What the emulator is made of, by the module that must be there.
_EMULATOR_NEEDS: Final = ("moto", "yaml")

#: As of a command that a signal ended.
_BY_SIGNAL: Final = 128


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the process's exit status. A usage error is 2, as everywhere in argparse."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # The emulator has a parser of its own, and runs as a process of its own: whatever follows is its business.
    if given[:1] == ["emulator"]:
        return _emulator(given[1:])
    from pytest_capacity.cli.options import read_options

    options = read_options(given)
    if options.verb is None:
        return 2
    return _at_edge(options)


def _at_edge(options: argparse.Namespace) -> int:
    """Return the verb's own status; an expected error is a message."""
    from pytest_capacity.cli.console import Misused, complain_of
    from pytest_capacity.errors import CapacityError, ConfigError

    verb: Callable[[argparse.Namespace], int] = import_module(f"pytest_capacity.cli.{options.verb}").main
    try:
        status = verb(options)
        sys.stdout.flush()
    except CapacityError as error:
        complain_of(options.verb, error)
        return 2 if isinstance(error, ConfigError | Misused) else 1
    except BrokenPipeError:
        # `ls | head -1`: whatever is still to be flushed goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BY_SIGNAL + signal.SIGPIPE
    except KeyboardInterrupt:
        return _BY_SIGNAL + signal.SIGINT
    return status


def _emulator(arguments: Sequence[str]) -> int:
    missing = [name for name in _EMULATOR_NEEDS if find_spec(name) is None]
    if missing:
        from pytest_capacity.install_advice import install_command

        print(
            f"pytest-capacity emulator: {', '.join(missing)} is not installed in {sys.prefix}. "
            f"Install it by: {install_command('emulator')}",
            file=sys.stderr,
        )
        return 1
    # By name: no room may import the emulator, which is a process of its own, and here this process becomes it.
    run: Callable[[Sequence[str]], int] = import_module("pytest_capacity.emulator.__main__").main
    return run(arguments)
