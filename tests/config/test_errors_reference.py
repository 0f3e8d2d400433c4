"""The reference of errors has every word of the table, and its rows are rows."""

from __future__ import annotations

import re
from typing import get_args

import pytest
import yaml

from pytest_capacity.backends import provider, providers
from pytest_capacity.model import ErrorRow, Kind, Scope, Step
from tests.config.files import Loader, with_
from tests.emulated import ROOT

PAGE = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("word", [*get_args(Kind), *get_args(Scope), *get_args(Step), *ErrorRow.__struct_fields__])
def test_every_word_is_in_the_reference(word: str) -> None:
    """Each has its row."""
    assert f"\n| `{word}` |" in PAGE


def test_every_cloud_is_in_the_reference() -> None:
    """In the words of `cloud:`."""
    clouds = [name for name in providers() if provider(name).errors_file]
    assert [cloud for cloud in clouds if f"`{cloud}`" not in PAGE] == []


def test_the_rows_of_the_reference_are_rows(loading: Loader) -> None:
    """They are read as they stand there."""
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    rows = yaml.safe_load(block)["errors"]
    assert len(loading(with_(errors=rows)).errors) == len(rows) == 3
