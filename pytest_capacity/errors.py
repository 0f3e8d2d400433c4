"""What can go wrong. Each message says what was asked, what was answered, and what the user can do now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_capacity.model import Node
    from pytest_capacity.remote.machine import Result


class CapacityError(Exception):
    """Anything that this plugin raises on purpose."""


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
    """Told to stop while provisioning."""


class JournalError(CapacityError):
    """The journal cannot be written, so nothing may be created."""


class KeeperError(CapacityError):
    """The keeper could not be started or reached, or died twice."""


class Ending(KeeperError):
    """The keeper of a session is about to end, so it takes nobody in any more; another one may be started."""


class OtherVersion(KeeperError):
    """The keeper is of another version of this plugin; the message has both."""


class Silent(KeeperError):
    """The keeper is there and does not answer."""


class ChangedSession(CapacityError):
    """A session's nodes are not what this process asks for; the message has both values."""


class OtherCredentials(CapacityError):
    """These credentials are not known to be of the account that the session's nodes are in."""


class InUse(CapacityError):
    """Other processes use what is to be released."""


class Disabled(CapacityError):
    """A test asks for capacity, and no backend was chosen."""


class NodeError(CapacityError):
    """A node could not be reached or used; the message names node, address and what was tried."""


class CommandFailed(NodeError):
    """A command on a node ended with another status than 0; the message has node, command, status and output."""

    node: Node
    result: Result
