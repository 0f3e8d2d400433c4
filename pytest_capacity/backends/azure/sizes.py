"""The quota that a size counts against, by its name."""

from __future__ import annotations

import re
from typing import Final

#: ``Standard_D4ads_v5``, ``Standard_E8-4s_v5``, ``Standard_NC24ads_A100_v4``
#: (https://learn.microsoft.com/azure/virtual-machines/vm-naming-conventions).
_FORM: Final = re.compile(
    r"(?P<tier>standard|basic)_(?P<family>[a-z]+)\d+(?:-\d+)?(?P<features>[a-z]*)(?P<rest>(?:_[a-z0-9]+)*)",
    re.IGNORECASE,
)


def family(size: str) -> str:
    """Return what the sizes of one vCPU quota have in common, as Azure names it: ``standardDADSv5Family``.

    A size of another form is its own family.
    """
    found = _FORM.fullmatch(size)
    if not found:
        return size
    rest = "".join(
        part if re.fullmatch(r"v\d+", part, re.IGNORECASE) else part.upper() for part in found["rest"].split("_")
    )
    return f"{found['tier'].lower()}{found['family'].upper()}{found['features'].upper()}{rest}Family"
