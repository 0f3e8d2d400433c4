"""Messages of a run in which no backend is chosen, and the plugin was meant to be used."""

from __future__ import annotations

import os
from typing import Final, NoReturn

import pytest

from pytest_capacity.plugin.options import DEFAULT_FILE, OPTIONS
from pytest_capacity.plugin.settings import Settings, config_files

_NO_BACKEND: Final = (
    "no backend was chosen. Pass --capacity-backend=NAME (or set PYTEST_CAPACITY_BACKEND, ini capacity_backend, or "
    "`backend:` in capacity.yaml)"
)

_DISABLED: Final = (
    f"capacity: this test asks for cloud capacity, and {_NO_BACKEND}; "
    "ini `capacity_when_disabled = skip` skips such tests"
)


def nothing_to_plan(config: pytest.Config, settings: Settings) -> pytest.UsageError:
    """Return the error of ``--capacity-plan`` without a backend."""
    return pytest.UsageError(f"capacity: there is nothing to plan: {_NO_BACKEND}{without_file(config, settings)}")


def stop_test(config: pytest.Config) -> NoReturn:
    """Fail, or skip, a test that asks for capacity in a run without a backend."""
    settings = Settings(config, os.environ)
    words = _DISABLED + without_file(config, settings)
    if settings.choice("when_disabled", ("error", "skip")) == "skip":
        pytest.skip(words)
    pytest.fail(words, pytrace=False)


def without_file(config: pytest.Config, settings: Settings) -> str:
    """Return what to add where an option was set, so that the plugin was meant to be used, and no backend was found."""
    told = [setting.source for option in OPTIONS if option.flag and (setting := settings.get(option.name))]
    if not told:
        return ""
    paths, _ = config_files(config, settings)
    if paths:
        from pytest_capacity.config import why_no_backend

        return f". {', '.join(told)} alone chooses none, and neither does {why_no_backend(*paths)}"
    folders = dict.fromkeys((config.invocation_params.dir, config.rootpath))
    looked = " and ".join(map(str, folders))
    return f". {', '.join(told)} alone chooses none; looked for {DEFAULT_FILE} in {looked}: none there"
