"""How nodes are reached and used by SSH: from tests, by the keeper that waits until they are ready, by a person.

The room needs the extra ``[ssh]`` when it reaches a node, not when it is imported.
"""

from __future__ import annotations
