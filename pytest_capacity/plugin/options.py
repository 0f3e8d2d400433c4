"""The options: each is a flag, a variable of the environment and an ini key. `settings` reads what was given.

Loaded in every pytest run of an environment that has the plugin installed: the standard library and pytest only, and
no code that only a run uses in which something of the plugin's is set. pytest reads each name and each constant of a
plugin's module by a call of its own (``marshal.load`` of a file), which makes code ten times as dear as elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    Kind = Literal["text", "list", "bool", "emulator"]

#: The file that is read when nothing names another one.
DEFAULT_FILE: Final = "capacity.yaml"

#: The flag of which pytest's own parser would let it take what follows: see `run_options.take_no_value`.
EMULATOR_FLAG: Final = "--capacity-emulator"

#: What the variables of the environment begin with.
PREFIX: Final = "PYTEST_CAPACITY_"


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
        self.env_name: Final = f"{PREFIX}{name.upper()}"


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
