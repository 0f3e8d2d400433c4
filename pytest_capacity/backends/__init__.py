"""Clouds behind one protocol. `open_backend` is the only way in."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pytest_capacity.errors import ConfigError

if TYPE_CHECKING:
    from pytest_capacity.backends.base import Backend
    from pytest_capacity.model import Request


def open_backend(request: Request) -> Backend:
    """Import the SDK and open the backend of ``request``; no call is made.

    Raises `ConfigError` naming the extra when the SDK is not installed.
    """
    try:
        module = import_module(f"pytest_capacity.backends.{request.backend}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            [
                f"backend {request.backend!r} needs the module {error.name!r}, which is not installed here: "
                f"pip install 'pytest-capacity[{request.backend}]'"
            ]
        ) from error
    backend: Backend = module.open(request)
    return backend
