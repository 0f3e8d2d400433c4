"""The end of a process is noticed, whatever process holds copies of its socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

from pytest_capacity.keeper.liveness import Watch, peer


def sleeper() -> subprocess.Popen[bytes]:
    """A process that waits for its end."""
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_the_end_of_a_process_is_noticed() -> None:
    """By the kernel's word, at once."""
    process = sleeper()
    ended = threading.Event()
    watch = Watch(process.pid, ended.set)
    assert not ended.wait(0.05)
    process.kill()
    assert ended.wait(30)
    process.communicate()
    watch.stop()


def test_a_process_that_is_gone_already() -> None:
    """The watch ends at once."""
    process = sleeper()
    process.kill()
    process.communicate()
    ended = threading.Event()
    Watch(process.pid, ended.set).stop()
    assert ended.wait(30)


def test_a_stopped_watch_is_silent() -> None:
    """No callback is called for an end that no longer matters, and no thread stays."""
    process = sleeper()
    ended = threading.Event()
    watch = Watch(process.pid, ended.set)
    watch.stop()
    watch._thread.join(60)
    assert not watch._thread.is_alive()
    process.kill()
    process.communicate()
    assert not ended.is_set()


def test_the_kernel_knows_the_peer() -> None:
    """Process and user at the other end, which no process can claim falsely."""
    here, _ = socket.socketpair()
    assert peer(here) == (os.getpid(), os.getuid())
