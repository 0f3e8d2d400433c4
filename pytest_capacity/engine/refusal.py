"""A cloud's refusal in three parts: what was asked, what was answered, what to do now."""

from __future__ import annotations

from pytest_capacity.backends.diagnosis import remedy
from pytest_capacity.errors import Refused
from pytest_capacity.model import Diagnosis, Piece


def refused(asked: str, cloud: str, diagnosis: Diagnosis, piece: Piece | None = None) -> Refused:
    """``asked`` as in "asked for topology 'default' in ZONE"; ``piece`` is the one that was refused."""
    of = [diagnosis.operation, _described(piece) if piece else ""]
    call = " for ".join(filter(None, of))
    said = ": ".join(filter(None, (diagnosis.code, diagnosis.words.rstrip(" ."))))
    # What is said of a node that does not become ready ends with what to do about that.
    now = "" if diagnosis.kind == "not-ready" else f" {remedy(cloud, diagnosis)}"
    return Refused(f"{asked}{f' ({call})' if call else ''}, and {diagnosis.by or cloud} said {said or 'nothing'}.{now}")


def _described(piece: Piece) -> str:
    type_ = piece.spec.get("InstanceType", "")
    count = f"{piece.count} {type_}".strip()
    if piece.kind == "node":
        return f"group {piece.group!r}: {count}"
    return f"{piece.kind} of {count}" if type_ else piece.kind
