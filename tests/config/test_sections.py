"""The sections of the clouds in the manual: every key is there, and stands where it may be written."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from tests.config.files import Loader
from tests.emulated import ROOT

DOCS: Final = ROOT / "docs"
REFERENCE: Final = (DOCS / "reference/configuration.md").read_text(encoding="utf-8")

#: What the loader says of a key that a group may not have.
NOT_OF_A_GROUP: Final = ("is not a known key", "concerns the whole run")

#: Every cloud that has a section, but the first one, whose table is in the reference itself.
SECTIONS: Final = sorted(
    {path.parent.name for path in (ROOT / "pytest_capacity/backends").glob("*/settings.py")} - {"aws"}
)


def fields(name: str) -> set[str]:
    """The keys of a section, as the code has them."""
    struct = getattr(import_module(f"pytest_capacity.backends.{name}.settings"), f"{name.title()}Settings")
    return set(struct.__struct_fields__)


def quoted(text: str) -> set[str]:
    """The words in backticks."""
    return set(re.findall(r"`([a-z_]+)`", text))


def cells(name: str) -> list[str]:
    """The row of a section in the reference: its link, the keys that a group may have too, the others."""
    (row,) = [line for line in REFERENCE.splitlines() if line.startswith(f"| [`{name}`](")]
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_is_in_the_table_of_its_page(name: str) -> None:
    """In the first column of a table, where its meaning and its default are."""
    page = (DOCS / f"how-to/{name}.md").read_text(encoding="utf-8")
    firsts = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert fields(name) - set().union(*map(quoted, firsts)) == set()


@pytest.mark.parametrize("name", SECTIONS)
def test_the_reference_lists_the_keys_of_each_section(name: str) -> None:
    """All of them and no other, each once, with a link to a page and a heading that are there."""
    link, of_a_group, of_the_run = cells(name)
    assert quoted(of_a_group) | quoted(of_the_run) == fields(name)
    assert quoted(of_a_group) & quoted(of_the_run) == set()
    target, _, heading = link.partition("](../how-to/")[2].rstrip(")").partition("#")
    page = (DOCS / "how-to" / target).read_text(encoding="utf-8")
    anchors = {re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in page.splitlines()}
    assert not heading or heading in anchors


@pytest.mark.parametrize("name", SECTIONS)
def test_a_group_may_have_the_keys_that_the_reference_says(name: str, tmp_path: Path) -> None:
    """Of the others, each is refused in a group; what is wrong with the values is another matter."""
    _, of_a_group, of_the_run = cells(name)
    keys = quoted(of_a_group) | quoted(of_the_run)
    group = {"count": 1, "instance_type": "x", name: dict.fromkeys(keys, "")}
    faults = Loader(tmp_path).faults({"backend": name, "regions": ["x"], "groups": {"db": group}})
    refused = {
        key
        for key in keys
        if any(f"groups.db.{name}.{key}: " in line and words in line for line in faults for words in NOT_OF_A_GROUP)
    }
    assert refused == quoted(of_the_run)
