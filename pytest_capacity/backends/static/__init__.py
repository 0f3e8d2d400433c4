"""Machines of the user's own: no cloud, no SDK, no extra."""

from __future__ import annotations

from pytest_capacity.backends.static.backend import StaticBackend
from pytest_capacity.model import Request

__all__ = ["StaticBackend", "open"]


def open(request: Request) -> StaticBackend:  # the name that `open_backend` asks every cloud's module for
    """The backend of ``request``."""
    return StaticBackend(request)
