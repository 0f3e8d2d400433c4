"""pytest's configuration -> a checked `Request`, or a usage error that names every fault."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import pytest

from pytest_capacity.backends import INSTALLED, provider
from pytest_capacity.config.loading import load
from pytest_capacity.config.source import Overrides
from pytest_capacity.errors import ConfigError
from pytest_capacity.keeper.spawn import missing_where, needed_extras
from pytest_capacity.model import Request, Topology
from pytest_capacity.plugin.run_options import scenario_file
from pytest_capacity.plugin.settings import Settings, config_files
from pytest_capacity.text import clean, on_screen

_TIMES: Final = re.compile(r"\d+\*")


def read_request(config: pytest.Config, settings: Settings, environ: Mapping[str, str]) -> Request:
    """Return the run's request. Raises `pytest.UsageError`; makes no call and starts nothing."""
    overrides = Overrides.of(settings.get, emulator=scenario_file(config, settings)[0])
    paths, _ = config_files(config, settings)
    try:
        request = load(
            overrides,
            clouds=INSTALLED,
            path=paths,
            environ=environ,
            topologies=_topologies(config),
            project=config.rootpath.name,
            warn=partial(_warn, config),
        )
    except ConfigError as error:
        faults = "\n".join(f"  {clean(fault)}" for fault in error.faults)
        raise pytest.UsageError(on_screen(f"capacity: the configuration cannot be used:\n{faults}")) from None
    # A profile that the environment chose is part of what the run is: the header names it, the keeper uses it.
    return msgspec.structs.replace(
        provider(request.backend).with_environment(request, environ),
        journal=_journal(
            request.journal, config.invocation_params.dir if overrides.journal or not paths else paths[-1].parent
        ),
    )


def _warn(config: pytest.Config, words: str) -> None:
    config.issue_config_time_warning(pytest.PytestConfigWarning(f"capacity: {clean(words)}"), stacklevel=2)


def _journal(journal: str | None, base: Path) -> str | None:
    """Return the journal's absolute path: the keeper runs elsewhere. In the file it is relative to the file."""
    return None if journal is None else os.fspath(base.absolute() / Path(journal).expanduser())


def _topologies(config: pytest.Config) -> Mapping[str, Topology]:
    """Return what the hook's implementations gave, by name."""
    found: dict[str, Topology] = {}
    for given in config.hook.pytest_capacity_topologies(config=config):
        if not isinstance(given, Mapping):
            if given is None:
                continue
            raise pytest.UsageError(f"hook pytest_capacity_topologies: returned {given!r}; return a mapping by name")
        for name, topology in given.items():
            if not isinstance(topology, Topology):
                raise pytest.UsageError(
                    f"hook pytest_capacity_topologies: {name!r} is {topology!r}; make it a pytest_capacity.Topology"
                )
            if name in found:
                raise pytest.UsageError(f"hook pytest_capacity_topologies: {name!r} is given twice; rename one")
            # The key is the name: a topology need not be given its own twice.
            found[name] = msgspec.structs.replace(topology, name=name)
    return found


def check_extras(request: Request, python: str | None) -> None:
    """Refuse a run whose extras are not installed where its keeper runs: in ``python``, or in this interpreter.

    Nodes are logged in to by both: the keeper sees whether they are ready, tests use them. Raises `pytest.UsageError`.
    """
    missing = missing_where(python, needed_extras(request))
    if missing:
        where = f" beside {python}" if python else ""
        another = "another interpreter" if python else "an interpreter that has it"
        raise pytest.UsageError(
            f"capacity: something is not installed{where}:\n{_listed(missing)}\n"
            f"  or name {another} by --capacity-keeper-python"
        )
    if python is not None and request.ssh and (missing := missing_where(None, ["ssh"])):
        raise pytest.UsageError(
            f"capacity: something is not installed that tests need to use nodes:\n{_listed(missing)}"
        )


def _listed(missing: Sequence[str]) -> str:
    return "\n".join(f"  {clean(words)}" for words in missing)


def check_workers(config: pytest.Config) -> None:
    """Refuse what cannot reach the keeper: workers on other machines, and systems without Unix sockets.

    Raises `pytest.UsageError`.
    """
    if not sys.platform.startswith(("linux", "darwin")):
        raise pytest.UsageError(
            f"capacity: this works on Linux and macOS, and this is {sys.platform}. "
            "Leave --capacity-backend out to run the other tests"
        )
    for spec in config.getoption("tx", None) or []:
        parts = _TIMES.sub("", str(spec), count=1).split("//")
        remote = [part for part in parts if part.split("=")[0] in ("ssh", "socket", "via", "vagrant_ssh")]
        if remote or not any(part.split("=")[0] == "popen" for part in parts):
            raise pytest.UsageError(
                f"capacity: --tx {spec}: a worker on another machine cannot reach this run's keeper. "
                "Use workers of this machine: -n N, or --tx popen"
            )
