"""Decisions that others may take during a run: the hooks of the run's owner, where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_capacity.ladder import Rung
from pytest_capacity.model import Diagnosis, Piece, Topology


class Advice:
    """No advice. Called on the engine's threads; must return within seconds."""

    def rungs(self, topology: Topology, listed: Sequence[Rung]) -> Sequence[Rung]:
        """Return the same rungs in another order, or fewer of them."""
        return listed

    def diagnose(self, diagnosis: Diagnosis, piece: Piece) -> Diagnosis | None:
        """Return what the refusal of ``piece`` means instead; None: the table's diagnosis."""
        return None


NO_ADVICE: Final = Advice()
