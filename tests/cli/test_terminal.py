"""run on a terminal: the command is in the foreground, as if a shell had started it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import pytest

from tests.cli.conftest import PROGRAM, Shell
from tests.safety.runs import PATIENCE, until

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash on this machine")


class Terminal:
    """A terminal in which one program runs, the leader of its session."""

    def __init__(self, shell: Shell, program: Sequence[str]) -> None:
        environ = shell.suite.environment(PS1="$ ", TERM="dumb")
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.chdir(shell.tests)
            os.execvpe(program[0], list(program), environ)
        self.text = ""
        self._read = 0

    def type(self, text: str) -> None:
        """As a person does."""
        os.write(self._master, text.encode())

    def await_text(self, text: str) -> None:
        """Wait until it is shown, after what was waited for before."""
        self.await_texts(text)

    def await_texts(self, *texts: str) -> None:
        """Wait until all are shown, in any order, after what was waited for before."""
        end = time.monotonic() + PATIENCE
        while not all(text in self.text[self._read :] for text in texts):
            assert time.monotonic() < end, self.text
            assert self._more(), self.text
        self._read = max(self.text.index(text, self._read) + len(text) for text in texts)

    def wait(self) -> int:
        """Its exit code."""
        end = time.monotonic() + PATIENCE
        while self._more():
            assert time.monotonic() < end, self.text
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            os.close(self._master)
        with suppress(ChildProcessError, ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _more(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 1.0)
        if not ready:
            return True
        try:
            self.text += os.read(self._master, 65536).decode(errors="replace")
        except OSError:
            return False  # No process has it open any more.
        return True


@pytest.fixture(name="terminals")
def _terminals() -> Iterator[list[Terminal]]:
    """Those that a test opens are closed with it."""
    terminals: list[Terminal] = []
    yield terminals
    for terminal in terminals:
        terminal.close()


def words(shell: Shell, script: str) -> list[str]:
    """`run` around a shell script."""
    return [*PROGRAM, "run", f"--endpoint={shell.emulator.url}", "--quiet", "--", "sh", "-c", script]


def test_the_command_reads_from_it(shell: Shell, terminals: list[Terminal]) -> None:
    """It is not stopped as one in the background would be."""
    terminal = Terminal(shell, words(shell, 'echo ready; read line; echo "got $line"'))
    terminals.append(terminal)
    terminal.await_text("ready")
    terminal.type("something\n")
    terminal.await_text("got something")
    terminal.await_text("receipt: 0 things")
    assert terminal.wait() == 0


def test_ctrl_c_is_the_commands(shell: Shell, terminals: list[Terminal]) -> None:
    """It ends by it, and everything is given back; the next one leaves that to the keeper."""
    terminal = Terminal(shell, words(shell, "echo ready; sleep 600"))
    terminals.append(terminal)
    terminal.await_text("ready")
    shell.emulator.hold("TerminateInstances")
    terminal.type("\x03")
    until(lambda: "TerminateInstances" in shell.emulator.under_way(), PATIENCE, "it is being released")
    terminal.type("\x03")
    terminal.await_text("goes on releasing")
    assert terminal.wait() == 130
    shell.emulator.go_on()
    shell.suite.nothing_left()


def test_ctrl_z_without_a_shell_above_stops_nothing(shell: Shell, terminals: list[Terminal]) -> None:
    """No process could continue it."""
    terminal = Terminal(shell, words(shell, 'echo ready; read line; echo "got $line"'))
    terminals.append(terminal)
    terminal.await_text("ready")
    terminal.type("\x1a")
    terminal.type("something\n")
    terminal.await_text("got something")
    assert terminal.wait() == 0


#: The command, as a file, since a shell's line is short.
BEGIN: Final = "import sys; from pytest_capacity.cli import main; sys.exit(main())\n"


def in_bash(shell: Shell, terminals: list[Terminal], begin: str, script: str) -> Terminal:
    """A shell that a person types into, with `run` around a shell script under way."""
    asks = shell.suite.write("ask.sh", script)
    command = shell.suite.write("begin.py", begin)
    terminal = Terminal(shell, ["bash", "--norc", "--noprofile", "-i"])
    terminals.append(terminal)
    terminal.type(f"{PROGRAM[0]} {command} run --endpoint={shell.emulator.url} -q -- sh {asks}\n")
    return terminal


@needs_bash
def test_ctrl_z_gives_the_shell_its_terminal_back(shell: Shell, terminals: list[Terminal]) -> None:
    """And `fg` goes on."""
    terminal = in_bash(shell, terminals, BEGIN, 'echo ready; read line; echo "got $line"\n')
    terminal.await_text("ready")
    terminal.type("\x1a")
    terminal.await_text("Stopped")
    terminal.type("echo shell-$((1+1))\n")
    terminal.await_text("shell-2")
    terminal.type("fg\n")
    terminal.type("something\n")
    terminal.await_text("got something")
    terminal.await_text("receipt: 0 things")
    terminal.type("exit\n")
    assert terminal.wait() == 0


@needs_bash
def test_ctrl_z_counts_while_the_terminal_is_handed_over(shell: Shell, terminals: list[Terminal]) -> None:
    """A command that reads at once is never stopped for that, so a Ctrl-Z is not undone by its being continued."""
    slow = (
        "import os, time; give = os.tcsetpgrp\n"
        "os.tcsetpgrp = lambda *to: (time.sleep(1), give(*to), print('given'), time.sleep(1.5))\n"
    )
    terminal = in_bash(shell, terminals, slow + BEGIN, 'echo ready; read line; echo "got $line"\n')
    terminal.await_texts("given", "ready")
    terminal.type("\x1a")
    terminal.await_text("Stopped")
    terminal.type("fg\n")
    terminal.type("something\n")
    terminal.await_text("got something")
    terminal.type("exit\n")
    assert terminal.wait() == 0


@needs_bash
def test_ctrl_z_in_the_first_moment_counts(shell: Shell, terminals: list[Terminal]) -> None:
    """A command that is stopped as soon as it has the terminal stays so: it is not taken for one that has waited."""
    slow = "import os, time; give = os.tcsetpgrp; os.tcsetpgrp = lambda *to: (give(*to), time.sleep(0.5))\n"
    terminal = in_bash(shell, terminals, slow + BEGIN, "kill -TSTP $$; echo on again\n")
    terminal.await_text("Stopped")
    terminal.type("fg\n")
    terminal.await_text("on again")
    terminal.await_text("receipt: 0 things")
    terminal.type("exit\n")
    assert terminal.wait() == 0
