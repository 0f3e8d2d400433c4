"""What the name of an instance type says: its processor, and the quota that it counts against."""

from __future__ import annotations

import re
from typing import Final

#: Family, generation, attributes, and what some have after a dash: ``im4gn``, ``u7in-16tb``, ``mac2-m2pro``.
_FORM: Final = re.compile(r"(?P<family>[a-z]+)(?P<generation>\d*)(?P<attributes>[a-z]*)(?:-(?P<more>[a-z0-9-]+))?\..+")

#: Of the quotas of Running On-Demand instances, those that are not called after the first letter of the family alone
#: (https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html).
_QUOTAS: Final = {"dl": "DL", "hpc": "HPC", "inf": "Inf", "mac": "Mac", "trn": "Trn", "u": "High Memory"}
_BY_LETTER: Final = {
    **dict.fromkeys("acdhimrtz", "Standard (A, C, D, H, I, M, R, T, Z)"),
    **dict.fromkeys("gv", "G and VT"),
    "f": "F",
    "p": "P",
    "x": "X",
}


def family(instance_type: str) -> str:
    """Return the types that share a vCPU quota with this one, by the quota's name, or the type's own family."""
    found = _FORM.fullmatch(instance_type)
    if not found:
        return instance_type
    name = found["family"]
    return _QUOTAS.get(name) or _BY_LETTER.get(name[0]) or name


def is_arm(instance_type: str) -> bool | None:
    """Return whether it has an ARM processor, as the g of Graviton says; None for a name of another form.

    https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html; the exceptions are the first Graviton
    type (a1), Apple's processors (mac2 and later), and Nvidia's Grace (p6e-gb200).
    """
    found = _FORM.fullmatch(instance_type)
    if not found:
        return None
    name, more = found["family"], found["more"] or ""
    if name == "mac":
        return found["generation"] != "1"
    return name + found["generation"] == "a1" or "g" in found["attributes"] or more.startswith("gb")
