"""Beside pyfakefs: a test that has a made-up file system still reaches its nodes.

pyfakefs puts its own ``os``, ``pathlib`` and ``open`` into every module, so that key files are not there, and a library
that is first imported meanwhile finds no metadata of itself: paramiko seems not to be installed. So what a node needs
is imported before, and pyfakefs is told to leave it alone, by the sets that its documentation names for that.
"""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module
from typing import Final

#: Packages that reach nodes and keeper, and read files of this machine.
_OURS: Final = ("pytest_capacity", "paramiko", "cryptography", "testinfra")

_PATCHER: Final = "pyfakefs.fake_filesystem_unittest"


def keep_real_files(*, ssh: bool) -> None:
    """Let what uses nodes keep the real file system, if pyfakefs is loaded. Before a fixture of a test is set up.

    ``ssh``: the run's nodes are reached by SSH.
    """
    patcher = getattr(sys.modules.get(_PATCHER), "Patcher", None)
    if patcher is None:
        return
    if ssh:
        remote = import_module("pytest_capacity.remote")
        for module in pkgutil.iter_modules(remote.__path__, f"{remote.__name__}."):
            import_module(module.name)
    loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in _OURS}
    patcher.SKIPMODULES.update(loaded.values())
    # By name for `open`, which is a builtin: pyfakefs looks there who calls it.
    patcher.SKIPNAMES.update(loaded)
