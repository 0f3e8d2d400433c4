"""What may be written after ``pytest-capacity``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from pytest_capacity.version import __version__

_RUN_HELP: Final = "a session's name, a run's id, or the beginning of one that fits no other"

_DESCRIPTION: Final = "Reserve cloud capacity for tests: what can be done without pytest."


def read_options(given: Sequence[str]) -> argparse.Namespace:
    """Return the verb (None: none was named, and the help was shown) and its options.

    ``command`` is what follows ``--``.
    Raises `SystemExit` as argparse does.
    """
    end = list(given).index("--") if "--" in given else len(given)
    parser = _parser()
    options = parser.parse_args(given[:end])
    options.command = list(given[end + 1 :])
    if options.verb is None:
        parser.print_help()
    elif options.command and options.verb not in ("run", "ssh"):
        parser.error(f"{options.verb} takes no command: {options.command}")
    elif options.verb == "run" and not options.command:
        parser.error("run: name the command after two dashes: pytest-capacity run --config capacity.yaml -- COMMAND")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pytest-capacity", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"pytest-capacity {__version__}")
    parser.set_defaults(verb=None)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb")
    _ls(verbs.add_parser("ls", help="show the runs that hold something", allow_abbrev=False))
    _ssh(verbs.add_parser("ssh", help="log in on a node, or run a command there", allow_abbrev=False))
    _extend(verbs.add_parser("extend", help="let a run last longer", allow_abbrev=False))
    _release(verbs.add_parser("release", help="give back what a run holds", allow_abbrev=False))
    _plan(verbs.add_parser("plan", help="show what a run would try, in which order", allow_abbrev=False))
    _run(verbs.add_parser("run", help="run a command with nodes, without pytest", allow_abbrev=False))
    _ops(verbs.add_parser("ops", help="show the operation requests of runs", allow_abbrev=False))
    _logs(verbs.add_parser("logs", help="show the log of a run's keeper", allow_abbrev=False))
    _allocations(
        verbs.add_parser("allocations", help="show who uses which resource, and until when", allow_abbrev=False)
    )
    _serve(verbs.add_parser("serve", help="serve the same over HTTP on this machine", allow_abbrev=False))
    verbs.add_parser(
        "emulator", add_help=False, help="run the emulated cloud on this machine (emulator --help says more)"
    )
    return parser


def _ls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, with all that is known")
    parser.add_argument("--all", action="store_true", help="those that are over as well")
    _journal(parser)


def _ssh(parser: argparse.ArgumentParser) -> None:
    parser.usage = "pytest-capacity ssh [-h] [--journal FILE] RUN [[TOPOLOGY/]GROUP/N] [-- COMMAND...]"
    _named(parser)
    parser.add_argument("node", nargs="?", metavar="[TOPOLOGY/]GROUP/N", help="which node; N counts from 0")


def _extend(parser: argparse.ArgumentParser) -> None:
    _named(parser)
    parser.add_argument("time", metavar="TIME", help="by how much: 1h, 90m")


def _release(parser: argparse.ArgumentParser) -> None:
    _named(parser)
    parser.add_argument("--force", action="store_true", help="though processes use it")


def _logs(parser: argparse.ArgumentParser) -> None:
    _named(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the keeper is gone")


def _ops(parser: argparse.ArgumentParser) -> None:
    whats = parser.add_subparsers(title="what to show", metavar="WHAT", dest="what", required=True)
    listing = whats.add_parser("ls", help="the requests of a run, or of all that hold something", allow_abbrev=False)
    listing.add_argument("run", nargs="?", metavar="RUN", help=_RUN_HELP)
    listing.add_argument("--active", action="store_true", help="only those that have not ended")
    show = whats.add_parser("show", help="one request with its conditions", allow_abbrev=False)
    watch = whats.add_parser("watch", help="each step as it happens, until all have ended", allow_abbrev=False)
    watch.add_argument("run", metavar="RUN", help=_RUN_HELP)
    watch.add_argument("name", nargs="?", metavar="REQUEST", help="one request (default: all of the run)")
    show.add_argument("run", metavar="RUN", help=_RUN_HELP)
    show.add_argument("name", metavar="REQUEST", help="its name, or how its name begins")
    for one in (listing, show):
        one.add_argument("--json", action="store_true", help="as JSON, with all that is known")
    for one in (listing, show, watch):
        _journal(one)


def _allocations(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resource", metavar="ID", help="a node, a host, or a reservation that is on no host")
    parser.add_argument("--lease", metavar="RUN", help="a lease of the cloud's own, or a run")
    parser.add_argument("--reservation", metavar="ID", help="a reservation, by the cloud's id")
    ended = parser.add_mutually_exclusive_group()
    ended.add_argument("--active", dest="terminated", action="store_false", help="what stands or is to come (default)")
    ended.add_argument("--terminated", action="store_true", help="what has ended")
    ended.add_argument("--all", action="store_true", help="both")
    parser.set_defaults(terminated=False)
    parser.add_argument(
        "--from", dest="start", metavar="TIME", help="a window's begin: '2026-11-21 01:33' (UTC), or now"
    )
    parser.add_argument("--to", dest="end", metavar="TIME", help="its end")
    parser.add_argument("--json", action="store_true", help="as JSON, with all that is known")
    _cloud(parser)


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, metavar="N", help="where to listen (default: a free port)")
    parser.add_argument(
        "--policy", choices=("admin", "member"), default="admin", help="whose tokens may see allocations"
    )
    parser.add_argument("--json", action="store_true", help="say where it listens, and the token, as JSON")
    _cloud(parser)


def _cloud(parser: argparse.ArgumentParser) -> None:
    """Which cloud is asked beside the journal."""
    what = "whose cloud is asked, too (default: capacity.yaml, if there is one; repeatable: a later one goes before)"
    _flag(parser, "config", metavar="FILE", action="append", help=what)
    parser.add_argument("--no-cloud", action="store_true", help="ask no cloud: by the journal alone")
    _flag(parser, "region", metavar="REGION", action="append", help="region to read (default: the file's)")
    _flag(parser, "endpoint", metavar="URL", help="the cloud's API, instead of the cloud itself")
    _flag(parser, "keeper-python", metavar="PATH", help="interpreter that has the cloud's SDK (default: this one)")
    parser.set_defaults(emulator=None)
    _journal(parser)


def _run(parser: argparse.ArgumentParser) -> None:
    parser.usage = "pytest-capacity run [options] -- COMMAND..."
    _wanted(parser)
    _flag(parser, "session", metavar="NAME", help="share the nodes with all processes that name the same session")
    _flag(parser, "keep", metavar="TIME|WHEN", help="keep the nodes for the session's next run: 30m, or failed, always")
    _flag(parser, "rebuild", action="store_true", help="build anew what a session keeps, if it is not what is needed")
    _flag(parser, "retry-until", metavar="TIME", help="how long to go round again where nothing was to be had")
    parser.add_argument("-q", "--quiet", action="store_true", help="say only what goes wrong, and the receipt")


def _plan(parser: argparse.ArgumentParser) -> None:
    _wanted(parser)
    parser.add_argument("--json", action="store_true", help="as JSON, with all that is known")


def _wanted(parser: argparse.ArgumentParser) -> None:
    """Declare what is needed, and of whom."""
    what = "what is needed (default: capacity.yaml; repeatable: a later one goes before)"
    _flag(parser, "config", metavar="FILE", action="append", help=what)
    _flag(parser, "backend", metavar="NAME", help="the cloud")
    _flag(parser, "region", metavar="REGION", action="append", help="region to use")
    _flag(parser, "zone", metavar="ZONE", action="append", help="zone to try (repeatable)")
    _flag(parser, "fallback", metavar="AXES", action="append", help="move along spot,zone,region,type only, or none")
    _flag(parser, "endpoint", metavar="URL", help="the cloud's API, instead of the cloud itself")
    _flag(parser, "emulator", metavar="SCENARIO", nargs="?", const="", help="run against the built-in emulator")
    _flag(parser, "keeper-python", metavar="PATH", help="interpreter that has the cloud's SDK (default: this one)")
    parser.add_argument(
        "--topology", metavar="NAME", action="append", help="a topology that is needed (repeatable; default: all)"
    )
    _journal(parser)


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=_RUN_HELP)
    _journal(parser)


def _journal(parser: argparse.ArgumentParser) -> None:
    _flag(parser, "journal", metavar="FILE", help="the journal (default: in the user's state directory)")


def _flag(parser: argparse.ArgumentParser, name: str, *, help: str, **how: Any) -> None:
    """Declare ``--name``; and as pytest calls it, since that is what files, messages and habits say."""
    how.setdefault("default", None)
    parser.add_argument(f"--{name}", help=help, **how)
    parser.add_argument(f"--capacity-{name}", dest=name.replace("-", "_"), help=argparse.SUPPRESS, **how)
