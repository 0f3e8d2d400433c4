"""The reading of the server's objects: phases, conditions, sizes; and the labels by which they are found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from pytest_capacity.scaling.kubedb.bodies import STORAGE_REQUEST, quantity
from pytest_capacity.scaling.kubedb.client import Object
from pytest_capacity.scaling.kubedb.engines import Engine, lookup
from pytest_capacity.scaling.model import PHASES, Condition

RUN_LABEL: Final = "pytest-capacity/run"
TOKEN_LABEL: Final = "pytest-capacity/token"

_LABEL: Final = re.compile(r"[^A-Za-z0-9._-]")


def volume_labels(engine: Engine, names: Sequence[str]) -> dict[str, str | Iterable[str] | None]:
    """Return the labels by which KubeDB marks the volumes of databases."""
    return {
        "app.kubernetes.io/instance": names,
        "app.kubernetes.io/managed-by": "kubedb.com",
        "app.kubernetes.io/name": f"{engine.plural}.kubedb.com",
    }


def label_value(text: str) -> str:
    """Return ``text`` as the value of a label: 63 characters at most, and nothing that labels do not take."""
    return _LABEL.sub("-", text)[:63].strip("-._")


def phase_of(kept: Object) -> Any:
    """Return a request's phase."""
    phase = (kept.get("status") or {}).get("phase") or ""
    # A later KubeDB may know more phases. What we do not know is neither an end nor a beginning.
    return phase if phase in PHASES else "Pending"


def conditions_of(kept: Object) -> tuple[Condition, ...]:
    """Return a request's conditions, in the order of the server."""
    listed = (kept.get("status") or {}).get("conditions") or []
    return tuple(
        Condition(
            type=one.get("type", ""),
            status=one.get("status", ""),
            reason=one.get("reason", ""),
            message=one.get("message", ""),
            at=_moment(one.get("lastTransitionTime")),
        )
        for one in listed
    )


def _moment(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else None
    except ValueError:
        return None


def capacity_of(volume: Object) -> Decimal:
    """Return what a volume has."""
    return quantity(((volume.get("status") or {}).get("capacity") or {}).get("storage", "0"))


def requested_of(volume: Object) -> Decimal:
    """Return what is requested for a volume."""
    return quantity(lookup(volume.get("spec") or {}, STORAGE_REQUEST) or "0")
