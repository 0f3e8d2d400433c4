"""What botocore reads slowly: its descriptions of services (4 MB of JSON for EC2, which each keeper reads before its
first call), and the times in the answers.
"""

from __future__ import annotations

import gzip
import os
from datetime import datetime
from typing import Any, Final

import msgspec
from botocore.loaders import JSONFileLoader, Loader
from botocore.session import Session
from botocore.utils import parse_timestamp

_decode: Final = msgspec.json.Decoder().decode


class Files(JSONFileLoader):
    """Reads plain dicts. botocore's own calls Python for each object, to make an OrderedDict, and takes five times as
    long; a dict has an order, too.
    """

    def load_file(self, file_path: str) -> Any:
        for ending, read in ((".json", bytes), (".json.gz", gzip.decompress)):
            try:
                with open(file_path + ending, "rb") as file:  # noqa: PTH123 - a text that stays one
                    return _decode(read(file.read()))
            except FileNotFoundError:
                continue
        return None


class _Descriptions(Loader):
    """Knows a service by its folder's name. botocore looks into all 400 folders first, which names a service without
    a description as unknown; here it is one whose description is not found.
    """

    FILE_LOADER_CLASS = Files

    def list_available_services(self, type_name: str) -> list[str]:
        folders = (os.scandir(path) for path in self.search_paths if os.path.isdir(path))  # noqa: PTH112 - as above
        return sorted({entry.name for folder in folders for entry in folder})


def parse_time(value: Any) -> datetime:
    """Return the time that ``value`` is, as botocore does.

    EC2 writes ISO 8601 in UTC, and several times for each instance. For those the standard library takes a thousandth
    of the time of botocore's parser, which tries all forms of dates.
    """
    if isinstance(value, str) and value.endswith("Z"):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass  # Another form, or no time, which botocore says in its own words.
    parsed: datetime = parse_timestamp(value)
    return parsed


def read_fast(session: Session) -> None:
    """Let the clients of ``session`` be made from descriptions that are read so, and parse times by `parse_time`.

    Those that the SDK itself makes for its credentials (SSO, roles, `aws login`) as well, and from where it would look
    for them (``AWS_DATA_PATH`` too). A file there that is no JSON is a ``msgspec.DecodeError``, a ``ValueError`` too.
    """
    paths = [path for path in (session.get_config_variable("data_path") or "").split(os.pathsep) if path]
    places = [os.path.expanduser(os.path.expandvars(path)) for path in paths]  # noqa: PTH111 - as botocore does
    session.register_component("data_loader", _Descriptions(extra_search_paths=places))
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_time)
