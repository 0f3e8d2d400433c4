"""The emulator reads AWS's descriptions its own way, and reads the same."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from shutil import copyfile

import pytest
from botocore.loaders import JSONFileLoader, Loader

from tests.emulated import ROOT


@pytest.mark.parametrize("name", ["endpoints.json", "ec2/2016-11-15/service-2.json.gz"])
def test_it_reads_what_botocore_reads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain, packed and missing."""
    # To import it makes it every session's, which is for the emulator's own process.
    monkeypatch.setattr(Loader, "FILE_LOADER_CLASS", JSONFileLoader)
    from pytest_capacity.emulator.aws.descriptions import FastLoader

    # A copy: what other tests of this process have read is kept, and used.
    copy = copyfile(Path(Loader.BUILTIN_DATA_PATH, name), tmp_path / Path(name).name)
    path = str(copy).partition(".json")[0]
    assert FastLoader().load_file(path) == JSONFileLoader().load_file(path)
    assert FastLoader().load_file(f"{path}-of-nobody") is None


def test_an_older_description_lacks_what_came_later() -> None:
    """The zone id is left out of what has none there yet; another key that is not there is a defect of ours."""
    # In a process of its own: to import the wire brings all of moto.
    code = """
        from moto.core.utils import get_service_model
        from pytest_capacity.emulator.aws.wire import _structure

        tag = get_service_model("ec2").shape_for("Tag")
        print(_structure(tag, {"Key": "a", "AvailabilityZoneId": "use1-az1"}))
        _structure(tag, {"Nonsense": "b"})
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.stdout == "<key>a</key>\n"
    assert ended.stderr.rstrip().endswith("KeyError: 'Nonsense'")
