"""A call to the cloud: where an SDK's exceptions become diagnoses, and a refusal the words for the user."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from pytest_capacity.backends.base import Backend
from pytest_capacity.backends.diagnosis import remedy
from pytest_capacity.errors import CapacityError, Refused
from pytest_capacity.model import Diagnosis, Piece

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)


def asked(backend: Backend, call: Callable[[], T], piece: Piece | None = None) -> T | Diagnosis:
    """Return what the call to the cloud gave, or what its failure means.

    ``piece`` is what was being made. A `CapacityError` is the backend's own refusal, and is raised.
    """
    try:
        return call()
    except CapacityError:
        raise
    except Exception as error:  # noqa: BLE001 - an SDK raises what it likes; the backend's table reads it.
        found = backend.diagnose(error, piece)
        if found.kind == "unknown":  # It may be a fault of the backend's own code, which is found by its place.
            _log.info("%s does not know this error", backend.name, exc_info=error)
        return found


def refused(asked: str, cloud: str, diagnosis: Diagnosis, piece: Piece | None = None) -> Refused:
    """Return a cloud's refusal in three parts: the request, the answer, what to do now.

    ``asked`` is used as in "asked for topology 'default' in ZONE"; ``piece`` is the one that was refused.
    """
    of = [diagnosis.operation, _described(piece) if piece else ""]
    call = " for ".join(filter(None, of))
    said = ": ".join(filter(None, (diagnosis.code, diagnosis.words.rstrip(" ."))))
    now = remedy(cloud, diagnosis)
    return Refused(
        f"{asked}{f' ({call})' if call else ''}, and {diagnosis.by or cloud} said {said or 'nothing'}. {now}"
    )


def _described(piece: Piece) -> str:
    type_ = piece.instance_type
    count = f"{piece.count} {type_}".strip()
    if piece.kind == "node":
        return f"group {piece.group!r}: {count}"
    return f"{piece.kind} of {count}" if type_ else piece.kind
