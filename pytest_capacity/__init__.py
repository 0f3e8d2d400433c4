"""Reserves and starts the cloud machines that tests need, and gives every one of them back."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
