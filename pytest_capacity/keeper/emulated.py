"""The embedded emulator: a process beside the keeper, for runs without any cloud."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

import pytest_capacity
from pytest_capacity.errors import ConfigError
from pytest_capacity.keeper.spawn import last_lines

_BOOT: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from pytest_capacity.emulator.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


class _Ready(msgspec.Struct):
    url: str


def start(owner: int, scenario: str | None, log: str) -> str:
    """Start an emulator that outlives us but not ``owner`` (a pid) by much; its URL.

    ``log`` is where our standard error goes, and so the emulator's. Raises `ConfigError` with what it wrote there.
    """
    command = [sys.executable, "-I", "-c", _BOOT, str(Path(pytest_capacity.__file__).resolve().parent.parent)]
    command += [f"--owner={owner}", *([f"--scenario={scenario}"] if scenario else [])]
    process = subprocess.Popen(
        command, cwd="/", env=dict(os.environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
    try:
        return msgspec.json.decode(line, type=_Ready).url
    except msgspec.DecodeError:
        process.kill()  # It says nothing more, whatever it does.
        process.wait()
        raise ConfigError(
            [
                f"--capacity-emulator: it did not start: {last_lines(log, 1).rstrip('.')}.",
                f"Correct the scenario, or install the extra (pip install 'pytest-capacity[emulator]'). Its log: {log}",
            ]
        ) from None
