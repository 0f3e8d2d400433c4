"""What flags, environment and ini say together, in this order, over the file; and whether a backend is chosen.

Loaded only where something of the plugin's is set, or there is a file of its name: see `pytest_capacity.plugin`.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from pytest_capacity.plugin.options import DEFAULT_FILE, OPTIONS, PREFIX, Option

#: Where a value came from, for messages: ``--capacity-region``, ``PYTEST_CAPACITY_REGION``, ``ini capacity_region``.
Source = str

BY_NAME: Final = {option.name: option for option in OPTIONS}

#: Variables with the options' prefix that are no option: for the keeper and its backend alone.
_NO_OPTIONS: Final = ("EMULATOR_SECRET_FILE",)

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


class Setting(NamedTuple):
    """A value that was given, and where. ``value``: text, tuple of texts, bool; the emulator's: text or False."""

    value: str | tuple[str, ...] | bool
    source: Source


class Settings:
    """What flags, environment and ini say together; the file is another's business."""

    def __init__(self, config: pytest.Config, environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = environ

    def get(self, name: str) -> Setting | None:
        """Return what was given for ``name`` and where; None: nothing.

        Raise `pytest.UsageError` for a bad truth value.
        """
        option = BY_NAME[name]
        return self._from_flag(option) or self._from_environment(option) or self._from_ini(option)

    def text(self, name: str) -> str | None:
        """Return the text given for ``name``, if any."""
        setting = self.get(name)
        return setting.value if setting and isinstance(setting.value, str) else None

    def truth(self, name: str, default: bool) -> bool:
        """Return the truth value given for ``name``."""
        setting = self.get(name)
        return bool(setting.value) if setting else default

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Return one of ``choices``, the first when nothing was said. Raise `pytest.UsageError` for any other word."""
        setting = self.get(name)
        if setting is None:
            return choices[0]
        if setting.value not in choices:
            raise pytest.UsageError(f"{setting.source}: {setting.value!r} is none of {', '.join(choices)}")
        return str(setting.value)

    def _from_flag(self, option: Option) -> Setting | None:
        value: Any = self._config.getoption(option.ini_name, None) if option.flag else None
        if value is None:
            return None
        source = option.flag_name if value is not False else f"--no-capacity-{option.name}"
        return Setting(tuple(value) if isinstance(value, list) else value, source)

    def _from_environment(self, option: Option) -> Setting | None:
        # Set and empty is how a CI system spells "not set".
        text = self._environ.get(option.env_name, "").strip()
        if not text:
            return None
        words = tuple(word.strip() for word in text.split(",") if word.strip())
        return Setting(_value(option, text, words, option.env_name), option.env_name)

    def _from_ini(self, option: Option) -> Setting | None:
        given: Any = self._config.getini(option.ini_name)
        source = f"ini {option.ini_name}"
        if option.kind == "emulator" and given is not None and not str(given).strip():
            # Taken for "not set", it would mean the real cloud.
            raise pytest.UsageError(f"{source}: it is empty. Write true, false or a scenario file, or remove the line")
        if not given:
            return None
        if isinstance(given, list):
            words = tuple(word.strip() for line in given for word in line.split(",") if word.strip())
            return Setting(words, source)
        return Setting(_value(option, str(given), (), source), source)


def _value(option: Option, text: str, words: tuple[str, ...], source: str) -> str | tuple[str, ...] | bool:
    if option.kind == "list":
        return words
    if option.kind == "bool":
        return _truth(text, source)
    if option.kind == "emulator" and text.lower() in _TRUE:
        return ""
    if option.kind == "emulator" and text.lower() in _FALSE:
        return False
    return text


def _truth(text: str, source: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise pytest.UsageError(f"{source}: {text!r} is neither true nor false")


def base_of(config: pytest.Config, setting: Setting) -> Path:
    """Return what a path is relative to: ini to the ini-file's directory, all else to where pytest was started."""
    return config.rootpath if setting.source.startswith("ini ") else config.invocation_params.dir


def config_files(config: pytest.Config, settings: Settings) -> tuple[Sequence[Path], bool]:
    """Return the files to read, and whether they were named. None: they were not, and there is no ``capacity.yaml``.

    Unnamed, the file is looked for where pytest was started, and in the ini-file's directory.
    """
    setting = settings.get("config")
    if setting:
        base = base_of(config, setting)
        named = setting.value if isinstance(setting.value, tuple) else (str(setting.value),)
        return [base / Path(one).expanduser() for one in named], True
    for folder in dict.fromkeys((config.invocation_params.dir, config.rootpath)):
        if (folder / DEFAULT_FILE).is_file():
            return [folder / DEFAULT_FILE], False
    return [], False


def mistyped(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable of the environment that has our prefix and is none of ours."""
    known = [option.name.upper() for option in OPTIONS]
    given = {name.removeprefix(PREFIX) for name in environ if name.startswith(PREFIX)}
    unknown = sorted(given.difference(known, _NO_OPTIONS))
    if not unknown:
        return []
    import difflib

    near = [difflib.get_close_matches(name, known, n=1) for name in unknown]
    return [
        f"the environment sets {PREFIX}{name}, which is not known. "
        + (f"Did you mean {PREFIX}{close[0]}?" if close else f"Known after {PREFIX} are: {', '.join(known)}")
        for name, close in zip(unknown, near, strict=True)
    ]


def is_chosen(config: pytest.Config, settings: Settings) -> bool:
    """Return whether anything names a backend: then, and only then, the plugin does anything at all."""
    if settings.get("backend"):
        return True
    paths, named = config_files(config, settings)
    if not paths:
        return False
    for path in paths if named else ():
        _check_readable(path)
    # Reads the file by a regular expression: nothing but the standard library is loaded.
    from pytest_capacity.config import backend_of

    return any(backend_of(path) is not None for path in paths)


def _check_readable(path: Path) -> None:
    """Raise `pytest.UsageError`, with the true reason, where the file that is named cannot be read."""
    try:
        readable = stat.S_ISREG(path.stat().st_mode)
        why = "is a directory" if path.is_dir() else "is no file"
        if readable:
            path.open("rb").close()
    except FileNotFoundError:
        words = f"--capacity-config: there is no file {path}. Name one that exists, or leave it out"
        raise pytest.UsageError(words) from None
    except OSError as error:
        readable, why = False, f"cannot be read: {error.strerror}"
    if not readable:
        raise pytest.UsageError(f"--capacity-config: {path} {why}. Name a file that may be read, or leave it out")
