"""Signals to a real run: each becomes one orderly end, and nothing is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated import Emulator
from tests.plugin.conftest import CONFIG, PATIENCE, PLUGINS, Run

SLEEPS = """
    import pathlib, time

    def test_it(capacity):
        pathlib.Path(__file__).with_name("running").touch()
        time.sleep(600)
"""


class Process:
    """A pytest that runs beside the test."""

    def __init__(self, directory: Path, cloud: Emulator | None, *arguments: str) -> None:
        (directory / "capacity.yaml").write_text(CONFIG, encoding="utf-8")
        self.directory = directory
        command = [sys.executable, "-m", "pytest", *PLUGINS]
        command += [f"--capacity-endpoint={cloud.url}"] if cloud else []
        with (directory / "output").open("wb") as output:
            self.popen = subprocess.Popen(
                [*command, *arguments], cwd=directory, stdout=output, stderr=output, start_new_session=True
            )

    def output(self) -> str:
        """What it has written."""
        return (self.directory / "output").read_text(encoding="utf-8")

    def await_file(self, name: str) -> None:
        """Wait until a test of it has made this file."""
        until = time.monotonic() + PATIENCE
        while not (self.directory / name).exists():
            assert self.popen.poll() is None, self.output()
            assert time.monotonic() < until, self.output()
            time.sleep(0.02)

    def await_text(self, text: str) -> None:
        """Wait until it has written this."""
        until = time.monotonic() + PATIENCE
        while text not in self.output():
            assert time.monotonic() < until, self.output()
            time.sleep(0.02)


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Those that a test starts are ended with it."""
    started: list[Process] = []
    yield started
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
        process.popen.wait()


def await_nothing_held(cloud: Emulator) -> None:
    """Wait until the World holds nothing."""
    until = time.monotonic() + PATIENCE
    while cloud.held():
        assert time.monotonic() < until, cloud.held()
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_a_signal_is_one_orderly_end(
    pytester: pytest.Pytester, cloud: Emulator, processes: list[Process], number: signal.Signals, workers: str
) -> None:
    """Answered at once, before the traceback; then all is released and waited for, with the receipt in the summary.

    Status 2, as for Ctrl-C.
    """
    pytester.makepyfile(SLEEPS)
    process = Process(pytester.path, cloud, workers)
    processes.append(process)
    process.await_file("running")
    process.popen.send_signal(number)
    assert process.popen.wait(PATIENCE) == pytest.ExitCode.INTERRUPTED
    output = process.output()
    if workers == "-n0":
        said = [output.index(words) for words in ("capacity: interrupted", "capacity: releasing", "KeyboardInterrupt")]
        assert said == sorted(said)
    assert "receipt: 0 things" in output
    assert cloud.held() == []


def test_a_second_interrupt_leaves_the_rest_to_the_keeper(
    pytester: pytest.Pytester, cloud: Emulator, processes: list[Process]
) -> None:
    """It says what is still held and by whom it is released; that then happens."""
    pytester.makepyfile(SLEEPS)
    process = Process(pytester.path, cloud, "-n0")
    processes.append(process)
    process.await_file("running")
    cloud.hold("TerminateInstances")
    process.popen.send_signal(signal.SIGINT)
    process.await_text("capacity: releasing")
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(PATIENCE) == pytest.ExitCode.INTERRUPTED
    assert "still held:" in process.output()
    assert "goes on releasing; its log: " in process.output()
    cloud.go_on()
    await_nothing_held(cloud)


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
@pytest.mark.parametrize("gap", [0.05, 0.5])
def test_two_quick_interrupts_while_it_provisions(
    pytester: pytest.Pytester, cloud: Emulator, processes: list[Process], workers: str, gap: float
) -> None:
    """As a terminal sends them, to all of the group. The first is answered at once, and nothing more is asked for.

    The second comes while pytest renders the traceback of the first: the list of what is held is shown all the same,
    the status is that of one Ctrl-C, and no traceback of ours is.
    """
    pytester.makepyfile(SLEEPS)
    cloud.hold("CreateCapacityReservation")
    process = Process(pytester.path, cloud, workers)
    processes.append(process)
    process.await_text("asking for reservation")
    os.killpg(process.popen.pid, signal.SIGINT)
    process.await_text("capacity: interrupted: giving back what is held")
    time.sleep(gap)
    os.killpg(process.popen.pid, signal.SIGINT)
    assert process.popen.wait(PATIENCE) == pytest.ExitCode.INTERRUPTED, process.output()
    output = process.output()
    assert "still held:" in output
    assert "goes on releasing; its log: " in output
    assert "Traceback" not in output
    cloud.go_on()
    await_nothing_held(cloud)
    assert cloud.calls("RunInstances") == []


def test_an_interrupt_while_others_end_the_session(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """As xdist does, for seconds, with workers that hang: it cuts that short, and not the release and the summary."""
    pytester.makepyfile("def test_it(capacity): pass")
    pytester.makeconftest(
        """
        import os, signal, time

        def pytest_sessionfinish():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(20)
        """
    )
    result = run_on("-n0")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*receipt: 0 things*", "*1 passed*"])
    assert cloud.held() == []


def test_an_interrupt_when_all_is_released(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """It cuts short the wait for the keeper's exit, and neither the summary nor the exit status of the tests."""
    pytester.makepyfile("def test_it(capacity): pass")
    pytester.makeconftest(
        """
        import os, signal, sys

        def on_call(frame, event, arg):
            back = frame.f_back
            if event == "call" and frame.f_code.co_name == "join" and back.f_code.co_filename.endswith("owner.py"):
                sys.setprofile(None)
                os.kill(os.getpid(), signal.SIGINT)

        def pytest_sessionfinish():
            sys.setprofile(on_call)

        def pytest_terminal_summary(terminalreporter):
            terminalreporter.write_line(f"interrupted: {sys.getprofile() is None}")
        """
    )
    result = run_on("-n0")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines_random(["*receipt: 0 things*", "*1 passed*", "interrupted: True"])
    assert cloud.held() == []


def test_leaving_an_emulated_run_says_that_it_was_one(pytester: pytest.Pytester, processes: list[Process]) -> None:
    """The header and the words of farewell; and no commands for an emulator that ends by itself."""
    pytester.makepyfile(SLEEPS)
    (pytester.path / "slow.yaml").write_text("stop_s: 30\n")
    process = Process(pytester.path, None, "-n0", "--capacity-emulator=slow.yaml")
    processes.append(process)
    process.await_file("running")
    process.popen.send_signal(signal.SIGINT)
    process.await_text("capacity: releasing")
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(PATIENCE) == pytest.ExitCode.INTERRUPTED
    _, _, summary = process.output().partition("= capacity =")
    assert "EMULATED: no cloud is used, nothing is billed" in summary
    assert "still held:" in summary
    assert "aws ec2" not in process.output()
    # It would wait for its emulated nodes to stop.
    (keeper,) = set(re.findall(r"keeper \(pid (\d+)\)", process.output()))
    os.kill(int(keeper), signal.SIGKILL)


def test_the_handler_may_be_switched_off(pytester: pytest.Pytester, cloud: Emulator, processes: list[Process]) -> None:
    """ini capacity_handle_signals = false: SIGTERM kills pytest, and the keeper releases by itself."""
    pytester.makepyfile(SLEEPS)
    pytester.makeini("[pytest]\ncapacity_handle_signals = false")
    process = Process(pytester.path, cloud, "-n0")
    processes.append(process)
    process.await_file("running")
    process.popen.terminate()
    assert process.popen.wait(PATIENCE) == -signal.SIGTERM
    await_nothing_held(cloud)


def test_a_forked_child_still_dies_of_sigterm(pytester: pytest.Pytester, run_on: Run) -> None:
    """multiprocessing ends its children so, at times before they have done anything: none goes through our handler."""
    pytester.makepyfile(
        """
        import os, signal, time

        def test_it(capacity):
            for _ in range(50):
                child = os.fork()
                if not child:
                    time.sleep(60)
                    os._exit(0)
                os.kill(child, signal.SIGTERM)
                assert os.waitpid(child, 0)[1] == signal.SIGTERM
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
        """
    )
    run_on("-n0").assert_outcomes(passed=1)


def test_an_ignored_signal_stays_ignored(pytester: pytest.Pytester, run_on: Run) -> None:
    """Under nohup SIGHUP is ignored, and the run goes on."""
    pytester.makepyfile(
        """
        import os, signal

        def test_it(capacity):
            os.kill(os.getpid(), signal.SIGHUP)
        """
    )
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        result = run_on("-n0")
    finally:
        signal.signal(signal.SIGHUP, before)
    result.assert_outcomes(passed=1)
