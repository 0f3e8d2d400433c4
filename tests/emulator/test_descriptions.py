"""The emulator reads AWS's descriptions its own way, and reads the same."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

import pytest
from botocore.loaders import JSONFileLoader, Loader


@pytest.mark.parametrize("name", ["endpoints.json", "ec2/2016-11-15/service-2.json.gz"])
def test_it_reads_what_botocore_reads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain, packed and missing."""
    # To import it makes it every session's, which is for the emulator's own process.
    monkeypatch.setattr(Loader, "FILE_LOADER_CLASS", JSONFileLoader)
    from pytest_capacity.emulator.ec2.descriptions import FastLoader

    # A copy: what other tests of this process have read is kept, and used.
    copy = copyfile(Path(Loader.BUILTIN_DATA_PATH, name), tmp_path / Path(name).name)
    path = str(copy).partition(".json")[0]
    assert FastLoader().load_file(path) == JSONFileLoader().load_file(path)
    assert FastLoader().load_file(f"{path}-of-nobody") is None
