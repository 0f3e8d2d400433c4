"""What holds for every test: no connection to a real cloud, a private state directory, and which samples run."""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Final
from zlib import crc32

import pytest

from tests.emulated import Emulator, keepers_below, secret_file, start_emulator

pytest_plugins = ["pytester"]

#: What runs of the tests that start processes: the first of every so many, by the value of ``CAPACITY_MATRIX``. They
#: are counted in the whole room, and where its name ends with ``*`` in each module. "full" is the default; what stands
#: in no row here always runs whole. "sample" asks whether an interpreter is fit; "measured" is what coverage counts,
#: with few of the tables: a process that is killed writes no figures.
SAMPLES: Final[Mapping[str, Mapping[str, int] | None]] = {
    "full": None,
    "sample": {
        "tests/safety/": 40,
        "tests/plugin/": 40,
        "tests/cli/": 40,
        "tests/test_readme.py": 60,
        "tests/keeper/": 20,
        "tests/engine/": 20,
        "tests/emulator/": 20,
        "tests/backends/": 10,
        "tests/remote/": 4,
    },
    "measured": {
        "tests/safety/": 100,
        "tests/plugin/*": 6,
        "tests/cli/*": 5,
        "tests/keeper/*": 3,
        "tests/test_readme.py": 2,
    },
}

#: "rest": what "measured" leaves out, and of what it runs without a process the same as "sample". The tables of killed
#: processes are whole here. What is tried without workers and with them is tried in one way here, and the cases take
#: turns; of each function of the tables of sessions and of the ladder, which are the longest, every fifth case runs.
#: All of them run under "full": by hand, and in the nightly CI.
REST: Final = "rest"
KILLED: Final = (
    "tests/safety/test_kill_matrix",
    "tests/safety/test_pid1",
    "tests/safety/test_worker_deaths",
)
LONG: Final = ("tests/safety/test_session_deaths.py", "tests/safety/test_ladder_matrix.py")
LONG_ROWS: Final = 5
#: Where tests start processes.
STARTING: Final = ("tests/safety/", "tests/plugin/", "tests/cli/")
#: Parameters that say whether there are workers.
WAYS: Final = ("-n0", "-n1", "-n2", "-pno:xdist", (), ("-n1",), ("-n2",))

#: How many examples hypothesis makes up for a test; by itself it makes 100.
EXAMPLES: Final = {"measured": 40, "sample": 15, REST: 15}

#: Of a table elsewhere, a sample runs every so many rows.
ROWS: Final = 10

#: Port 1 of this machine refuses: what is aimed at no emulator reaches nothing.
NO_CLOUD: Final = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}


#: What the names of variables begin with that lead to an account, or change what a run does.
CLEARED: Final = ("AWS_", "GOOGLE_", "CLOUDSDK_", "PYTEST_CAPACITY_", "XDG_", "PYTEST_ADDOPTS")


@pytest.fixture(autouse=True, scope="session")
def no_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's credentials, endpoints, home and journal are out of reach."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(CLEARED):
                patch.delenv(name)
        for name, value in NO_CLOUD.items():
            patch.setenv(name, value)
        patch.setenv("AWS_CONFIG_FILE", str(home / "no-aws-config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "no-aws-credentials"))
        patch.setenv("HOME", str(home))
        patch.setenv("PYTEST_CAPACITY_EMULATOR_SECRET_FILE", str(secret_file()))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        # Lines are matched whole.
        patch.delenv("COLUMNS", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def as_in_a_terminal() -> None:
    """What is started here heeds the signals of a terminal, though in a shell's background or by nohup we do not."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Tests interrupt this process, too.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # Nothing comes of it here still; but what is started begins with the default.
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(autouse=True, scope="session")
def no_keeper_stays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A keeper whose emulator has ended before it could give everything back would look for it for hours."""
    path = Emulator.runs_below = f"{tmp_path_factory.getbasetemp()}{os.sep}"
    yield
    for pid, _ in keepers_below(path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[Emulator]:
    """One emulator for all tests of this process: a start costs as much as a run. It has no defects to tell of."""
    with start_emulator() as emulator:
        yield emulator
        assert emulator.errors() == ""


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    """It, with an empty World and fair weather."""
    emulator_process.renew()
    return emulator_process


@pytest.fixture(scope="session")
def descriptions_read_once() -> Iterator[None]:
    """The SDK reads the description of a service once in this process, and not for each of a test's clients."""
    descriptions = pytest.importorskip("pytest_capacity.backends.aws.descriptions")
    with pytest.MonkeyPatch.context() as patch:
        for files in (descriptions.JSONFileLoader, descriptions.Files):
            read = cache(files().load_file)
            patch.setattr(files, "load_file", lambda _, path, read=read: read(path))
        yield


def pytest_configure() -> None:
    """Of made-up examples only a few, but under "full"."""
    few = EXAMPLES.get(os.environ.get("CAPACITY_MATRIX", "full"))
    # The demonstrations have this file above them, and run with what a user installs: without hypothesis.
    if few and find_spec("hypothesis"):
        hypothesis = import_module("hypothesis")
        hypothesis.settings.register_profile("few", max_examples=few)
        hypothesis.settings.load_profile("few")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Without the garbage collector, which would look at thousands of tests again and again: each worker makes all."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the part of each table that ``CAPACITY_MATRIX`` wants, the same ones in every process."""
    part = os.environ.get("CAPACITY_MATRIX", "full")
    if part not in (*SAMPLES, REST):
        raise pytest.UsageError(f"CAPACITY_MATRIX={part} is none of {', '.join([*SAMPLES, REST])}")
    runs = _rest(items) if part == REST else _rows(items, SAMPLES[part])
    left_out = [item for item, runs_here in zip(items, runs, strict=True) if not runs_here]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item, runs_here in zip(items, runs, strict=True) if runs_here]


def _rest(items: Sequence[pytest.Item]) -> list[bool]:
    """Which items run where the measured ones run elsewhere."""
    measured, sampled = (_rows(items, SAMPLES[part]) for part in ("measured", "sample"))
    long, turns = _long(items), _turns(items)
    return [
        item.nodeid.startswith(KILLED)
        or (sampled[number] and not item.nodeid.startswith(STARTING))
        or (long[number] and turns[number] and not measured[number])
        for number, item in enumerate(items)
    ]


def _long(items: Sequence[pytest.Item]) -> list[bool]:
    """Which items are no case of a function in `LONG`, or one of those that run."""
    seen = Counter[str]()
    kept: list[bool] = []
    for item in items:
        function = item.nodeid.partition("[")[0]
        kept.append(not function.startswith(LONG) or seen[function] % LONG_ROWS == 0)
        seen[function] += 1
    return kept


def _turns(items: Sequence[pytest.Item]) -> list[bool]:
    """Which items are tried in one way only, or in the way whose turn it is: one for each case of each function."""
    ways: dict[tuple[str, str], list[int]] = {}
    for number, item in enumerate(items):
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        others = sorted((name, repr(value)) for name, value in parameters.items() if value not in WAYS)
        if item.nodeid.startswith(STARTING) and len(others) < len(parameters):
            ways.setdefault((item.nodeid.partition("[")[0], repr(others)), []).append(number)
    kept = [True] * len(items)
    cases = Counter[str]()
    for (function, _), numbers in ways.items():
        turn = (cases[function] + crc32(function.encode())) % len(numbers)
        cases[function] += 1
        for way, number in enumerate(numbers):
            kept[number] = way == turn
    return kept


def _rows(items: Sequence[pytest.Item], sample: Mapping[str, int] | None) -> list[bool]:
    """Which items are rows that a sample keeps; None keeps all."""
    if sample is None:
        return [True] * len(items)
    seen: dict[str, int] = {}
    kept: list[bool] = []
    for item in items:
        table, every = _table(item, sample)
        number = seen[table] = seen.get(table, -1) + 1
        kept.append(number % every == 0)
    return kept


def _table(item: pytest.Item, sample: Mapping[str, int]) -> tuple[str, int]:
    """The table of which ``item`` is a row (a room, a module, a function's cases), and every how many rows run."""
    for rooms, every in sample.items():
        if item.nodeid.startswith(rooms.rstrip("*")):
            return item.nodeid.partition("::")[0] if rooms.endswith("*") else rooms, every
    return item.nodeid.partition("[")[0], ROWS if item.get_closest_marker("matrix") else 1
