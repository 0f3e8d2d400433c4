"""How the stand-in operator behaves: the weather's part ``kubernetes:``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct


class Fate(Struct, kw_only=True, forbid_unknown_fields=True):
    """What becomes of requests: of a database (``*``: any), of a type (``*``: any), so many times."""

    database: str = "*"
    type: str = "*"
    #: A terminal phase; ``WaitingForApproval`` stays so until it is approved; ``Progressing`` never ends.
    phase: str = "Failed"
    reason: str = "Failed"
    message: str = ""
    times: int = 1


class Script(Struct, kw_only=True, forbid_unknown_fields=True):
    """The whole part. Times in seconds of the World's clock."""

    #: How long a new database is Provisioning, and one that is deleted stays listed.
    provision_s: float = 0.0
    delete_s: float = 0.0
    #: How long a request is Pending, and then Progressing.
    pending_s: float = 0.0
    step_s: float = 0.0
    #: Whether volumes follow a change of a database's ``spec.storage``. KubeDB's own operator does not do that.
    patch_grows_volumes: bool = False
    #: Engines that the cluster does not have.
    absent: list[str] = msgspec.field(default_factory=list)
    #: Databases that never become Ready.
    never_ready: list[str] = msgspec.field(default_factory=list)
    #: A webhook of the cluster's own that refuses requests with two sections of scaling, with this status (0: none).
    refuse_combined: int = 0
    #: The same for a request to a database that has another one that is not finished.
    refuse_second: int = 0
    fates: list[Fate] = msgspec.field(default_factory=list)

    def fate(self, database: str, type_: str) -> Fate | None:
        """Return what is to become of a new request, and count it."""
        for fate in self.fates:
            if fate.times > 0 and fate.database in ("*", database) and fate.type in ("*", type_):
                fate.times -= 1
                return fate
        return None


def read_script(values: Mapping[str, Any]) -> Script:
    """Return the checked part. Raises `ValueError` in words."""
    try:
        return msgspec.convert(values, Script)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
