"""Options that only a run with a backend reads; apart from `options`, which every pytest run loads."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal, cast, get_args

import pytest

from pytest_capacity.plugin.options import EMULATOR_FLAG
from pytest_capacity.plugin.settings import BY_NAME, Settings, base_of

#: What becomes of a test that needs capacity where there is none.
OnExhausted = Literal["fail", "skip", "xfail"]


def on_exhausted(config: pytest.Config, settings: Settings) -> OnExhausted:
    """Return what becomes of a test whose capacity is not to be had. ``--runxfail`` counts: what is xfailed then fails.

    Raises `pytest.UsageError` for any other word.
    """
    chosen = cast("OnExhausted", settings.choice("on_exhausted", get_args(OnExhausted)))
    return "fail" if chosen == "xfail" and config.getoption("runxfail", False) else chosen


def keeper_python(config: pytest.Config, settings: Settings) -> str | None:
    """Return the keeper's interpreter as an absolute path; None: this one. The keeper runs in another directory.

    A name without a slash is one of ``PATH``. Raises `pytest.UsageError` for what is no program.
    """
    setting = settings.get("keeper_python")
    if setting is None:
        return None
    text = str(setting.value)
    if os.sep in text or text.startswith("~"):
        # Not resolved: a virtual environment's interpreter is a link, and known by its own path.
        path: str | None = os.path.normpath(base_of(config, setting) / Path(text).expanduser())
    else:
        path = shutil.which(text)
    if path is None or not Path(path).is_file() or not os.access(path, os.X_OK):
        raise pytest.UsageError(
            f"{setting.source}: there is no program {path or text}. "
            "Name a Python interpreter that has pytest-capacity and the cloud's SDK"
        )
    return path


def scenario_file(config: pytest.Config, settings: Settings) -> tuple[bool, Path | None]:
    """Return whether to run against the emulator, and its scenario: of ``--capacity-emulator=FILE`` or the other flag.

    Raises `pytest.UsageError` for what is no such file, for two of them, and for a scenario flag without the emulator.
    """
    setting, scenario = settings.get("emulator"), settings.get("scenario")
    if setting is None or setting.value is False:
        if scenario and scenario.source == BY_NAME["scenario"].flag_name:
            raise pytest.UsageError(f"{scenario.source}: a scenario is the emulator's: pass --capacity-emulator, too")
        return False, None
    if setting.value and scenario and scenario.source == BY_NAME["scenario"].flag_name:
        raise pytest.UsageError(f"{setting.source} and {scenario.source} both name a scenario. Keep one")
    chosen = setting if setting.value else scenario
    if chosen is None:
        return True, None
    text = str(chosen.value)
    path = base_of(config, chosen) / Path(text).expanduser()
    if path.suffix not in (".yaml", ".yml") or path.is_dir():
        raise pytest.UsageError(f"{chosen.source}: {text!r} is no scenario file (.yaml)")
    if not path.is_file():
        raise pytest.UsageError(f"{chosen.source}: there is no scenario file {os.fspath(path)}")
    return True, path


def take_no_value(args: list[str]) -> bool:
    """Have ``--capacity-emulator`` without ``=`` leave the argument that follows alone; whether it is among ``args``.

    argparse would give an optional value whatever follows, a test's path too.
    """
    end = args.index("--") if "--" in args else len(args)
    bare = [place for place, argument in enumerate(args[:end]) if argument == EMULATOR_FLAG]
    for place in bare:
        args[place] = f"{EMULATOR_FLAG}="
    return bool(bare)
