"""What nodes say of themselves: whether they are ready, and what a command writes on them. The keeper runs this."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Final

from pytest_capacity.errors import CommandTimedOut, NodeError, Unreachable
from pytest_capacity.model import Access, Node
from pytest_capacity.remote.machine import Machine, Result, need_paramiko
from pytest_capacity.remote.messages import LAST_LINES, bastion_of, brief, describe, error_text, last_lines
from pytest_capacity.remote.sockets import Countdown, dial

#: The pause between two checks of a node, from the first to the longest. Seconds.
FIRST_PAUSE: Final = 0.2
LAST_PAUSE: Final = 2.0
_GROWTH: Final = 1.5
#: How long one check may take; a user's command may be slow. Seconds.
LOOK: Final = 10.0
COMMAND: Final = 30.0
#: How soon a node's thread, and the whole wait, notice that they must stop. Seconds.
_SLICE: Final = 0.2
_POLL: Final = 0.1

#: Nodes that are asked at the same time.
_WIDTH: Final = 64

_TCP: Final = "tcp:"
_CLOUD_INIT_LOG: Final = "/var/log/cloud-init-output.log"
_CLOUD_INIT_STATUS: Final = re.compile(r"^status:\s*(.+?)\s*$", re.MULTILINE)

#: The advice for a node that does not become ready.
_REMEDIES: Final = {
    "ssh": "Check that its image starts an SSH server, and that this machine may reach it (security group, "
    "ssh.address, ssh.bastion, ssh.user)",
    "cloud-init": "Look at what user_data waits for",
    "tcp": "Check that the service starts there and listens on that address, and that this machine may reach it "
    "(security group)",
    "command": "Correct the command, or what it waits for (user_data, the image)",
}


def probe(node: Node, ready: str, *, timeout: float) -> str | None:
    """Check once, at most ``timeout`` seconds: return None if ``node`` is ``ready`` (see `NodeGroup`), else the cause.

    Raise `NodeError` when it never will be: cloud-init has failed, the host key has changed, the key is unreadable.
    """
    within = Countdown(timeout)
    machine = Machine.of(node)
    try:
        match _kind(ready):
            case "running":
                return None
            case "tcp":
                return _listens(machine, int(ready.removeprefix(_TCP)), within)
            case "ssh":
                return _succeeds(machine, "true", within)
            case "cloud-init":
                return _cloud_init(machine, within)
            case _:
                return _succeeds(machine, ready, within)
    except Unreachable as error:
        return error.why
    except CommandTimedOut as error:
        return f"`{brief(error.command)}` {error.why}"


def wait_ready(
    nodes: Sequence[tuple[Node, str, float]],
    pause: Callable[[float], None],
    now: Callable[[], float],
    say: Callable[[Node, float], None],
) -> None:
    """Wait for all nodes at once; each has its condition and its limit in seconds.

    ``pause(seconds)`` waits between checks, and raises when the wait must stop; it is called on many threads.
    ``say`` is called on this thread with each node that is ready, and after how many seconds. Raise `NodeError` for
    the first that fails, and what ``pause`` raises; the threads of the others then end.
    """
    wait = _Wait(pause, now)
    for node, ready, limit in nodes:
        threading.Thread(
            target=wait.follow, args=(node, ready, limit), name=f"capacity-ready-{node.name}", daemon=True
        ).start()
    try:
        missing = len(nodes)
        while missing:
            pause(0)
            try:
                node, passed, problem = wait.outcomes.get(timeout=_POLL)
            except Empty:
                continue
            if problem is not None:
                raise problem
            missing -= 1
            say(node, passed)
    finally:
        wait.over.set()
        _hang_up([node for node, _, _ in nodes])


class _Wait:
    """The checks of all nodes of one wait, each node on its thread."""

    def __init__(self, pause: Callable[[float], None], now: Callable[[], float]) -> None:
        self._wait = pause
        self._now = now
        self._began = now()
        self.over = threading.Event()
        #: A node, after how many seconds, and what it failed with; None: it is ready.
        self.outcomes: SimpleQueue[tuple[Node, float, BaseException | None]] = SimpleQueue()

    def follow(self, node: Node, ready: str, limit: float) -> None:
        """Check ``node`` until it is ready or has failed; the body of its thread."""
        problem = None
        try:
            self._until_ready(node, ready, limit)
        except BaseException as error:  # noqa: BLE001 - the edge of a thread: it is raised where the wait is
            problem = error
        self.outcomes.put((node, self._passed(), problem))

    def _until_ready(self, node: Node, ready: str, limit: float) -> None:
        pause = FIRST_PAUSE
        look = COMMAND if _kind(ready) == "command" else LOOK
        while not self.over.is_set():
            # At the limit it is looked at once more.
            why = probe(node, ready, timeout=min(look, max(limit - self._passed(), _SLICE)))
            if why is None:
                return
            rest = limit - self._passed()
            if rest <= 0:
                raise NodeError(_not_ready(node, ready, limit, why), node)
            self._pause(min(pause, rest))
            pause = min(pause * _GROWTH, LAST_PAUSE)

    def _passed(self) -> float:
        return self._now() - self._began

    def _pause(self, seconds: float) -> None:
        while seconds > 0 and not self.over.is_set():
            self._wait(min(seconds, _SLICE))
            seconds -= _SLICE


def _kind(ready: str) -> str:
    if ready in ("running", "ssh", "cloud-init"):
        return ready
    return "tcp" if re.fullmatch(r"tcp:\d+", ready) else "command"


def _succeeds(machine: Machine, command: str, within: Countdown) -> str | None:
    result = _run(machine, command, within)
    if result.ok:
        return None
    words = (result.stderr.strip() or result.stdout.strip()).rpartition("\n")[2]
    return f"`{brief(command)}` ended with {result.exit_status}" + (f": {brief(words)}" if words else "")


def _cloud_init(machine: Machine, within: Countdown) -> str | None:
    result = _run(machine, "cloud-init status", within)
    if result.exit_status == 127:
        raise NodeError(
            f"{describe(machine)} has no cloud-init, so it cannot be waited for. Use another image, or `ready: ssh`",
            machine,
        )
    found = _CLOUD_INIT_STATUS.search(result.stdout)
    status = found[1] if found else ""
    # Exit status 2 is both "done, with warnings" and "running, with warnings", so the status word decides.
    # https://cloudinit.readthedocs.io/en/latest/explanation/return_codes.html
    if status in ("done", "degraded done", "disabled"):
        return None
    if status.startswith("error"):
        details = _run(machine, "cloud-init status --long", within)
        raise NodeError(
            f"{describe(machine)} will not become ready: cloud-init has failed."
            f"{last_lines('cloud-init status --long', details.stdout)}"
            f"{last_lines(_CLOUD_INIT_LOG, _log_of(machine, within))}\nCorrect the group's user_data",
            machine,
        )
    return f"cloud-init: {brief(result.stdout or result.stderr) or 'no status yet'}"


def _log_of(machine: Machine, within: Countdown) -> str:
    """Return the end of what user data wrote: the node will be gone when the error is read."""
    with contextlib.suppress(CommandTimedOut, Unreachable):
        # Images that keep it from ordinary users let them use sudo.
        tail = f"tail -n {LAST_LINES} {_CLOUD_INIT_LOG}"
        return _run(machine, f"{tail} 2>/dev/null || sudo -n {tail} 2>/dev/null", within).stdout
    return ""


def _listens(machine: Machine, port: int, within: Countdown) -> str | None:
    address = machine.access.address if machine.access else machine.private_ip or machine.public_ip
    if address is None:
        raise NodeError(
            f"{describe(machine)} has no address, so `ready: tcp:{port}` cannot be looked at. Use another one", machine
        )
    if machine.access is not None and bastion_of(machine.access) is not None:
        return _listens_beyond(machine, machine.access, port, within)
    try:
        dial(address, port, within).close()
    except OSError as error:
        return f"{address}:{port}: {error_text(error)}"
    return None


def _listens_beyond(machine: Machine, access: Access, port: int, within: Countdown) -> str | None:
    need_paramiko(machine)
    from paramiko import ChannelException

    from pytest_capacity.remote.connection import bastion_to

    bastion = bastion_to(access)
    assert bastion is not None
    try:
        bastion.channel_to(access.address, port, within).close()
    except ChannelException as error:
        return f"{access.address}:{port}: {error_text(error)}"
    return None


def _run(machine: Machine, command: str, within: Countdown) -> Result:
    return machine.run(command, check=False, timeout=max(within.rest() or 0.0, 0.001))


def _not_ready(node: Node, ready: str, limit: float, why: str) -> str:
    kind = _kind(ready)
    return (
        f"{describe(node)} was not ready ({brief(ready)}) within {limit:.0f} s; last: {brief(why)}. "
        f"{_REMEDIES.get(kind, '')}; or raise ready_timeout"
    )


def _hang_up(nodes: Sequence[Node]) -> None:
    """Close the connections: the keeper needs none to a ready node, and paramiko wakes ten times a second for each."""
    reached = [node for node in nodes if node.access is not None]
    if reached:
        with contextlib.suppress(ImportError):  # Without paramiko there is none.
            from pytest_capacity.remote.connection import close

            close(reached)


def outputs(nodes: Sequence[Node], command: str, timeout: float) -> Mapping[str, str]:
    """Return what ``command`` writes on each node, by the node's id.

    Nodes on which it fails, or takes longer than ``timeout`` seconds, and those that cannot be reached, are left out.
    The connections stay open for the next time.
    """
    if not nodes:
        return {}
    with ThreadPoolExecutor(min(_WIDTH, len(nodes)), "capacity-notice") as pool:
        found = pool.map(lambda node: _output(node, command, timeout), nodes)
        return {node.id: text for node, text in zip(nodes, found, strict=True) if text}


def _output(node: Node, command: str, timeout: float) -> str:
    """Return what the command writes. Not by `Machine.run`, which logs each command: this runs again and again."""
    try:
        need_paramiko(node)
    except NodeError:
        return ""
    from pytest_capacity.remote.command import execute
    from pytest_capacity.remote.connection import connection_to
    from pytest_capacity.remote.transport import BROKEN

    within = Countdown(timeout)
    try:
        ended = execute(connection_to(node).session(within), command.encode(), None, within)
    except (NodeError, *BROKEN):
        return ""
    return ended.stdout.decode(errors="replace") if ended.how == "ended" and ended.status == 0 else ""
