"""The command that installs a missing extra here. It depends on how this package came into the environment.

``pip install 'pytest-capacity[ssh]'`` would put the release of an index in the place of a checkout, and in the
environments that uv and pipx make for one tool there is often no pip at all.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

NAME: Final = "pytest-capacity"

#: In the folder of an environment that ``uv tool`` made, and of one that pipx made.
_UV_RECEIPT: Final = "uv-receipt.toml"
_PIPX_METADATA: Final = "pipx_metadata.json"


class _Source(NamedTuple):
    """What stands for this package in a requirement: the words before its extras, and those after them."""

    before: str = NAME
    after: str = ""
    editable: bool = False

    def requirement(self, extras: Sequence[str]) -> str:
        """Return the requirement with ``extras``, quoted: some shells take brackets for a pattern."""
        text = f"{self.before}[{','.join(extras)}]{self.after}"
        return shlex.quote(text) if "'" in text else f"'{text}'"


def install_command(extra: str) -> str:
    """Return the shell command that adds ``extra`` to the environment of this interpreter."""
    prefix = Path(sys.prefix)
    source = _source()
    if (prefix / _UV_RECEIPT).is_file():
        return _uv_tool(prefix, extra, source)
    wanted = ("-e " if source.editable else "") + source.requirement([extra])
    if (prefix / _PIPX_METADATA).is_file():
        return f"pipx runpip {shlex.quote(prefix.name)} install {wanted}"
    return f"{_install()} {wanted}"


def _source() -> _Source:
    """Return where this package came from. A checkout that is on the path alone is to be installed as editable."""
    root = Path(__file__).resolve().parents[1]
    if (root / "pyproject.toml").is_file():
        return _Source(str(root), editable=True)
    try:
        origin = _origin(distribution(NAME))
    except PackageNotFoundError:
        origin = {}
    url = str(origin.get("url", ""))
    if not url:
        return _Source()
    version = origin.get("vcs_info", {})
    if version.get("vcs"):
        return _Source(after=f" @ {version['vcs']}+{url}@{version.get('commit_id', '')}".rstrip("@"))
    path = unquote(urlsplit(url).path) if url.startswith("file:") else ""
    # The file or folder may have been removed since: then there is only the index.
    return _Source(path) if path and Path(path).exists() else _Source() if path else _Source(after=f" @ {url}")


def _origin(installed: Distribution) -> Mapping[str, Any]:
    """Return where an installer got the package (PEP 610); nothing where that was an index."""
    with suppress(OSError, ValueError):
        read = json.loads(installed.read_text("direct_url.json") or "{}")
        return read if isinstance(read, dict) else {}
    return {}


def _install() -> str:
    """Return ``pip install`` in the form that reaches this interpreter, whatever is first on the search path."""
    pip = shutil.which("pip")
    if pip is not None and Path(pip).parent == Path(sys.executable).parent:
        return "pip install"
    if find_spec("pip") is not None:
        return f"{shlex.quote(sys.executable)} -m pip install"
    return f"uv pip install --python {shlex.quote(sys.executable)}"


def _uv_tool(prefix: Path, extra: str, source: _Source) -> str:
    """Return the call that makes a tool's environment anew, with what it has and ``extra``."""
    import tomllib  # Loaded for these environments alone.

    extras, others = {extra}, list[str]()
    with suppress(OSError, ValueError, TypeError, LookupError):
        receipt = tomllib.loads((prefix / _UV_RECEIPT).read_text(encoding="utf-8"))
        for one in receipt["tool"]["requirements"]:
            if one["name"] == NAME:
                extras.update(one.get("extras", ()))
            elif one["name"] != prefix.name:
                others.append(str(one["name"]))
    wanted = source.requirement(sorted(extras))
    beside = "".join(f" --with {other}" for other in others)
    if prefix.name == NAME:
        return f"uv tool install{' -e' if source.editable else ''} {wanted}{beside}"
    return f"uv tool install {prefix.name} --with{'-editable' if source.editable else ''} {wanted}{beside}"
