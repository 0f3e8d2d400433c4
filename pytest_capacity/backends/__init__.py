"""Clouds behind one protocol. `open_backend` is the only way in."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from pytest_capacity.errors import ConfigError

if TYPE_CHECKING:
    from pytest_capacity.backends.base import Backend
    from pytest_capacity.model import Request

#: The modules that each extra brings; `pip install 'pytest-capacity[aws]'`.
_BRINGS: Final = {"aws": ("botocore",), "emulator": ("moto", "asyncssh"), "ssh": ("paramiko",)}


def missing_extra(extra: str) -> str | None:
    """What to say where a module that ``extra`` brings is not installed here. Imports nothing of it."""
    module = next((module for module in _BRINGS.get(extra, ()) if find_spec(module) is None), None)
    if module is None:
        return None
    return f"{extra!r} needs the module {module!r}, which is not installed here: pip install 'pytest-capacity[{extra}]'"


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
