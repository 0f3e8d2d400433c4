"""``capacity.yaml``, flags, environment -> a checked `Request`. Pure but for reading the one file.

`backend_of` runs at the start of every pytest with the plugin installed, and must cost nothing where the plugin is not
used: so nothing but `detect` is imported here, and the request is read by `loading.load`.
"""

from __future__ import annotations

from pathlib import Path

from pytest_capacity.config.detect import UNCLEAR, glance


def backend_of(path: Path) -> str | None:
    """Return the ``backend:`` that the file at ``path`` names, or None where it names none (or is not readable).

    It checks nothing: `load` reads the file in full once the plugin is switched on. `why_no_backend` returns why it
    is None.
    """
    name = glance(path)
    return _backend_by_yaml(path) if name == UNCLEAR else name


def why_no_backend(*paths: Path) -> str:
    """Return why `backend_of` found none: a file that is wrong, or no such key in any of them, with a near one."""
    from difflib import get_close_matches

    from pytest_capacity.config.files import read_files
    from pytest_capacity.config.sct import KEYS
    from pytest_capacity.errors import ConfigError

    try:
        values, path = read_files(paths).values, " + ".join(map(str, paths))
    except ConfigError as error:
        return str(error)
    key = next((key for key in ("backend", "cluster_backend") if key in values), None)
    if key:
        return f"{path}: its `{key}:` is empty"
    # One of scylla-cluster-tests calls it otherwise, and takes no key of ours.
    wanted = "cluster_backend" if any(one in values for one in KEYS) else "backend"
    near = get_close_matches(wanted, values, n=1, cutoff=0.7)
    return f"{path}: it has no `{wanted}:`" + (f". Did you mean that by `{near[0]}:`?" if near else "")


def _backend_by_yaml(path: Path) -> str | None:
    from pytest_capacity.config.reading import read_mapping
    from pytest_capacity.errors import ConfigError

    try:
        values = read_mapping(path)
    except ConfigError:
        return None
    name = values.get("backend", values.get("cluster_backend"))
    return name if isinstance(name, str) else None
