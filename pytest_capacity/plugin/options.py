"""What may be set, and where: flags, environment and ini, in this order, over the file.

Loaded in every pytest run of an environment that has the plugin installed: the standard library and pytest only.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import pytest

Kind = Literal["text", "list", "bool", "emulator"]

#: Where a value came from, for messages: ``--capacity-region``, ``PYTEST_CAPACITY_REGION``, ``ini capacity_region``.
Source = str

#: The file that is read when nothing names another one.
DEFAULT_FILE: Final = "capacity.yaml"

_PREFIX: Final = "PYTEST_CAPACITY_"
#: Variables with that prefix that are no option: for the keeper and its backend alone.
_NO_OPTIONS: Final = ("EMULATOR_SECRET_FILE",)

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


class Option:
    """One setting: ``region`` is ``--capacity-region``, ``PYTEST_CAPACITY_REGION`` and ini ``capacity_region``.

    A plain class of plain attributes: a dataclass, a named tuple and each further function take their part of every
    pytest run, which makes the class or loads the function's code.
    """

    def __init__(
        self, name: str, help: str, kind: Kind = "text", metavar: str | None = None, *, flag: bool = True
    ) -> None:
        self.name: Final = name
        self.help: Final = help
        self.kind: Final = kind
        self.metavar: Final = metavar
        #: False: ini and environment only.
        self.flag: Final = flag
        self.flag_name: Final = "--capacity-" + name.replace("_", "-")
        self.ini_name: Final = f"capacity_{name}"
        self.env_name: Final = f"{_PREFIX}{name.upper()}"


class BackendHelp(str):
    """A help text that names the backends. They are looked for when it is shown, which few runs of pytest do."""

    __slots__ = ()

    def __mod__(self, params: object) -> str:
        from pytest_capacity.backends import providers

        return f"{str.__mod__(self, params)} (here: {', '.join(providers())})"


OPTIONS: Final[Sequence[Option]] = (
    Option("backend", BackendHelp("Cloud to take machines from; without it the plugin does nothing"), metavar="NAME"),
    Option(
        "config",
        f"File that says what the tests need (default: {DEFAULT_FILE}; repeatable: a later one goes before)",
        kind="list",
        metavar="FILE",
    ),
    Option("region", "Region to use (repeatable)", kind="list", metavar="REGION"),
    Option("zone", "Zone to try, in this order: letter, name or zone id (repeatable)", kind="list", metavar="ZONE"),
    Option("reserve", "Reserve capacity before on-demand nodes are started", kind="bool"),
    Option("duration", "Hard end of everything that the run holds, from its start", metavar="TIME"),
    Option("market", "Market of groups that name none", metavar="on-demand|spot"),
    Option(
        "fallback",
        "Axes along which to move on where a cloud has run out, these and no others: spot,zone,region,type, or none",
        kind="list",
        metavar="AXES",
    ),
    Option("retry_until", "How long to go round again where nothing was to be had; 0: not at all", metavar="TIME"),
    Option("timeout", "Longest time that provisioning one topology may take", metavar="TIME"),
    Option("endpoint", "URL of the cloud's API, instead of the cloud itself", metavar="URL"),
    Option(
        "emulator",
        "Run against the built-in emulator: no cloud is used, nothing is billed; with =FILE in that weather",
        kind="emulator",
        metavar="SCENARIO",
    ),
    Option("scenario", "The emulator's weather, a YAML file", metavar="FILE"),
    Option("session", "Share the nodes with all processes that name the same session", metavar="NAME"),
    Option(
        "keep",
        "Keep the nodes for the session's next run: for a time (30m), or never, failed, always",
        metavar="TIME|WHEN",
    ),
    Option(
        "rebuild", "Release what a session keeps, if its nodes are not those asked for, and build anew", kind="bool"
    ),
    Option(
        "on_exhausted",
        "What a test does whose capacity is not to be had anywhere (default: fail)",
        metavar="fail|skip|xfail",
    ),
    Option("plan", "Show what would be tried, in which order, and end: no test runs, nothing is created", kind="bool"),
    Option("journal", "File that records every step (default: in the user's state directory)", metavar="FILE"),
    Option(
        "collect_dir",
        "Directory for what is collected from the nodes that a failed test used "
        "(default: capacity-collected beside the JUnit or HTML report, or in the root directory)",
        metavar="DIR",
    ),
    Option("keeper_python", "Interpreter that has the cloud's SDK (default: this one)", metavar="PATH"),
    Option("when_disabled", "What a test that asks for capacity does without a backend: error or skip", flag=False),
    Option("release_timeout", "Longest time that the end of the run waits for the release (default 5m)", flag=False),
    Option("credentials", "Credentials that end before the run may: warn or error", flag=False),
    Option("handle_signals", "Turn SIGTERM and SIGHUP into Ctrl-C (default true)", kind="bool", flag=False),
    Option("outlive_job", "Let the keeper live on after the CI job ends, at most 120 s", kind="bool", flag=False),
)

BY_NAME: Final = {option.name: option for option in OPTIONS}


def add_options(parser: pytest.Parser) -> None:
    """Declare every flag and ini key."""
    group = parser.getgroup("capacity", "cloud capacity")
    for option in OPTIONS:
        if option.flag:
            _add_flag(group, option)
        if option.kind == "list":
            parser.addini(option.ini_name, option.help, type="linelist", default=None)
        else:
            parser.addini(option.ini_name, option.help, type="string", default=None)


def take_no_value(args: list[str]) -> bool:
    """Have ``--capacity-emulator`` without ``=`` leave the argument that follows alone; whether it is among ``args``.

    argparse would give an optional value whatever follows, a test's path too.
    """
    flag = BY_NAME["emulator"].flag_name
    end = args.index("--") if "--" in args else len(args)
    bare = [place for place, argument in enumerate(args[:end]) if argument == flag]
    for place in bare:
        args[place] = f"{flag}="
    return bool(bare)


def _add_flag(group: pytest.OptionGroup, option: Option) -> None:
    dest = option.ini_name
    if option.kind == "list":
        group.addoption(
            option.flag_name, dest=dest, action="append", default=None, metavar=option.metavar, help=option.help
        )
    elif option.kind == "bool":
        group.addoption(option.flag_name, dest=dest, action="store_true", default=None, help=option.help)
        group.addoption(
            f"--no-capacity-{option.name}",
            dest=dest,
            action="store_false",
            default=None,
            help=f"Opposite of {option.flag_name}",
        )
    elif option.kind == "emulator":
        group.addoption(
            option.flag_name, dest=dest, nargs="?", const="", default=None, metavar=option.metavar, help=option.help
        )
    else:
        group.addoption(option.flag_name, dest=dest, default=None, metavar=option.metavar, help=option.help)


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
    given = {name.removeprefix(_PREFIX) for name in environ if name.startswith(_PREFIX)}
    unknown = sorted(given.difference(known, _NO_OPTIONS))
    if not unknown:
        return []
    import difflib

    near = [difflib.get_close_matches(name, known, n=1) for name in unknown]
    return [
        f"the environment sets {_PREFIX}{name}, which is not known. "
        + (f"Did you mean {_PREFIX}{close[0]}?" if close else f"Known after {_PREFIX} are: {', '.join(known)}")
        for name, close in zip(unknown, near, strict=True)
    ]


def is_chosen(config: pytest.Config, settings: Settings) -> bool:
    """Return whether anything names a backend: then, and only then, the plugin does anything at all."""
    if settings.get("backend"):
        return True
    paths, named = config_files(config, settings)
    if not paths:
        # Most runs have no such file: they need not load what reads one.
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
