"""Reading the descriptions of AWS's services, which botocore has as JSON: 4 MB for EC2, 1 MB of endpoints."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, Final

import msgspec
from botocore.loaders import JSONFileLoader, Loader

_decode: Final = msgspec.json.Decoder().decode


class FastLoader(JSONFileLoader):
    """botocore's own reads into an OrderedDict, by a call to Python for each object, and takes five times as long."""

    def load_file(self, file_path: str) -> Any:
        plain, packed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
        if plain.is_file():
            return _decode(plain.read_bytes())
        return _decode(gzip.decompress(packed.read_bytes())) if packed.is_file() else None


def read_fast() -> None:
    """Install the fast loader for every session of this process; moto opens a dozen while it is imported."""
    Loader.FILE_LOADER_CLASS = FastLoader
