"""The version, apart from the package's public names: those come from every room, and every room may need this."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
