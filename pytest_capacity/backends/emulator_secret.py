"""The secret of an emulator that a keeper has started: the calls of every backend to it must bear it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

#: Names the file with the secret, to the keeper and its backend.
SECRET_FILE: Final = "PYTEST_CAPACITY_EMULATOR_SECRET_FILE"


def emulator_secret() -> str:
    """Return the secret, by the file that the keeper's environment names; "" where it names none."""
    path = os.environ.get(SECRET_FILE)
    return Path(path).read_text(encoding="ascii").strip() if path else ""
