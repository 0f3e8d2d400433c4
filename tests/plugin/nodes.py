"""A configuration whose nodes are reached by SSH."""

from __future__ import annotations

from tests.plugin.conftest import CONFIG

#: Two database nodes and a loader, and the run's own key pair.
REACHED = f"{CONFIG}ssh: {{}}\n"
