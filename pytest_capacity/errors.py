"""The errors of this package. A message says what was requested, what the answer was, and what the user can do now.

This module imports nothing of the package, for annotations neither, since every other module may import it."""

from __future__ import annotations

from typing import Any, Protocol


class FailedNode(Protocol):
    """The node that an error is about: a `pytest_capacity.Node`, as far as this module may know it."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def group(self) -> str: ...


class FailedResult(Protocol):
    """The result of a command that failed: what `Node.run` returns where it does not raise."""

    @property
    def command(self) -> str: ...
    @property
    def exit_status(self) -> int: ...
    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class CapacityError(Exception):
    """The base class of all errors of this package."""


class CapacityWarning(UserWarning):
    """What a run uses goes before its time, and its tests should know: a lease that cannot be extended."""


class ConfigError(CapacityError):
    """The configuration is wrong: the message has one line a fault, each naming file, key and remedy."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Exhausted(CapacityError):
    """Every rung was tried and none had capacity."""


class Refused(CapacityError):
    """The cloud refused for a reason that another zone does not cure; its own words are in the message."""


class TimedOut(CapacityError):
    """Provisioning took longer than it may (``--capacity-timeout``)."""


class Cancelled(CapacityError):
    """Provisioning was stopped: by an interrupt, or because the run ends."""


class JournalError(CapacityError):
    """The journal cannot be written, so nothing may be created."""


class KeeperError(CapacityError):
    """The keeper could not be started or reached, or died twice."""


class Ending(KeeperError):
    """The keeper of a session is about to end and accepts no further process; another keeper may be started."""


class OtherVersion(KeeperError):
    """The keeper is of another version of this plugin; the message has both."""


class Silent(KeeperError):
    """The keeper runs and does not answer."""


class ChangedSession(CapacityError):
    """A session's nodes are not what this process asks for; the message has both values."""


class OtherCredentials(CapacityError):
    """These credentials are not known to be of the account that the session's nodes are in."""


class InUse(CapacityError):
    """Other processes use what is to be released."""


class ScalingError(CapacityError):
    """A node group could not be changed; the message says what it is now."""


class KubeDBError(CapacityError):
    """A database could not be changed, provisioned or looked at; the server's own words are in the message."""


class NodeError(CapacityError):
    """A node could not be reached or used; the message names node, address and what was tried.

    ``node`` is the node, None where the error is about no single one. ``why`` is the cause without the node's name.
    """

    def __init__(self, message: str, node: FailedNode | None = None, why: str = "") -> None:
        super().__init__(message)
        self.node = node
        self.why = why or message

    def __reduce__(self) -> tuple[Any, ...]:
        # By itself an exception is pickled as its class and its message, which subclasses cannot be made from.
        return _restore, (type(self), str(self), self.__dict__)


class Unreachable(NodeError):
    """A node does not answer, or the connection to it broke. Later it may answer."""


class CommandFailed(NodeError):
    """A command on a node ended with another status than 0; the message has node, command, status and output."""

    node: FailedNode
    result: FailedResult

    def __init__(self, message: str, node: FailedNode, result: FailedResult) -> None:
        super().__init__(message, node)
        self.result = result


class CommandTimedOut(NodeError):
    """A command on a node took longer than its ``timeout`` (seconds), and was killed.

    ``stdout`` and ``stderr`` are what it had written until then. ``exit_status`` is None, but where the command has
    ended and a background process that it started still held its output.
    """

    node: FailedNode

    def __init__(
        self,
        message: str,
        node: FailedNode,
        why: str,
        *,
        command: str,
        timeout: float,
        stdout: str,
        stderr: str,
        exit_status: int | None,
    ) -> None:
        super().__init__(message, node, why)
        self.command = command
        self.timeout = timeout
        self.stdout = stdout
        self.stderr = stderr
        self.exit_status = exit_status


def _restore(kind: type[NodeError], message: str, attributes: dict[str, Any]) -> NodeError:
    error = kind.__new__(kind, message)
    error.__dict__.update(attributes)
    return error
