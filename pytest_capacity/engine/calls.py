"""The one place where an SDK's exceptions become diagnoses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pytest_capacity.backends.base import Backend
from pytest_capacity.errors import CapacityError
from pytest_capacity.model import Diagnosis

T = TypeVar("T")


def asked(backend: Backend, call: Callable[[], T]) -> T | Diagnosis:
    """What the call to the cloud gave, or what its failure means. A `CapacityError` is the backend's own refusal."""
    try:
        return call()
    except CapacityError:
        raise
    except Exception as error:  # noqa: BLE001 - an SDK raises what it likes; the backend's table reads it.
        return backend.diagnose(error)
